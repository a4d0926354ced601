# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a major upgrade of PostgreSQL has to do next, or the way back from it, decided by what lies on the hosts.

There is no note of how far a run came. What was done shows by itself: pg_upgrade works in a directory beside the new one, which gets
its name when all is done; it puts the old pg_control away before it links the first file; Patroni's configuration names the version
it runs, and whether clients are kept away. So a run that died anywhere is started again, and goes on there.

Going back, what could be mistaken is destroyed first: the old data of the upgraded host lose their pg_control before anything else
is removed, and no old server starts while there are new data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..common.text import table

CHECK, HOLD, STOP, UPGRADE, START, OPEN, FINISH = STEPS = (
    "check", "hold", "stop", "upgrade", "start", "open", "finish",
)  # fmt: skip
BACK = "back"
PRIMARY = "in production"
CLEAN = "shut down"
STANDBY = "in archive recovery"
CLEAN_STANDBY = "shut down in recovery"
# At which pg_upgrade starts servers.
PG_UPGRADE_PORT = 50432
AGAIN = "playbooks/postgresql_major_upgrade.yml"


def number(version: str) -> int:
    """A major version to compare with; 0 of none. PostgreSQL 9 is not known here."""
    return int(version) if str(version).isdigit() else 0


def position(lsn: str) -> int:
    """A WAL location such as 0/17529B0 as a number of bytes; -1 of none."""
    high, slash, low = lsn.partition("/")
    return (int(high, 16) << 32) + int(low, 16) if slash else -1


@dataclass(frozen=True)
class Member:
    """A host of the cluster, as postgresql_data_info saw it, and the version that is wanted."""

    name: str
    version: str
    seen: Mapping[str, Any]

    @property
    def target(self) -> Mapping[str, Any]:
        return self.seen["target"]

    @property
    def old(self) -> Mapping[str, Any] | None:
        """The newest data of an older version."""
        older = [data for data in self.seen["data"] if 0 < number(data["version"]) < number(self.version)]
        return max(older, key=lambda data: number(data["version"]), default=None)

    @property
    def new(self) -> Mapping[str, Any] | None:
        """The data of the wanted version, where they are to be."""
        wanted = (self.target["directory"], self.version)
        return next((data for data in self.seen["data"] if (data["directory"], data["version"]) == wanted), None)

    @property
    def configured(self) -> bool:
        """Whether Patroni is configured for the wanted version."""
        return self.seen["config"]["version"] == self.version

    @property
    def opened(self) -> bool:
        """Whether clients may have written to the wanted version here."""
        return self.configured and not self.seen["config"]["closed"]

    @property
    def disabled(self) -> bool:
        """Whether pg_upgrade has linked the old data's files, or begun to."""
        return bool(self.old) and self.old["control"] == "disabled"

    def old_is(self, state: str) -> bool:
        """Whether the old data could be started, and were left in this state or are in it."""
        return bool(self.old) and self.old["control"] == "present" and self.old["state"] == state

    @property
    def leads(self) -> bool:
        """Whether the old data's server is the primary that clients use, and not one that pg_upgrade has started."""
        return self.old_is(PRIMARY) and self.old["running"] and self.old["port"] != PG_UPGRADE_PORT

    @property
    def upgraded(self) -> bool:
        """Whether pg_upgrade has finished here."""
        return self.disabled and bool(self.new) and self.new["control"] == "present"


def plan(
    seen: Mapping[str, Mapping[str, Any]],
    version: str,
    way: str = "forward",
    problems: Sequence[str] = (),
    paused: bool = False,
    offered: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """What is to be done now.

    seen: by host, what postgresql_data_info returned. version: the wanted major version. way: forward or back. problems, paused: what
    status() of operation/status.py says of PostgreSQL and etcd. offered: by host, what package_info says of
    the new version's package.

    Returns {faults: sentences with the remedy; steps: those of STEPS that are left, or back; host: where the work is done, whose server
    leads first; others: all other hosts; old: {version, directory} of the data before; stop: hosts on which Patroni and PostgreSQL are
    stopped; verify: whether the others have to have received all; pause: whether there is a Patroni to be paused; reset: whether
    Patroni's keys are those of the data that are left behind; restore: whether the host's old pg_control comes back; damaged:
    hosts whose old data can't be used any more; discard: by host, new directories to be removed; remove: by host, old directories
    that an upgrade leaves behind; text: the plan for a person}.
    """
    members = [Member(name, str(version), answer) for name, answer in seen.items()]
    found = {
        "faults": [],
        "steps": [],
        "host": "",
        "stop": [],
        "verify": False,
        "pause": False,
        "reset": False,
        "restore": False,
        "damaged": [],
        "discard": {member.name: _discarded(member) for member in members},
        "remove": {member.name: _left_behind(member) for member in members},
    }
    faults = _asked(version, way)
    if not faults:
        decide = _back if way == "back" else _forward
        faults = decide(found, members, list(problems), paused, offered or {})
    old = next((member.old for member in members if member.name == found["host"] and member.old), None)
    old = old or next((member.old for member in members if member.old), None) or {"version": "", "directory": ""}
    found |= {
        "faults": list(dict.fromkeys(faults)),
        "others": [member.name for member in members if member.name != found["host"]],
        "old": {"version": old["version"], "directory": old["directory"]},
        "target": members[0].target["directory"] if members else "",
    }
    return found | {"text": "" if faults else text(found, str(version))}


def _asked(version, way):
    if number(version) < 10:
        return [f"version={version} is no major version of PostgreSQL. Give -e version=17, for example."]
    if way not in ("forward", "back"):
        return [f"way={way} is not known. Leave it out, or give -e way=back to return to the old version."]
    return []


def _discarded(member):
    """Directories of the new version that an upgrade has made on a host."""
    work = [f"{member.target['directory']}.upgrade"]
    return [*([member.target["directory"]] if member.new or member.configured else []), *work]


def _left_behind(member):
    """Old data beside those that the host runs with."""
    if not member.opened:
        return []
    return [data["directory"] for data in member.seen["data"] if 0 < number(data["version"]) < number(member.version)]


# -- forward ----------------------------------------------------------------------------------------------------------


def _forward(found, members, problems, paused, offered):
    if any(member.opened for member in members):
        left = any(not member.opened or member.seen["prepared"] or _left_behind(member) for member in members)
        found["steps"] = [OPEN, FINISH] if left else []
        return []
    upgraded = next((member for member in members if member.upgraded), None)
    running = [member for member in members if member.new and member.new["running"]]
    if upgraded or running:
        found["host"] = (upgraded or running[0]).name
        found["steps"] = [HOLD, STOP, START, OPEN, FINISH]
        found["reset"] = not running
        found["stop"] = [member.name for member in members if not member.configured]
        return [
            f"{member.name}: its PostgreSQL {member.old['version']} took writes after {found['host']} was upgraded. {_go_back()}"
            for member in members
            if (member.old_is(PRIMARY) or member.old_is(CLEAN)) and member.name != found["host"]
        ]
    host, faults = _source(members)
    if host is None:
        return faults
    found |= {"host": host.name, "stop": [member.name for member in members], "reset": True}
    found["verify"] = not host.seen["begun"]
    found["pause"] = any(member.seen["patroni"] for member in members)
    if host.leads:
        found["steps"] = list(STEPS)
        # An earlier run has paused Patroni, and maybe stopped it everywhere; nothing else excuses a cluster that is not whole.
        begun = host.seen["prepared"] and (paused or not found["pause"])
        faults = (
            []
            if begun
            else [f"{problem}. Repair that first; playbooks/status.yml shows it." for problem in _bare(problems)]
        )
        return [*faults, *_places(members, host), *_packages(members, offered)]
    found["steps"] = [HOLD, STOP, UPGRADE, START, OPEN, FINISH]
    if not host.seen["prepared"]:
        return [f"{host.name}: PostgreSQL {host.old['version']} is stopped, and nothing is prepared. {_go_back()}"]
    return list(_places(members, host))


def _source(members):
    """The member whose data are to be upgraded, or None and why."""
    version = members[0].version
    for member in members:
        configured = next(
            (one["version"] for one in member.seen["data"] if one["directory"] == member.seen["config"]["directory"]),
            "",
        )
        if number(configured) > number(version):
            return None, [
                f"{member.name} runs PostgreSQL {configured}, and {version} is older. There is no way to an older version."
            ]
    running = [member for member in members if member.leads]
    if len(running) > 1:
        names = " and ".join(member.name for member in running)
        return None, [f"{names} both run as primary. Repair the cluster first; playbooks/status.yml shows it."]
    if running:
        return running[0], []
    stopped = [
        member for member in members if member.disabled or (member.old_is(PRIMARY) and member.old["running"])
    ] or [member for member in members if member.old_is(CLEAN)]
    if len(stopped) == 1:
        return stopped[0], []
    crashed = next((member for member in members if member.old_is(PRIMARY)), None)
    if crashed:
        return None, [
            f"{crashed.name}: PostgreSQL {crashed.old['version']} leads and is not running, and was not shut down. {_go_back()}"
        ]
    if not any(member.old for member in members):
        return None, [f"No host has data of a version older than {version}. Run site.yml for a new cluster."]
    return None, [f"No host has the data of a primary that was shut down. {_go_back()}"]


def _go_back():
    return f"Go back first, with {AGAIN} -e way=back."


def _bare(problems):
    return [problem.rstrip(".") for problem in problems]


def _places(members, host):
    """Why the new data can't be made where they are to be."""
    for member in members:
        target = member.target
        if member.old and member.old["version"] != host.old["version"]:
            yield f"{member.name} has data of version {member.old['version']}, {host.name} of {host.old['version']}. Rebuild {member.name} first."
        if target["directory"] == member.seen["config"]["directory"]:
            yield (
                f"{member.name}: {target['directory']}, where the new data are to be, has the present ones, since postgresql_data_directory "
                "names it. Give another one with -e directory=."
            )
        elif not target["empty"]:
            yield (
                f"{member.name}: {target['directory']}, where the new data are to be, is not empty. Look what it is, and move it away; what an "
                f"interrupted rollback has left there is removed by {AGAIN} -e way=back."
            )
        if member is host and member.old["device"] != target["device"]:
            yield (
                f"{member.name}: {target['directory']} is not on the file system of {member.old['directory']}, so that files can't be linked. "
                "Give a directory there with -e directory=."
            )
        if member is not host and member.old and target["free_bytes"] < member.old["size_bytes"]:
            yield (
                f"{member.name} gets a new copy of all data, {_gib(member.old['size_bytes'])}, beside the present one, and only "
                f"{_gib(target['free_bytes'])} are free at {target['directory']}. Make space, or give another directory with -e directory=."
            )


def _gib(size):
    return f"{size / 2**30:.1f} GiB"


def _packages(members, offered):
    for member in members:
        known = offered.get(member.name)
        if known is not None and not any(package["installed"] or package["candidate"] for package in known.values()):
            yield (
                f"{member.name} is not offered the package postgresql-{member.version}. Give all hosts a repository that has it, such as "
                "PostgreSQL's own (apt.postgresql.org)."
            )


# -- and back ---------------------------------------------------------------------------------------------------------


def _back(found, members, _problems, paused, _offered):
    opened = [member.name for member in members if member.opened]
    if opened:
        return [
            f"No rollback is possible any more: clients have been let in to PostgreSQL {members[0].version} ({', '.join(opened)}), and the old "
            "data lack what they have written since. Restore a backup, or go on with the new version."
        ]
    begun = paused or any(
        member.seen["prepared"] or member.disabled or member.new or member.configured or not member.seen["patroni"]
        for member in members
    )
    if not begun:
        return [f"There is nothing to go back from: no upgrade to PostgreSQL {members[0].version} was begun."]
    host, faults = _survivor(members)
    if host is None:
        return faults
    live = host.leads
    found |= {
        "host": host.name,
        "steps": [BACK],
        "stop": [member.name for member in members if not live or member.configured],
        "reset": not live,
        "restore": host.disabled,
        "damaged": [member.name for member in members if member.disabled and member is not host],
    }
    return []


def _survivor(members):
    """The member whose old data have everything, or None and why."""
    upgraded = next((member for member in members if member.disabled and member.new), None)
    for fits in (
        lambda member: member.leads,
        # Nothing has run yet on the files that both versions have.
        lambda member: member.disabled and not upgraded,
        # It has led, and after the upgrade only another one than the upgraded host can have.
        lambda member: member.old_is(CLEAN) or member.old_is(PRIMARY),
    ):
        found = next((member for member in members if fits(member)), None)
        if found:
            return found, []
    # pg_upgrade was begun only when all standbys had received all of the old primary, so none has less than another. The primary itself
    # has been started and stopped by pg_upgrade since, and its last checkpoint is another one.
    whole = [member for member in members if member.old_is(CLEAN_STANDBY) or member.old_is(STANDBY)]
    best = max(whole, key=lambda member: position(member.old["checkpoint"]), default=None)
    if best is None:
        return None, [
            "No standby has old data that could be started: there is nothing to go back to. Start the upgrade again without way=back, or "
            "restore a backup."
        ]
    return best, []


# -- for a person -----------------------------------------------------------------------------------------------------

_SAID = {
    CHECK: ("every host", "install postgresql-{new}; {host} (primary): initdb beside the old data, pg_upgrade --check. No service stops"),
    HOLD: ("every host", "Patroni is paused, so that nobody takes over; from here on clients of pgbouncer wait"),
    STOP: ("every host", "stop {host} cleanly, then the others, once they have received all of it"),
    UPGRADE: ("{host}", "pg_upgrade --link to {target}"),
    START: ("every host", "start PostgreSQL {new} on {host}, closed to clients; first statistics (vacuumdb); the others copy it"),
    OPEN: ("every host", "open client access when all members stream. No rollback is possible from here on"),
    FINISH: ("every host", "full statistics (vacuumdb); wait until all stream. The old data stay"),
}  # fmt: skip


def text(planned: Mapping[str, Any], version: str) -> str:
    """The plan as a person wants to see it before saying yes."""
    old = planned["old"]["version"] or "the old version"
    names = {"new": version, "host": planned["host"] or "the primary", "target": planned["target"]}
    if planned["steps"] == [BACK]:
        lines = [
            f"Back to PostgreSQL {old} with the data of {planned['host']}",
            *(
                f"  the old data of {host} can't be used any more and are removed; it copies them anew"
                for host in planned["damaged"]
            ),
            f"  what there is of PostgreSQL {version} is removed",
        ]
        return "\n".join(lines)
    if not planned["steps"]:
        return f"All hosts run PostgreSQL {version}. Nothing is to be done."
    rows = [["step", "where", "what"]]
    for place, step in enumerate(planned["steps"], 1):
        where, what = _SAID[step]
        rows.append([place, where.format(**names), what.format(**names)])
    title = f"PostgreSQL {old} to {version}"
    if planned["steps"] == [OPEN, FINISH]:
        title = f"PostgreSQL {version} has clients already; what is left"
    return "\n".join([title, *(f"  {line}" for line in table(rows))])
