# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The drill's report as one HTML file: what the template report.html.j2 of role drill is given. The layout is there."""

from __future__ import annotations

import os

from .picture import picture
from .result import TITLES, right, seconds

TEMPLATES = os.path.join(os.path.dirname(__file__), *[os.pardir] * 4, "roles", "drill", "templates")
MISSED = {"time": "too slow", "loss": "writes lost", "other": "not proven"}
# With more turns than this, only those that missed something are unfolded.
OPEN = 20


def page(report: dict, ledgers: dict[str, dict]) -> str:
    """The file. ledgers: turn name -> path -> its Ledger."""
    # Where a page is made there is Ansible, and so Jinja; the other programs of this folder's parent run without.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        report=report,
        summary=report["summary"],
        circumstances=circumstances(report),
        sentence=verdict_sentence(report),
        longest=longest(report["summary"]),
        expected=expected(report["faults"]),
        pictures={turn["name"]: picture(turn, ledgers[turn["name"]]) for turn in report["turns"]},
        unfolded=OPEN,
        titles=TITLES,
        missed_words=missed_words,
        right=right,
        seconds=seconds,
        target_text=target_text,
    )


def circumstances(report: dict) -> str:
    """When, on what, with what."""
    parts = [
        str(report["began"]), f"suite {report['suite']}", f"hosts {', '.join(report['hosts'] or [])}", report["profile"],
        report["machine"],
    ]  # fmt: skip
    return " · ".join(str(part) for part in parts if part)


def verdict_sentence(report: dict) -> str:
    """The drill in one sentence."""
    found = report["summary"]
    if not found["turns"]:
        return "No fault was tried."
    tried = f"{_count(found['faults'], 'fault')} in {_count(found['turns'], 'turn')}"
    if found["missing"] is None:
        kept = "not all writes could be read back"
    elif found["missing"] == 0:
        kept = f"none of {found['acknowledged']} acknowledged writes was lost"
    else:
        kept = f"{found['missing']} of {found['acknowledged']} acknowledged writes were lost"
        if found["missing_expected"] == found["missing"]:
            kept += ", within what the fault is known to cost"
    if found["met"]:
        return f"Passed: {tried}; {kept}; every target was met."
    return f"Missed: {found['faults'] - found['faults_met']} of {tried} missed a target; {kept}."


def longest(summary: dict) -> str:
    """Where the longest outage was; empty where there was none."""
    path = summary["longest_outage_path"]
    return f"{TITLES[path]}, turn {summary['longest_outage_turn']}" if path else ""


def missed_words(missed: list[str]) -> str:
    """What a fault missed, in words."""
    return ", ".join(MISSED[what] for what in missed)


def target_text(target) -> str:
    """A fault's target: one for all paths, or one for each that it names."""
    if isinstance(target, dict):
        return ", ".join(f"{TITLES[path]} {limit:g} s" for path, limit in target.items())
    return "none" if target is None else f"{target:g} s"


def expected(faults: list[dict]) -> list[str]:
    """A sentence for each fault that is known to cost writes, and why; each once."""
    return list(
        dict.fromkeys(
            f"{fault['text']}: up to {seconds(fault['expected_loss_s'])} of writes. {fault['expected_loss_why']}"
            for fault in faults
            if fault["expected_loss_s"]
        )
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
