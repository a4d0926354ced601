# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the hosts said of a service, put together: for the forms of the services in status."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..common.text import shorten

Answer = Mapping[str, Any]


def reason(seen: Answer) -> str:
    """Why there is no answer, in a few words: the last line of what SSH or the module said."""
    text = seen.get("error") or seen.get("msg") or "no answer"
    # ssh: connect to host 10.0.1.13 port 22: No route to host
    return shorten(text.strip().splitlines()[-1].rpartition("ssh: ")[2].strip(" .") or "no answer", 120)


def sentence(text: str) -> str:
    return text.strip().rstrip(".")


def together(said: Iterable[tuple[str, str]]) -> list[str]:
    """What hosts said, as sentences; one for all hosts that said the same."""
    hosts: dict[str, list[str]] = {}
    for host, text in said:
        hosts.setdefault(sentence(text), []).append(host)
    return [f"{', '.join(names)}: {text}" for text, names in hosts.items()]


def answers_of(members, observations, question) -> Iterator[tuple[str, Answer | None, str]]:
    """By member of a layer: its name, its answer or None, and why there is none ('' where its host is out of reach)."""
    for member in members:
        seen = observations.get(member["name"], {})
        answer = seen.get("answers", {}).get(question)
        if not seen.get("reachable"):
            yield member["name"], None, ""
        elif answer is None:
            yield member["name"], None, "was not asked"
        elif answer.get("failed"):
            yield member["name"], None, reason(answer)
        else:
            yield member["name"], answer, ""


def best_answer(answers: Iterable[tuple[str, Answer]], good) -> tuple[str, Answer | None]:
    """The answer that counts most members as good; the first of them where several do."""
    best, most = ("", None), (-1, False)
    for name, answer in answers:
        score = (sum(1 for member in answer["members"] if good(member)), bool(answer["healthy"]))
        if score > most:
            best, most = (name, answer), score
    return best


def cluster(label, topology, observations, question, good, view=lambda answer: answer, members=None):
    """The best answer about a cluster, and what is wrong by it, by those who see it differently, or by their silence.

    `view` turns an answer into one with members and leader. `members` are who was asked, by default all of the layer.
    """
    members = topology[label]["members"] if members is None else members
    views, silent = [], []
    for name, answer, error in answers_of(members, observations, question):
        if answer is not None:
            views.append((name, view(answer)))
        elif error:
            silent.append((name, f"{label} could not be asked ({error})"))
    teller, best = best_answer(views, good)
    if best is None:
        return None, together(silent) or [f"{label}: nobody could be asked"]
    told = [sentence(problem) for problem in best["problems"]]
    problems = [f"{label}: {problem}" for problem in told]
    problems += together((name, text) for name, text in silent if not any(name in problem for problem in told))
    leaders = {answer["leader"]: name for name, answer in reversed(views) if answer["leader"]}
    if len(leaders) > 1:
        views_of = ", ".join(f"{leader} by {name}" for leader, name in sorted(leaders.items()))
        problems.insert(0, f"{label}: hosts see different leaders: {views_of}")
    for name, answer in views:
        other = [sentence(problem) for problem in answer["problems"] if sentence(problem) not in told]
        if name != teller and other and best["members"]:
            problems.append(f"{label}: seen from {name}: {'; '.join(other)}")
    return best, problems


def against_inventory(label, topology, members):
    """Names in the inventory that are no members, and both kinds of difference as sentences. Nothing where nobody told."""
    wanted = [member["name"] for member in topology[label]["members"]]
    known = [member["name"] for member in members]
    missing = [name for name in wanted if name not in known] if known else []
    problems = [f"{label}: {name} is in the inventory but not a member" for name in missing]
    problems += [
        f"{label}: {name} is a member but not in the inventory" for name in known if name and name not in wanted
    ]
    return missing, problems
