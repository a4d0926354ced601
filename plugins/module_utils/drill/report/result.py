# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a drill comes to: each turn's and each fault's figures against their targets, as report.json has them.

Times are seconds. A turn's times count from the start of its ledger. The schema is described in docs/drill.md.
"""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Iterable

from ...services.drill import LedgerPath
from ...services.registry import leaderships, ledger_paths
from ..ledger.records import Ledger, LedgerError

SCHEMA = 1
PATHS: dict[str, LedgerPath] = ledger_paths()
BANKS = tuple(name for name, path in PATHS.items() if path.accounts)
# What people call the paths, and what one host leads; last what nobody can hand over.
TITLES = {name: path.title for name, path in PATHS.items()} | {
    name: service.reported or name
    for name, service in sorted(leaderships().items(), key=lambda one: not one[1].successor)
    if name not in PATHS
}


def read(out: str) -> tuple[dict, list[dict]]:
    """drill.json and the turns of a drill's directory, as far as they came. Raises OSError or ValueError without drill.json."""
    drill = _json(os.path.join(out, "drill.json"))
    names = sorted(entry.name for entry in os.scandir(out) if entry.is_dir() and entry.name.partition("-")[0].isdigit())
    return drill, [_turn(out, name) for name in sorted(names, key=lambda name: int(name.partition("-")[0]))]


def _turn(out: str, name: str) -> dict:
    """One turn as it was noted; what a drill that was killed did not write is empty."""
    directory = os.path.join(out, name)
    found = {"name": name, "problems": []}
    for file in ("turn", "verdict"):
        try:
            found[file] = _json(os.path.join(directory, f"{file}.json"))
        except (OSError, ValueError):
            found[file] = {}
            found["problems"].append(f"The drill ended before it wrote {file}.json.")
    try:
        with open(os.path.join(directory, "marks.jsonl"), encoding="utf-8") as file:
            found["marks"] = [json.loads(line) for line in file if line.endswith("\n") and line.strip()]
    except OSError:
        found["marks"] = []
    found["ledgers"] = {}
    for path in PATHS:
        try:
            found["ledgers"][path] = Ledger(os.path.join(directory, "ledger", f"{path}.jsonl"))
        except (OSError, LedgerError):
            continue
    return found


def report(drill: dict, turns: list[dict]) -> dict:
    """report.json."""
    judged = [judge_turn(drill, turn) for turn in turns]
    faults = [judge_fault(drill, name, [turn for turn in judged if turn["fault"] == name]) for name in _names(judged)]
    keys = ("cluster", "suite", "began", "hosts", "machine", "profile", "rto_limit_s", "rpo_limit_s")
    return {
        "schema": SCHEMA,
        **{key: drill.get(key) for key in keys},
        "summary": summary(drill, judged, faults),
        "faults": faults,
        "turns": judged,
    }


def judge_turn(drill: dict, turn: dict) -> dict:
    """One turn: what was noted, and what of it misses a target."""
    noted = turn["turn"]
    began = next((ledger.began for ledger in turn["ledgers"].values()), 0.0)
    fault = noted.get("fault") or turn["name"].partition("-")[2]
    marks = [mark | {"t": round(mark["at"] - began, 3)} for mark in turn["marks"]]
    times = {mark["what"]: mark["t"] for mark in reversed(marks)}
    paths = turn["verdict"]
    judged = {
        "name": turn["name"],
        "fault": fault,
        "text": noted.get("text", fault),
        "target": noted.get("target", {}),
        "repeat": noted.get("repeat", 1),
        "stopped": noted.get("stopped"),
        "target_s": drill["targets"].get(fault),
        "began_at": began,
        "marks": marks,
        "leaders_before": noted.get("leaders_before", {}),
        "leaders_after": noted.get("leaders_after", {}),
        "leaders": [seen | {"t": round(seen["at"] - began, 3)} for seen in noted.get("leaders", [])],
        "expected_loss_s": noted.get("expected_loss_s") or 0,
        "expected_loss_why": noted.get("expected_loss_why", ""),
        "effect_after_s": _between(times, "injected", "effect"),
        "whole_after_s": _between(times, "injected", "whole"),
        "outage_s": _most({path: found for path, found in paths.items() if path not in BANKS}, "outage_s"),
        "missing": _sum(paths, "missing"),
        "lost_s": _most(paths, "lost_s"),
        "sum_right": _right(paths[path].get("sum_right") for path in BANKS if path in paths),
        "lock_wait_s": _longest(found.get("lock_wait_s") for found in paths.values()),
        "paths": paths,
    }
    late, losing = late_paths(judged), lost_paths(judged)
    problems = [*turn["problems"], *other_problems(judged, times)]
    sentences = [
        *(f"{TITLES[path]} was away for {seconds(paths[path]['outage_s'])}, target {limit:g} s." for path, limit in late),
        *(_loss(path, paths[path]) for path in losing),
        *problems,
    ]  # fmt: skip
    return judged | {
        "missed": [what for what, found in (("time", late), ("loss", losing), ("other", problems)) if found],
        "problems": sentences,
        "met": not sentences,
    }


def late_paths(turn: dict) -> list[tuple[str, float]]:
    """(path, its target in s) of those whose outage was longer. Without a target nothing is late."""
    limits = {path: target(turn["target_s"], path) for path in turn["paths"]}
    return [
        (path, limit)
        for path, limit in limits.items()
        if limit is not None and (turn["paths"][path].get("outage_s") or 0) > limit
    ]


def lost_paths(turn: dict) -> list[str]:
    """The paths that lost more acknowledged writes than the turn is known to cost."""
    return [path for path, found in turn["paths"].items() if PATHS[path].lost(found, turn["expected_loss_s"])]


def other_problems(turn: dict, times: dict[str, float]) -> list[str]:
    """Sentences on what else makes a turn no proof. times: mark -> when it was first."""
    found = [f"The drill stopped: {turn['stopped']}"] if turn["stopped"] else []
    for mark, text in (
        ("injected", "The fault was not injected."),
        ("effect", "The fault was not seen to take effect."),
        ("whole", "Full redundancy did not come back."),
    ):
        if mark not in times:
            found.append(text)
    for path, verdict in turn["paths"].items():
        title = TITLES[path]
        if verdict.get("problem"):
            found.append(f"{title}: {verdict['problem']}.")
        for key, text in (
            ("twice", "writes are there twice"),
            ("never_sent", "records are there that were never sent"),
            ("stale_reads", "reads did not find what had been acknowledged"),
        ):
            if verdict.get(key):
                found.append(f"{title}: {verdict[key]} {text}.")
    return found


def judge_fault(drill: dict, name: str, turns: list[dict]) -> dict:
    """All turns of one fault."""
    used = [path for path in PATHS if any(path in turn["paths"] for turn in turns)]
    return {
        "fault": name,
        "text": turns[0]["text"],
        "turns": len(turns),
        "target_s": drill["targets"].get(name),
        "outage_s": spread(turn["outage_s"] for turn in turns),
        "outage_of": {path: spread(turn["paths"].get(path, {}).get("outage_s") for turn in turns) for path in used},
        "whole_after_s": spread(turn["whole_after_s"] for turn in turns),
        "missing": None if any(turn["missing"] is None for turn in turns) else sum(turn["missing"] for turn in turns),
        "lost_s": spread(turn["lost_s"] for turn in turns),
        "sum_right": _right(turn["sum_right"] for turn in turns),
        "lock_wait_s": spread(turn["lock_wait_s"] for turn in turns),
        "expected_loss_s": max(turn["expected_loss_s"] for turn in turns),
        "expected_loss_why": next((turn["expected_loss_why"] for turn in turns if turn["expected_loss_why"]), ""),
        "missed": [what for what in ("time", "loss", "other") if any(what in turn["missed"] for turn in turns)],
        "met": all(turn["met"] for turn in turns),
    }


def summary(drill: dict, turns: list[dict], faults: list[dict]) -> dict:
    """The whole drill in a few figures. A limit is met where every turn's figure is known and within it."""
    outages = [turn for turn in turns if turn["outage_s"] is not None]
    longest = max(outages, key=lambda turn: turn["outage_s"], default=None)
    verdicts = [verdict for turn in turns for verdict in turn["paths"].values()]

    def within(key: str, limit: str) -> bool | None:
        if drill.get(limit) is None:
            return None
        return bool(turns) and all(turn[key] is not None and turn[key] <= drill[limit] for turn in turns)

    return {
        "met": bool(turns) and all(turn["met"] for turn in turns),
        "turns": len(turns),
        "turns_met": sum(turn["met"] for turn in turns),
        "faults": len(faults),
        "faults_met": sum(fault["met"] for fault in faults),
        "acknowledged": sum(verdict.get("acknowledged") or 0 for verdict in verdicts),
        "failed": sum(verdict.get("failed") or 0 for verdict in verdicts),
        "unknown": sum(verdict.get("unknown") or 0 for verdict in verdicts),
        "unknown_present": sum(verdict.get("unknown_present") or 0 for verdict in verdicts),
        "missing": None if any(turn["missing"] is None for turn in turns) else sum(turn["missing"] for turn in turns),
        "missing_expected": sum(
            found.get("missing") or 0
            for turn in turns
            for path, found in turn["paths"].items()
            if not PATHS[path].lost(found, turn["expected_loss_s"])
        ),
        "longest_outage_s": longest and longest["outage_s"],
        "longest_outage_turn": longest and longest["name"],
        "longest_outage_path": longest and next(
            path for path, found in longest["paths"].items() if found.get("outage_s") == longest["outage_s"]
        ),
        "sum_right": _right(turn["sum_right"] for turn in turns),
        "longest_lock_wait_s": _longest(turn["lock_wait_s"] for turn in turns),
        "rto_met": within("outage_s", "rto_limit_s"),
        "rpo_met": within("lost_s", "rpo_limit_s"),
    }  # fmt: skip


def target(of_fault, path: str) -> float | None:
    """A path's target in s. A fault has one for all paths but the bank's, or one for each path that it names.

    The bank's clients hold rows and wait for each other on purpose.
    """
    if isinstance(of_fault, dict):
        return of_fault.get(path)
    return None if path in BANKS else of_fault


def spread(values: Iterable[float | None]) -> dict | None:
    """The least, the median and the most of the values that are known; None where none is."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return {"min": min(known), "median": round(statistics.median(known), 3), "max": max(known)}


def seconds(value: float | None) -> str:
    """A time as people read it: two decimals below ten seconds, one above; a dash where it is not known."""
    if value is None:
        return "–"
    return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"


def right(value: bool | None) -> str:
    """Whether the bank's sum is right, in a word."""
    return {True: "right", False: "wrong", None: "–"}[value]


def _loss(path: str, verdict: dict) -> str:
    if not verdict.get("missing"):
        return f"{TITLES[path]}: the accounts are wrong."
    return f"{TITLES[path]} lost {verdict['missing']} acknowledged writes ({seconds(verdict['lost_s'])} of them)."


def _between(times: dict[str, float], first: str, second: str) -> float | None:
    return round(times[second] - times[first], 3) if first in times and second in times else None


def _most(paths: dict, key: str) -> float | None:
    """The largest of the paths' values; None where one that matters is not known."""
    values = [found.get(key) for found in paths.values()]
    return None if not values or None in values else max(values)


def _longest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _right(values: Iterable[bool | None]) -> bool | None:
    """Wrong where one is wrong, and right where all are; what is not known proves nothing."""
    found = list(values)
    if False in found:
        return False
    return None if not found or None in found else True


def _sum(paths: dict, key: str) -> int | None:
    values = [found.get(key) for found in paths.values()]
    return None if not values or None in values else sum(values)


def _names(turns: list[dict]) -> list[str]:
    return list(dict.fromkeys(turn["fault"] for turn in turns))


def _json(path: str) -> dict:
    with open(path, encoding="utf-8") as file:
        return json.load(file)
