# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Backups: which kinds there are to take, where they go, when they are taken and verified, and for how long they are kept."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..common import age
from ..common.text import nearest
from ..common.values import number
from ..services.backup import Backup
from ..services.registry import SERVICES, backups
from ..services.service import Service
from . import remotes
from .faults import Findings
from .names import path_fault
from .values import boolean

NEVER = "never"
# For one backup host after the other: the second one runs half a day later.
_AT = re.compile(r"(.*\s)?(\d{1,2}):(\d{2})(:\d{2})?")


def kinds_of(members: Mapping[str, list[str]]) -> dict[str, Backup]:
    """The kinds of backups of the services that have hosts."""
    return {
        backup.kind: backup for service in SERVICES.values() if _hosts(service, members) for backup in service.backups
    }


def _hosts(service: Service, members: Mapping[str, list[str]]) -> list[str]:
    """The hosts of a service: of its layer, or of its groups where these are layers of their own."""
    groups = [service.layer] if service.layer in members else service.groups
    return list(dict.fromkeys(host for group in groups for host in members.get(group, [])))


def plan_backups(
    settings: Mapping[str, Any],
    members: Mapping[str, list[str]],
    variables: Mapping[str, Mapping[str, Any]],
    found: Findings,
) -> dict[str, Any]:
    """Return what the topology has of backups, besides the members; what is wrong goes to `found`.

    variables: those of each host. Returns kinds (names), stores (those of them that restore_all.yml restores), fetched (the stores whose backups are
    files, which come to a host before), known (those that there are at all), directory, hosts (names), required, allow_shared_host, elsewhere (those of
    the hosts that belong to the platform, so that the directory has to be of another system), stop (archiving may end), packages, times: by host and
    kind take and verify (times of systemd) and retention_days, and by host repositories and copies (see topology/remotes.py).
    """
    hosts = members["backup"]
    present = kinds_of(members)
    kinds = _kinds(settings["backup_kinds"], present, found) if hosts else []
    takes = _schedule("backup_schedule", settings["backup_schedule"], False, found)
    checks = _schedule("backup_verify_schedule", settings["backup_verify_schedule"], True, found)
    days = _days(settings["backup_retention_days"], found)
    allowed = _switch("backup_allow_shared_host", settings, found)
    repositories = remotes.repositories(hosts, variables, str(settings["ha_cluster_name"]), found)
    copies = remotes.copies(hosts, variables, repositories, str(settings["ha_cluster_name"]), found)
    own_disk = [host for host in hosts if repositories[host]["type"] == remotes.DIRECTORY]
    elsewhere = [] if allowed else _platform_hosts(own_disk, members)
    _check_hosts(hosts, elsewhere, kinds, members, found)
    if hosts:
        for kind in kinds:
            service = next(one for one in SERVICES.values() if present[kind] in one.backups)
            own = {host: variables.get(host, {}) for host in _hosts(service, members)}
            wrong = present[kind].refused(own)
            if wrong:
                found.refuse("group all", "backup_kinds", f"has {kind}, but {wrong[0]}", wrong[1])
    stores = [kind for kind in kinds if present[kind].store]
    required = _switch("backup_required", settings, found)
    if required and not hosts:
        found.warn("group backup", "members", "are none, and backup_required is true", "Add a host to it")
    return {
        "kinds": kinds,
        "stores": stores,
        "fetched": [kind for kind in stores if present[kind].files],
        "known": list(backups()),
        "hosts": list(hosts),
        "recipients": _recipients(settings["backup_recipients"], found),
        "directory": _directory(settings["backup_directory"], found),
        "required": required,
        "allow_shared_host": allowed,
        "elsewhere": elsewhere,
        "stop": _switch("backup_stop", settings, found),
        "packages": list(
            dict.fromkeys(
                [name for kind in kinds for name in present[kind].packages] + ["rclone"] * any(copies.values())
            )
        ),
        "repositories": repositories,
        "copies": {
            host: {**copy, "schedule": shifted(copy["schedule"], place)} if copy else {}
            for place, (host, copy) in enumerate(copies.items())
        },
        "times": {
            host: {
                kind: {
                    "take": [shifted(one, place) for one in takes.get(kind, present[kind].schedule)],
                    "verify": [shifted(one, place) for one in checks.get(kind, present[kind].verify_schedule)],
                    "retention_days": days.get(kind, present[kind].retention_days),
                }
                for kind in kinds
            }
            for place, host in enumerate(hosts)
        },
    }


def shifted(calendar: str, place: int) -> str:
    """A time of systemd for the backup host at this place: each other one half a day later, or half an hour where it is hourly.

    >>> shifted("*-*-* 01:00", 1), shifted("Sun 14:30", 1), shifted("hourly", 1), shifted("hourly", 2)
    ('*-*-* 13:00', 'Sun 02:30', '*-*-* *:30', 'hourly')
    """
    if place % 2 == 0:
        return calendar
    if calendar == "hourly":
        return "*-*-* *:30"
    at = _AT.fullmatch(calendar)
    return f"{at[1] or ''}{(int(at[2]) + 12) % 24:02d}:{at[3]}{at[4] or ''}" if at else calendar


def _kinds(asked: Any, present: Mapping[str, Backup], found: Findings) -> list[str]:
    if asked in (None, "", []):
        return list(present)
    if not isinstance(asked, list) or not all(isinstance(one, str) for one in asked):
        found.refuse("group all", "backup_kinds", f"is {asked!r}, no list", f"Write it like [{', '.join(present)}]")
        return []
    for kind in asked:
        if kind not in backups():
            found.refuse("group all", "backup_kinds", f"has {kind}, which is no kind", nearest(kind, backups()))
        elif kind not in present:
            found.refuse("group all", "backup_kinds", f"has {kind}, whose service has no hosts", "Leave it out")
    return [kind for kind in present if kind in asked]


def _keys(name: str, value: Any, example: str, found: Findings) -> Mapping[str, Any]:
    """The mapping by kind; what is none, and kinds that nobody knows, are refused."""
    if value in (None, ""):
        return {}
    if not isinstance(value, Mapping):
        found.refuse("group all", name, f"is {value!r}, no mapping of kinds", f"Write it like {example}")
        return {}
    for kind in value:
        if kind not in backups():
            found.refuse("group all", name, f"has {kind}, which is no kind", nearest(str(kind), backups()))
    return {kind: one for kind, one in value.items() if kind in backups()}


def _schedule(name: str, value: Any, may_be_never: bool, found: Findings) -> dict[str, list[str]]:
    example = f"{{{next(iter(backups()))}: '*-*-* 04:00'}}"
    times = {}
    for kind, one in _keys(name, value, example, found).items():
        texts = one if isinstance(one, list) else [one]
        if may_be_never and texts == [NEVER]:
            times[kind] = []
        elif (
            not texts
            or not all(isinstance(text, str) and text.strip() and text.isprintable() for text in texts)
            or NEVER in texts
        ):
            found.refuse(
                "group all",
                f"{name}.{kind}",
                f"is {one!r}",
                "Set times as OnCalendar of systemd takes them, for example '*-*-* 01:00'",
            )
        else:
            times[kind] = [text.strip() for text in texts]
    return times


def _days(value: Any, found: Findings) -> dict[str, int]:
    days = {}
    for kind, one in _keys("backup_retention_days", value, f"{{{next(iter(backups()))}: 14}}", found).items():
        figure = number(one)
        if not isinstance(figure, int) or not 1 <= figure <= 3650:
            found.refuse(
                "group all", f"backup_retention_days.{kind}", f"is {one!r}", "Set a whole number of days from 1 to 3650"
            )
        else:
            days[kind] = figure
    return days


def _recipients(value: Any, found: Findings) -> list[str]:
    """The public keys, without what is written after those of SSH."""
    if value in (None, ""):
        return []
    if not isinstance(value, list):
        found.refuse(
            "group all", "backup_recipients", "is no list", "Write each public key on a line of its own, after a dash"
        )
        return []
    wrong = [(entry, fault) for entry, one in enumerate(value, 1) if (fault := age.fault(one))]
    for entry, (what, remedy) in wrong:
        # Not the key itself: it may be a private one.
        found.refuse("group all", f"backup_recipients, entry {entry}", what, remedy)
    return [] if wrong else list(dict.fromkeys(age.name(one) for one in value))


def _switch(name: str, settings: Mapping[str, Any], found: Findings) -> bool:
    wanted = boolean(settings[name])
    if wanted is None:
        found.refuse("group all", name, f"is {settings[name]!r}", "Set true or false")
    return wanted is True


def _directory(value: Any, found: Findings) -> str:
    text = str(value).rstrip("/")
    if not text.startswith("/") or text.count("/") < 2 or path_fault(text):
        found.refuse(
            "group all",
            "backup_directory",
            f"is {value!r}, no absolute path of a directory of its own, without blanks and colons",
            "Set it like /var/backups/utmstack",
        )
    return text


def _platform_hosts(hosts: list[str], members: Mapping[str, list[str]]) -> list[str]:
    others = {layer: names for layer, names in members.items() if layer not in ("backup", "drill", "monitoring")}
    return [host for host in hosts if any(host in names for names in others.values())]


def _check_hosts(
    hosts: list[str], elsewhere: list[str], kinds: list[str], members: Mapping[str, list[str]], found: Findings
) -> None:
    """A repository on a host of the platform is lost with it, unless it lies elsewhere: role base looks, before anything is touched."""
    for host in hosts:
        if "postgresql" in kinds and host in members["postgresql"]:
            found.refuse(
                f"host {host}",
                "groups",
                "are backup and postgresql: pgBackRest has one configuration, of a member or of a repository, and a repository is for the loss of"
                " that very host",
                "Name another host in group backup, or set backup_kinds without postgresql",
            )
    if elsewhere:
        one = len(elsewhere) == 1
        found.warn(
            "group backup",
            "members",
            f"{', '.join(elsewhere)} {'is a host' if one else 'are hosts'} of the platform, too: its backups would be lost with it",
            "Have a share of another system mounted at backup_directory, without which site.yml refuses the host before anything is touched; or name"
            " another host",
        )
