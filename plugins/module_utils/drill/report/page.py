# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The drill's report as one HTML file for a browser or a printer: no script, nothing fetched from anywhere."""

from __future__ import annotations

from html import escape

from .result import TITLES, right, seconds
from .style import STYLE
from .timeline import timeline

MISSED = {"time": "too slow", "loss": "writes lost", "other": "not proven"}
# With more turns than this, only those that missed something are unfolded.
OPEN = 20


def page(report: dict, ledgers: dict[str, dict]) -> str:
    """The file. ledgers: turn name -> path -> its Ledger."""
    turns = "".join(turn_section(turn, ledgers[turn["name"]], len(report["turns"])) for turn in report["turns"])
    title = f"Failure drill of {escape(str(report['cluster']))}"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        f"<title>{title}</title><style>{STYLE}</style></head><body><main>"
        f"<header><h1>{title}</h1><p>{escape(circumstances(report))}</p></header>"
        f"{verdict(report)}{figures(report)}{fault_table(report)}{reading()}"
        f"<h2>Turn by turn</h2>{legend()}{turns}"
        f"<footer><p>Made by utmstack.ha, report schema {report['schema']}. Beside this file are report.json with the same figures,"
        " and each turn's ledger, one line for each thing that happened to a write.</p></footer>"
        "</main></body></html>\n"
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


def verdict(report: dict) -> str:
    """The sentence, and what was missed where, each with a link to its turn."""
    kind = "met" if report["summary"]["met"] else "missed"
    items = "".join(
        f'<li><a href="#{escape(turn["name"])}">{escape(turn["name"])}</a>: {escape(problem)}</li>'
        for turn in report["turns"]
        for problem in turn["problems"]
    )
    return f'<section class="verdict {kind}"><p>{_sign(kind)} {escape(verdict_sentence(report))}</p>{_list(items)}</section>'


def figures(report: dict) -> str:
    """What an auditor asks for first."""
    found = report["summary"]
    longest = ""
    if found["longest_outage_path"]:
        longest = f"{TITLES[found['longest_outage_path']]}, turn {found['longest_outage_turn']}"
    lost = "not known" if found["missing"] is None else found["missing"]
    cells = [
        ("Acknowledged writes lost", lost, f"of {found['acknowledged']}, read back from every member"),
        ("Longest outage", seconds(found["longest_outage_s"]), longest),
        *(
            (
                name,
                {True: "met", False: "missed", None: "–"}[found[key]],
                f"at most {report[limit]:g} s" if report[limit] else "",
            )
            for name, key, limit in (
                ("Recovery time (RTO)", "rto_met", "rto_limit_s"),
                ("Data loss (RPO)", "rpo_met", "rpo_limit_s"),
            )
        ),
        ("Without a known outcome", found["unknown"], f"{found['unknown_present']} of them had been written"),
        ("Refused", found["failed"], "writes that the application knows to repeat"),
        ("Bank's sum", right(found["sum_right"]), "of accounts between which transfers were made"),
        (
            "Longest lock wait",
            seconds(found["longest_lock_wait_s"]),
            "for a lock left behind by a client that was cut off",
        ),
    ]
    return f'<dl class="figures">{"".join(_figure(*cell) for cell in cells)}</dl>'


def _figure(name: str, value: object, more: str) -> str:
    kind = f' class="{value}"' if value in ("met", "missed") else ""
    sign = f"{_sign(value)} " if kind else ""
    return f"<div><dt>{escape(name)}</dt><dd{kind}>{sign}{escape(str(value))}</dd><dd>{escape(more)}</dd></div>"


def fault_table(report: dict) -> str:
    """Recovery time and data loss by fault."""
    rows = "".join(_fault_row(fault) for fault in report["faults"])
    return (
        "<h2>Recovery time and data loss by fault</h2>"
        '<div class="scroll" tabindex="0" role="region" aria-label="Table: recovery time and data loss by fault">'
        '<table><thead><tr><th rowspan="2">Fault</th><th rowspan="2">Result</th><th rowspan="2">Turns</th>'
        '<th colspan="3">Longest time without an acknowledged write</th><th rowspan="2">Target</th>'
        '<th colspan="2">Acknowledged writes lost</th><th rowspan="2">Bank\'s<br>sum</th>'
        '<th rowspan="2">Longest<br>lock wait</th><th rowspan="2">Whole again<br>(maximum)</th></tr>'
        "<tr><th>minimum</th><th>median</th><th>maximum</th><th>number</th><th>seconds</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div>{_expected(report)}"
    )


def _fault_row(fault: dict) -> str:
    outage = fault["outage_s"] or {}
    kind = "met" if fault["met"] else "missed"
    result = "met" if fault["met"] else ", ".join(MISSED[what] for what in fault["missed"])
    slow = ' class="missed"' if "time" in fault["missed"] else ""
    lost = ' class="missed"' if "loss" in fault["missed"] else ""
    star = "*" if fault["expected_loss_s"] else ""
    return (
        f'<tr><th scope="row">{escape(fault["text"])}<small>{escape(fault["fault"])}</small></th>'
        f'<td class="{kind}">{_sign(kind)} {escape(result)}</td><td>{fault["turns"]}</td>'
        f"<td>{seconds(outage.get('min'))}</td><td>{seconds(outage.get('median'))}</td><td{slow}>{seconds(outage.get('max'))}</td>"
        f'<td class="target">{escape(target_text(fault["target_s"]))}</td>'
        f"<td{lost}>{'not known' if fault['missing'] is None else fault['missing']}{star}</td>"
        f"<td{lost}>{seconds((fault['lost_s'] or {}).get('max'))}</td>"
        f"<td>{right(fault['sum_right'])}</td><td>{seconds((fault['lock_wait_s'] or {}).get('max'))}</td>"
        f"<td>{seconds((fault['whole_after_s'] or {}).get('max'))}</td></tr>"
    )


def target_text(target) -> str:
    """A fault's target: one for all paths, or one for each that it names."""
    if isinstance(target, dict):
        return ", ".join(f"{TITLES[path]} {limit:g} s" for path, limit in target.items())
    return "none" if target is None else f"{target:g} s"


def _expected(report: dict) -> str:
    notes = dict.fromkeys(
        f"{fault['text']}: up to {seconds(fault['expected_loss_s'])} of writes. {fault['expected_loss_why']}"
        for fault in report["faults"]
        if fault["expected_loss_s"]
    )
    return "".join(f'<p class="note">* {escape(note)}</p>' for note in notes)


def reading() -> str:
    """What the words mean."""
    return (
        "<details><summary>How to read this</summary><p>While each fault was injected, one client for each path wrote numbered"
        " records at a fixed rate, as an application does: by the virtual IP or by the sentinels, with certificates verified, with"
        " time limits of a few seconds, without repeating anything. A record is <b>acknowledged</b> when the server said that it"
        " is written, <b>failed</b> when nothing was sent or the server refused it, and <b>unknown</b> when the connection broke or"
        " no answer came in time after it was sent. An unknown record may be there or not; it is no success and no loss. Afterwards"
        " all records were read back from every member. <b>Lost</b> is what was acknowledged and is missing on any member. The"
        " <b>outage</b> of a path is the longest time between two acknowledgements that reaches into the time after the fault; that"
        " of a turn is its worst path's but for the bank's. The <b>bank</b>'s two clients move amounts between the same accounts, each"
        " in a transaction that holds their rows. Its <b>sum</b> is right when on every member nothing is missing in sum and every"
        " account is what the transfers have made of it. The <b>longest lock wait</b> is how long a transaction went on to hold its"
        " locks after the last answer to a client that was then cut off from it; 0 where it was over when the client was back,"
        " – where none was cut off. <b>Whole again</b> is when every member was back and in step.</p></details>"
    )


def legend() -> str:
    """What the bars of the pictures mean."""
    kinds = [
        ("acknowledged", "top row"),
        ("failed", "middle row"),
        ("unknown", "bottom row"),
        ("outage", "behind them"),
    ]
    items = "".join(f'<li><i class="{kind}"></i>{kind} <small>({where})</small></li>' for kind, where in kinds)
    return f'<ul class="legend">{items}</ul>'


def turn_section(turn: dict, ledgers: dict, turns: int) -> str:
    """One turn: the picture, what was missed, and the paths' figures."""
    kind = "met" if turn["met"] else "missed"
    unfolded = " open" if turns <= OPEN or not turn["met"] else ""
    where = " ".join(str(turn["target"][key]) for key in ("role", "service", "host") if turn["target"].get(key))
    problems = _list("".join(f"<li>{escape(problem)}</li>" for problem in turn["problems"]))
    return (
        f'<details class="turn" id="{escape(turn["name"])}"{unfolded}><summary><h3>{escape(turn["name"])}</h3>'
        f'<span class="{kind}">{_sign(kind)} {kind}</span> <span>{escape(turn["text"])}</span>'
        f"<small>{escape(where)}</small></summary>"
        f"{problems and f'<div class=missed>{problems}</div>'}{timeline(turn, ledgers)}{path_table(turn)}{handed_over(turn)}</details>"
    )


def path_table(turn: dict) -> str:
    """Each path's figures."""
    columns = [
        ("sent", "sent"), ("acknowledged", "acknowledged"), ("failed", "failed"), ("unknown", "unknown"),
        ("of them written", "unknown_present"), ("lost", "missing"), ("twice", "twice"), ("never sent", "never_sent"),
        ("stale reads", "stale_reads"), ("failed reads", "read_failed"),
    ]  # fmt: skip
    head = "".join(f"<th>{name}</th>" for name, _key in columns)
    rows = "".join(
        f'<tr><th scope="row">{TITLES[path]}</th>'
        + "".join(f"<td>{'–' if found.get(key) is None else found[key]}</td>" for _name, key in columns)
        + f"<td>{seconds(found.get('outage_s'))}</td><td>{seconds(found.get('slowest_s'))}</td>"
        + f"<td>{right(found.get('sum_right'))}</td><td>{seconds(found.get('lock_wait_s'))}</td></tr>"
        for path, found in turn["paths"].items()
    )
    if not rows:
        return ""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Table: writes of {escape(turn["name"])} by path"><table>'
        f"<thead><tr><th>Path</th>{head}<th>outage</th><th>slowest</th><th>sum</th><th>lock wait</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )


def handed_over(turn: dict) -> str:
    """Who led before the turn and after it."""
    before, after = turn["leaders_before"], turn["leaders_after"]
    items = "".join(
        f"<li>{escape(TITLES.get(name, name))}: {escape(str(who))}"
        + (f" → {escape(str(after[name]))}" if name in after and after[name] != who else "")
        + "</li>"
        for name, who in before.items()
    )
    return f'<div class="leaders"><p>Led before → after</p>{_list(items)}</div>' if items else ""


def _sign(kind: str) -> str:
    return '<span aria-hidden="true">✓</span>' if kind == "met" else '<span aria-hidden="true">✗</span>'


def _list(items: str) -> str:
    return f"<ul>{items}</ul>" if items else ""


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
