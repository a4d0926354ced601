# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a restore of PostgreSQL does, and why it must not: of a repository (choose), and of the members as well (plan).

There is no note of how far a run came. DIRECTORY.restore has what was asked for, and the data until they are whole, when they get their
name; DIRECTORY.before-restore-TIME has what was there before. So a run that died anywhere is started again, and goes on there.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..common.text import size, table
from . import timeline as timelines
from . import wal
from .timeline import LATEST, LSN, NAME, TIME, XID, Tree

STEPS = STOP, MOVE, RESET, RECOVER, PROMOTE, ADOPT, START = (
    "stop", "move", "reset", "recover", "promote", "adopt", "start",
)  # fmt: skip
# What the data in DIRECTORY.restore are, as restore.py finds it.
NONE, PARTIAL, RECOVERING, PROMOTED, WHOLE = "none", "partial", "recovering", "promoted", "whole"
SYNTAX = (
    "Give -e to=latest, -e to=time:2026-11-30T12:00:00Z (with its zone), -e to=lsn:0/A000120, -e to=name:NAME of a restore point, or "
    "-e to=xid:NUMBER"
)
# Beside the data themselves: WAL of the recovery.
ROOM = 1.1


@dataclass(frozen=True)
class Target:
    """Up to where everything shall be there. value: seconds since 1970, bytes, or the text itself."""

    kind: str
    text: str = ""
    value: float = 0


def target(asked: str) -> Target:
    """What `to` says. Raises ValueError with the remedy."""
    kind, _colon, text = str(asked).strip().partition(":")
    text = text.strip()
    if kind == LATEST and not text:
        return Target(LATEST)
    if kind == TIME and text:
        return Target(TIME, text, moment(text))
    if kind == LSN and re.fullmatch(r"[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}", text):
        return Target(LSN, text.upper(), wal.position(text))
    if kind == XID and text.isdigit():
        return Target(XID, text, int(text))
    if kind == NAME and re.fullmatch(r"[^\s'\"\\]{1,63}", text):
        return Target(NAME, text)
    raise ValueError(f"to={asked} is no target of a restore. {SYNTAX}.")


def moment(text: str) -> float:
    """A time with its zone, or seconds since 1970. Raises ValueError with the remedy."""
    if re.fullmatch(r"\d{9,11}(\.\d+)?", text):
        return float(text)
    try:
        found = datetime.datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", text))
    except ValueError:
        raise ValueError(f"{text} is no time. {SYNTAX}.") from None
    if found.tzinfo is None:
        raise ValueError(
            f"{text} has no zone, and hosts and people have different ones. Add it: {text}Z, or {text}+01:00."
        )
    return found.timestamp()


def clock(moment_s: float | None, digits: int = 0) -> str:
    """A time for a person, in UTC."""
    if moment_s is None:
        return "an unknown time"
    found = datetime.datetime.fromtimestamp(moment_s, datetime.UTC)
    text = found.strftime("%Y-%m-%d %H:%M:%S")
    return f"{text}.{found.microsecond // 10 ** (6 - digits):0{digits}d} UTC" if digits else f"{text} UTC"


# -- of a repository --------------------------------------------------------------------------------------------------


def choose(
    aim: Target,
    tree: Tree,
    backups: Sequence[Mapping[str, Any]],
    times: Mapping[str, float],
    kept: Iterable[str] = (),
    wanted_timeline: int | None = None,
    wanted_set: str = "",
) -> dict[str, Any]:
    """The timeline and the backup for a target, and how far everything is there.

    backups: of pgBackRest's `info`, oldest first. times: segment to when the repository got it. kept: labels of backups that no verification
    found damaged; empty where there are no records. Returns {faults; timeline; options: {timeline, born, ends} where -e timeline= has to
    decide; set; bytes; segment: the last one without a gap; moment: when that was archived; missing: what comes after}.
    """
    found: dict[str, Any] = {
        "faults": [], "timeline": 0, "options": [], "set": "", "bytes": 0, "segment": "", "moment": None, "missing": [], "births": dict(tree.births),
    }  # fmt: skip
    if wanted_timeline is not None and wanted_timeline not in tree.timelines:
        known = ", ".join(str(one) for one in tree.timelines) or "none"
        found["faults"] = [f"timeline={wanted_timeline} is not in the repository. It has: {known}."]
        return found
    choice = timelines.choose(tree, aim.kind, aim.value)
    if wanted_timeline is not None:
        choice = timelines.Choice(wanted_timeline)
    found["timeline"] = choice.timeline
    found["options"] = (
        [_told(tree, one, times) for one in sorted({choice.timeline, *choice.others})] if choice.others else []
    )
    if choice.others:
        found["faults"].append(_ambiguous(aim, found["options"]))
    backup, faults = _backup(aim, tree, choice.timeline, backups, set(kept), wanted_set)
    found["faults"] += faults
    if backup is None:
        return found
    reach = tree.reach(backup["archive"]["start"], choice.timeline)
    found |= {"set": backup["label"], "bytes": int(backup["info"]["size"]), "missing": list(reach.missing)}
    if reach.last:
        found |= {"segment": reach.last.name(), "moment": times.get(reach.last.name())}
    if not reach.last or reach.end < wal.position(backup["lsn"]["stop"]):
        found["faults"].append(
            f"The backup {backup['label']} lacks WAL of its own, from {(reach.missing or ('its first segment',))[0]} on, and can't be "
            "restored. Take an older one with -e set=."
        )
    if aim.kind == LSN and reach.end < aim.value:
        found["faults"].append(
            f"{aim.text} is beyond the WAL that is there without a gap on timeline {choice.timeline}, which ends at {wal.lsn(reach.end)}. "
            "Take an earlier target, or -e to=latest."
        )
    return found


def _told(tree, timeline, times):
    ends = [times.get(wal.Segment(timeline, number).name()) for number in tree.segments.get(timeline, ())]
    return {
        "timeline": timeline,
        "born": tree.births.get(timeline),
        "ends": max((moment for moment in ends if moment is not None), default=None),
    }


def _ambiguous(aim, options):
    ways = "; ".join(
        f"-e timeline={one['timeline']} (born {clock(one['born']) if one['born'] else 'first'}, last WAL {clock(one['ends'])})"
        for one in options
    )
    why = (
        f"a branch began within {timelines.UNCERTAIN_S} s of it"
        if aim.kind == TIME
        else "several branches have this position, with other content"
    )
    return f"Which timeline is meant by to={aim.kind}:{aim.text} is not certain: {why}. Say which: {ways}."


def _backup(aim, tree, timeline, backups, kept, wanted):
    """The newest backup from which the target can be reached, or None and why."""
    if wanted:
        backup = next((one for one in backups if one["label"] == wanted), None)
        if backup is None:
            labels = ", ".join(one["label"] for one in backups) or "none"
            return None, [f"set={wanted} is not in the repository. It has: {labels}."]
        if not _before(backup, aim) or not tree.reach(backup["archive"]["start"], timeline):
            return None, [
                f"The target can't be reached from the backup {wanted}, which ended {clock(backup['timestamp']['stop'])} on timeline "
                f"{wal.segment(backup['archive']['stop']).timeline}; the target is on timeline {timeline}. Leave -e set= out, or take another."
            ]
        return backup, []
    good = [one for one in backups if not one.get("error") and (not kept or one["label"] in kept)]
    fitting = [
        one
        for one in good
        if _before(one, aim) and tree.reach(one["archive"]["start"], timeline) and _ended_on(one, tree, timeline)
    ]
    if fitting:
        return fitting[-1], []
    if not good:
        return None, ["The repository has no usable backup. See playbooks/status.yml."]
    return None, [
        f"No backup was finished before to={aim.kind}:{aim.text} on timeline {timeline}. The oldest usable one ended "
        f"{clock(good[0]['timestamp']['stop'])} at {good[0]['lsn']['stop']}; earlier moments are gone."
    ]


def _before(backup, aim):
    if aim.kind == TIME:
        return backup["timestamp"]["stop"] <= aim.value
    return aim.kind != LSN or wal.position(backup["lsn"]["stop"]) <= aim.value


def _ended_on(backup, tree, timeline):
    """Whether the end of a backup is part of the timeline's line: before the fork at which its own one was left."""
    own = wal.segment(backup["archive"]["stop"]).timeline
    end = dict(tree.line(timeline)).get(own, 0)
    return end is None or wal.position(backup["lsn"]["stop"]) <= end


# -- of the members ---------------------------------------------------------------------------------------------------


def plan(
    members: Mapping[str, Mapping[str, Any]],
    repositories: Mapping[str, Mapping[str, Any]],
    asked: Mapping[str, Any],
    problems: Sequence[str] = (),
) -> dict[str, Any]:
    """What is to be done now.

    members: by host, what postgresql_restore_info returned; empty for one that can't be reached. repositories: by backup host, what
    postgresql_restore_plan returned; empty for one that can't be reached. asked: {to, timeline, set, repository, beside_host,
    beside_directory, beside_port, cluster}. problems: further reasons against it.

    Returns {faults: sentences with the remedy; steps: those of STEPS that are left; host: where the data are restored; repository: the backup
    host; begin: the time in the names of safety copies, empty for now; move, stop: hosts; request: what is asked for, as the host keeps it;
    and of the repository's answer: timeline, set, bytes, type, target, system_identifier, segment, births; seconds; lines: for a person}.
    """
    found: dict[str, Any] = {
        "faults": list(problems), "steps": [], "host": "", "repository": "", "begin": "", "move": [], "stop": [], "request": {}, "lines": [],
        "timeline": 0, "set": "", "bytes": 0, "type": "", "target": "", "system_identifier": "", "segment": "", "births": {}, "moment": None,
        "exact": False, "seconds": None, "archive": "",
    }  # fmt: skip
    try:
        aim = target(asked["to"])
    except ValueError as error:
        found["faults"].append(str(error))
        return found
    beside = bool(asked.get("beside_directory"))
    request = {"to": f"{aim.kind}:{aim.text}" if aim.text else aim.kind}
    found["request"] = request
    begun = {name: seen for name, seen in members.items() if seen and seen["request"]} if not beside else {}
    _place(found, members, begun, asked, beside)
    if len(begun) == 1:
        _same(found, request, next(iter(begun.values()))["request"])
    elif len(begun) > 1:
        found["faults"].append(
            f"Restores were begun on {' and '.join(begun)}. Look which one is wanted, and remove {_work(begun)} on the other."
        )
    earlier = next(iter(begun.values()))["request"] if len(begun) == 1 else {}
    name, chosen = _repository(found, repositories, asked, earlier)
    if chosen:
        found["repository"] = name
        copied = (
            "timeline",
            "set",
            "bytes",
            "system_identifier",
            "segment",
            "moment",
            "exact",
            "seconds",
            "births",
            "archive",
        )
        found |= {key: chosen[key] for key in copied}
        found["faults"] += chosen["faults"]
        found |= {"timeline": earlier.get("timeline") or chosen["timeline"], "set": earlier.get("set") or chosen["set"]}
        found |= _recovery(aim, chosen)
    if not beside:
        _versions(found, members, chosen)
    _room(found, members, beside, asked)
    if found["host"] and not beside:
        _steps(found, members)
    found["faults"] = list(dict.fromkeys(found["faults"]))
    found["request"] = {
        **request,
        "timeline": found["timeline"],
        "set": found["set"],
        "repository": found["repository"],
    }
    if not found["faults"]:
        found["lines"] = _lines(found, members, aim, asked, beside)
    return found


def _place(found, members, begun, asked, beside):
    """Which host gets the data first: where it was begun, else the primary, else the first; beside, the one that was named."""
    away = [name for name, seen in members.items() if not seen]
    if beside:
        found["host"] = asked.get("beside_host") or next(iter(members), "")
        if found["host"] not in members:
            found["faults"].append(
                f"beside_host={found['host']} is no host of group postgresql, which are {', '.join(members)}."
            )
            found["host"] = ""
        elif not members[found["host"]]:
            found["faults"].append(f"{found['host']} can't be reached.")
            found["host"] = ""
        return
    if away:
        found["faults"].append(
            f"{', '.join(away)} can't be reached. What it has of PostgreSQL would not be replaced, and might lead later. Bring it back, or take it "
            "out of the inventory and keep it switched off."
        )
    primary = next((name for name, seen in members.items() if seen and seen["state"] == "in production"), "")
    found["host"] = next(iter(begun), "") or primary or next((name for name, seen in members.items() if seen), "")


def _work(begun):
    return next(iter(begun.values()))["work"]


def _same(found, request, earlier):
    found["begin"] = earlier["begin"]
    if earlier["to"] != request["to"]:
        found["faults"].append(
            f"A restore to {earlier['to']} was begun on {found['host']} and is not finished, and this one is to {request['to']}. Finish it first, with "
            f"-e to={earlier['to']}; then restore again."
        )


def _repository(found, repositories, asked, earlier):
    wanted = asked.get("repository") or earlier.get("repository") or ""
    if not repositories:
        found["faults"].append("There is no repository: group backup has no hosts.")
        return "", None
    if wanted and wanted not in repositories:
        found["faults"].append(f"repository={wanted} is no host of group backup, which are {', '.join(repositories)}.")
        return "", None
    there = {name: one for name, one in repositories.items() if one and wanted in ("", name)}
    if not there:
        found["faults"].append(f"{wanted or ', '.join(repositories)} can't be reached, and so no repository.")
        return "", None
    # That from which most comes back.
    best = max(there, key=lambda name: (not there[name]["faults"], there[name]["moment"] or 0))
    return best, there[best]


def _recovery(aim, chosen):
    """pgBackRest's --type and --target."""
    if aim.kind == LATEST or (
        aim.kind == TIME and chosen["exact"] and chosen["moment"] is not None and aim.value > chosen["moment"]
    ):
        return {"type": LATEST, "target": ""}
    if aim.kind == TIME:
        whole = datetime.datetime.fromtimestamp(aim.value, datetime.UTC)
        return {"type": TIME, "target": whole.strftime("%Y-%m-%d %H:%M:%S.%f+00")}
    return {"type": aim.kind, "target": aim.text}


def _versions(found, members, chosen):
    for name, seen in members.items():
        if not seen:
            continue
        if chosen and chosen["version"] and seen["version"] and chosen["version"] != seen["version"]:
            found["faults"].append(
                f"{name} is configured for PostgreSQL {seen['version']}, and the repository has backups of {chosen['version']}. Set postgresql_version "
                "to that, and run site.yml."
            )
        if seen["mount"]:
            found["faults"].append(
                f"{name}: {seen['directory']} is a mount point, and can't be renamed to keep what is there. Have postgresql_data_directory name a "
                "directory in it."
            )
        if seen["tablespaces"]:
            found["faults"].append(
                f"{name} has tablespaces ({', '.join(seen['tablespaces'])}), whose directories would be written over. Restore beside with "
                "-e beside_directory= on another host, or move their tables to pg_default."
            )


def _room(found, members, beside, asked):
    needed = int(found["bytes"] * ROOM)
    for name, seen in members.items():
        if not seen or (beside and name != found["host"]):
            continue
        if beside and not seen["beside"]["empty"]:
            found["faults"].append(
                f"{name}: {asked['beside_directory']} is not empty. Name a directory that is not there yet."
            )
        if beside and seen["beside"]["port_taken"]:
            found["faults"].append(
                f"{name}: something listens on port {asked['beside_port']} already. Give another one with -e beside_port=."
            )
        free = seen["beside"]["free_bytes"] if beside else seen["free_bytes"] + seen["work_bytes"]
        # A member that has its new data already needs no more.
        finished = not beside and bool(found["begin"]) and found["begin"] in seen["copies"] and seen["state"] != ""
        if free < needed and not finished:
            kept = "" if beside else " What is there now is kept until -e remove=, so it does not count."
            found["faults"].append(
                f"{name} needs {size(needed)} for the restored data, and has {size(free)} free.{kept} Make room there."
            )


def _steps(found, members):
    begin, host = found["begin"], members[found["host"]]
    adopted = bool(begin) and begin in host["copies"] and host["stage"] == NONE and host["state"] != ""
    found["move"] = [name for name, seen in members.items() if seen and (not begin or begin not in seen["copies"])]
    if adopted:
        found["move"] = [name for name in found["move"] if name != found["host"]]
        found["steps"] = [*([STOP, MOVE] if found["move"] else []), START]
        found["stop"] = found["move"]
        return
    found["stop"] = [name for name, seen in members.items() if seen]
    done = {NONE: 0, PARTIAL: 0, RECOVERING: 0, PROMOTED: 1, WHOLE: 2}[host["stage"]]
    found["steps"] = [STOP, MOVE, RESET, *[RECOVER, PROMOTE, ADOPT][done:], START]


# -- afterwards -------------------------------------------------------------------------------------------------------


def record(
    members: Mapping[str, Mapping[str, Any]],
    planned: Mapping[str, Any],
    begin: str,
    measured: bool = True,
    databases: Mapping[str, Any] | None = None,
    commit: float | None = None,
) -> dict[str, Any]:
    """What the record of a finished restore says.

    measured: whether all of it was done by this run, so that its time tells how long one takes. commit: the last one that was recovered.
    """
    return {
        **({} if measured else {"seconds": 0}),
        "label": planned["set"],
        "source": planned["repository"],
        "bytes": planned["bytes"],
        "point": {"time": int(commit or planned["moment"] or 0), "timeline": planned["timeline"]},
        "checks": {"to": planned["request"]["to"]},
        "births": dict(planned["births"]),
        "manifest": {"databases": dict(databases or {})},
        "safety": [
            {"host": name, "path": f"{seen['directory']}.before-restore-{begin}"}
            for name, seen in members.items()
            if seen
        ],
    }


def removal(members: Mapping[str, Mapping[str, Any]], begin: str, kept: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Whether safety copies may go: {faults, lines, paths}. begin: their time; kept: the usable backups of all repositories."""
    known = sorted({copy for seen in members.values() for copy in seen["copies"]})
    if begin not in known:
        return {
            "faults": [f"remove={begin} is no safety copy. There are: {', '.join(known) or 'none'}."],
            "lines": [],
            "paths": [],
        }
    faults = []
    if any(seen["request"].get("begin") == begin for seen in members.values()):
        faults.append("That restore is not finished. Finish it first, with the command that began it.")
    since = datetime.datetime.strptime(begin + "+0000", "%Y%m%dT%H%M%SZ%z").timestamp()
    if not any(one["verified"] and one["record"]["started"] > since for one in kept):
        faults.append(
            f"No backup since {clock(since)} was verified, and what is there would be all. Run playbooks/backup.yml and playbooks/verify_backup.yml with "
            "-e kind=postgresql, then start again."
        )
    paths = {
        name: f"{seen['directory']}.before-restore-{begin}" for name, seen in members.items() if begin in seen["copies"]
    }
    lines = [
        "Removal of what PostgreSQL had before a restore",
        *(f"  {line}" for line in table([[name, path] for name, path in paths.items()])),
    ]
    return {"faults": faults, "lines": lines, "paths": sorted(set(paths.values()))}


def dump(kept: Iterable[Mapping[str, Any]], database: str, label: str = "", repository: str = "") -> dict[str, Any]:
    """The dump of one database: the newest usable one of all repositories, or the one that is named.

    kept: the usable backups of this kind. Returns {faults; label; host; file; bytes; time; point; kept: the backup with this file alone}.
    """
    found: dict[str, Any] = {
        "faults": [],
        "label": "",
        "host": "",
        "file": "",
        "bytes": 0,
        "time": "",
        "point": {},
        "kept": {},
    }
    known = [one for one in kept if repository in ("", one["record"]["host"])]
    if not known:
        return {**found, "faults": ["No repository that can be reached has a usable dump. See playbooks/status.yml."]}
    fitting = [
        one for one in known if database in one["record"]["manifest"]["databases"] and label in ("", one["label"])
    ]
    if not fitting:
        have = sorted({name for one in known for name in one["record"]["manifest"]["databases"]})
        labels = ", ".join(sorted({one["label"] for one in known}))
        return {
            **found,
            "faults": [
                f"No usable dump{f' {label}' if label else ''} has a database {database}. There are {labels}, of {', '.join(have)}."
            ],
        }
    best = max(fitting, key=lambda one: one["record"]["started"])
    record_of, name = best["record"], best["record"]["manifest"]["databases"][database]["file"]
    when = best["point"].get("time") or record_of["started"]
    return {
        **found,
        "label": best["label"],
        "host": record_of["host"],
        "file": name,
        "bytes": record_of["bytes"],
        "time": clock(when),
        "point": best["point"],
        "kept": {**best, "record": {**record_of, "files": {name: record_of["files"][name]}}},
    }


# -- for a person -----------------------------------------------------------------------------------------------------


def _lines(found, members, aim, asked, beside):
    seconds = (
        "not measured yet"
        if found["seconds"] is None
        else f"about {found['seconds'] / 60:.0f} min"
        if found["seconds"] >= 90
        else f"about {found['seconds']:.0f} s"
    )
    rows = [
        ["repository", found["repository"]],
        ["backup", f"{found['set']}, {size(found['bytes'])}"],
        ["timeline", str(found["timeline"])],
        ["up to", _up_to(found, aim, members)],
        ["time", f"{seconds} for {size(found['bytes'])} on the first member"],
    ]
    if beside:
        where = f"{found['host']}:{asked['beside_directory']}, port {asked['beside_port']}, by its socket only"
        return [f"Restore of PostgreSQL beside the running cluster: {where}", *(f"  {line}" for line in table(rows))]
    begin = found["begin"] or "TIME"
    rows += [
        [
            "first member",
            f"{found['host']}; the others copy it: {', '.join(name for name in members if name != found['host']) or 'none'}",
        ],
        *(
            [
                name,
                f"{seen['directory']} is kept as {seen['directory']}.before-restore-{begin}; {size(seen['free_bytes'])} are free",
            ]
            for name, seen in members.items()
        ),
        ["application", "stopped, and started at the end; whoever else writes to PostgreSQL has to be kept away"],
    ]
    title = f"Restore of PostgreSQL of cluster {asked.get('cluster', '')} in place" + (
        ", begun before" if found["begin"] else ""
    )
    return [title, *(f"  {line}" for line in table(rows))]


def _up_to(found, aim, members):
    last = f"{clock(found['moment'], 3 if found['exact'] else 0)}" + (
        "" if found["exact"] else " (when its last WAL was archived)"
    )
    running = any(
        seen
        and seen["state"] == "in production"
        and seen["running"]
        and seen["system_identifier"] == found["system_identifier"]
        for seen in members.values()
    )
    if found["type"] != LATEST:
        return f"{aim.kind} {clock(aim.value, 3) if aim.kind == TIME else aim.text}, everything before and nothing after; the repository has all up to {last}"
    text = f"the last commit in the repository, {last}"
    if running and not found["begin"]:
        text = f"the last commit before the stop, which archives the rest; in the repository now: {last}"
    if aim.kind == TIME:
        text += f"; nothing was committed between that and {clock(aim.value)}"
    return text
