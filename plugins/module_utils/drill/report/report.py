# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""drill_report DIRECTORY: of a drill's directory, write report.json, report.html and junit.xml into it, and print a short table.

A drill that was stopped or killed gets its report, too, with what is missing named.
"""

from __future__ import annotations

import json
import os
import sys
from xml.etree import ElementTree

from ...common.text import table
from .page import MISSED, page, target_text, verdict_sentence
from .result import TITLES, read, report, right, seconds

WIDTH = 110


def text(found: dict) -> str:
    """The report for a terminal: the sentence, a line for each fault, and what was missed."""
    rows = [["fault", "turns", "min", "median", "max", "target", "lost", "sum", "lock wait", "recovers in", "result"]]
    for fault in found["faults"]:
        outage, whole = fault["outage_s"] or {}, fault["whole_after_s"] or {}
        rows.append(
            [
                fault["fault"],
                str(fault["turns"]),
                *(seconds(outage.get(key)) for key in ("min", "median", "max")),
                _short(fault["target_s"]),
                "not known" if fault["missing"] is None else str(fault["missing"]),
                right(fault["sum_right"]),
                seconds((fault["lock_wait_s"] or {}).get("max")),
                seconds(whole.get("max")),
                "met" if fault["met"] else "MISSED: " + ", ".join(MISSED[what] for what in fault["missed"]),
            ]
        )
    lines = [f"{found['cluster']}: {verdict_sentence(found)}", "", *(table(rows, WIDTH) if found["faults"] else [])]
    problems = [f"  {turn['name']}: {problem}" for turn in found["turns"] for problem in turn["problems"]]
    return "\n".join([*lines, *(["", "Missed", *problems] if problems else [])]) + "\n"


def _short(target) -> str:
    """A target in one cell: where paths have their own, the longest."""
    return f"≤ {max(target.values()):g} s" if isinstance(target, dict) else target_text(target)


def junit(found: dict) -> str:
    """The report as JUnit XML: a test case for each turn, its time the turn's outage in s."""
    suite = ElementTree.Element(
        "testsuite",
        name=f"drill of {found['cluster']}, suite {found['suite']}",
        tests=str(len(found["turns"])),
        failures=str(sum(not turn["met"] for turn in found["turns"])),
        errors="0",
        skipped="0",
        timestamp=str(found["began"]),
    )
    for turn in found["turns"]:
        case = ElementTree.SubElement(
            suite,
            "testcase",
            classname=f"drill.{turn['fault']}",
            name=turn["name"],
            time=f"{turn['outage_s'] or 0:.3f}",
        )
        if not turn["met"]:
            problems = "\n".join(turn["problems"])
            ElementTree.SubElement(case, "failure", message=turn["problems"][0]).text = problems
        ElementTree.SubElement(case, "system-out").text = "\n".join(
            f"{TITLES[path]}: {_figures(verdict)}" for path, verdict in turn["paths"].items()
        )
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _figures(verdict: dict) -> str:
    return ", ".join(f"{name} {value}" for name, value in verdict.items() if isinstance(value, (int, float)))


def main(arguments: list[str]) -> int:
    """The program. Returns the exit code, 0 whatever the drill came to: report.json has that in summary.met."""
    if len(arguments) != 1:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    (out,) = arguments
    try:
        drill, turns = read(out)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{out} is no drill's directory: {error}\n")
        return 1
    found = report(drill, turns)
    files = {
        "report.json": json.dumps(found, indent=2, ensure_ascii=False) + "\n",
        "report.html": page(found, {turn["name"]: turn["ledgers"] for turn in turns}),
        "junit.xml": junit(found),
    }
    for name, content in files.items():
        with open(os.path.join(out, name), "w", encoding="utf-8") as file:
            file.write(content)
    sys.stdout.write(text(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
