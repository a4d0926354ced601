# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Settings: which there are, that all hosts see the same ones, and what each of them may be."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..common.secrets import trouble
from ..common.text import nearest
from ..common.values import number
from ..services.passwords import passwords
from ..services.registry import SERVICES
from .addresses import HOSTNAME, parse
from .faults import Fault, Findings
from .names import is_number, path_fault
from .values import boolean

# The settings of the whole platform, with their defaults.
PLATFORM: dict[str, Any] = {
    "ha_cluster_name": "utmstack",
    "ha_vip": "",
    "ha_vip_name": "",
    "ha_vip_router_id": 51,
    "ha_failover_profile": "fast",
    "ha_timing": {},
    "ha_ports": {},
    "ha_tls_directory": "/etc/utmstack-ha/tls",
    "ha_drill_allowed": False,
    "ha_secrets_dir": "",
}
HOST_SETTINGS = (
    "ha_address",
    "ha_priority",
    "ha_rack",
    "ha_memory_mb",
    "ha_backup_server",
    "ha_take_over",
)
# Names that begin with ha_ without being settings: what role topology sets itself.
OTHER_NAMES = ("ha_secrets",)
# A unit of systemd, with its ending or without, or an absolute path.
TAKEN_OVER = re.compile(r"/\S+|[A-Za-z0-9@:_.\\-]{1,255}")

# What Ansible says of a value that is encrypted, and that no vault password of this run opens.
UNDECRYPTABLE = "undecryptable"

# It becomes Patroni's scope (a part of a path in etcd) and PostgreSQL's cluster_name.
CLUSTER_NAME = re.compile(r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?")


def shared_settings() -> dict[str, Any]:
    """Return the settings that cross roles, with their defaults; role topology documents them (a test compares the two)."""
    return PLATFORM | {name: value for service in SERVICES.values() for name, value in service.shared.items()}


def host_settings() -> tuple[str, ...]:
    """Return the settings of a single host that the topology looks at."""
    return (*HOST_SETTINGS, *(name for service in SERVICES.values() for name in service.host_settings))


def variables_seen() -> tuple[str, ...]:
    """Return the names of a host's variables that the topology looks at."""
    return (*shared_settings(), *host_settings(), *passwords(), "ansible_host", "inventory_dir")


@dataclass(frozen=True)
class Inventory:
    """What the controller knows of the hosts.

    groups: name -> hosts, in inventory order. hosts: name -> its variables, templated (of those that begin with ha_
    all, of the others variables_seen() and the settings of the roles). broken: host -> variable -> why it could not be templated.
    others: host -> names of variables that no file of this collection uses. files: host ->
    setting -> text of the file of certificates or keys that it names, or the OSError why there is none.
    """

    groups: Mapping[str, list[str]]
    hosts: Mapping[str, Mapping[str, Any]]
    broken: dict[str, dict[str, str]] = field(default_factory=dict)
    others: Mapping[str, frozenset[str]] = field(default_factory=dict)
    files: Mapping[str, Mapping[str, str | OSError]] = field(default_factory=dict)

    def variables(self, host: str) -> Mapping[str, Any]:
        """Return a host's variables; a host without any has none."""
        return self.hosts.get(host, {})

    def place(self, those: list[str], hosts: list[str]) -> str:
        """Return what to call some of the hosts in a message: all, a group, or by their names."""
        if those == hosts:
            return "group all"
        group = next((name for name, members in self.groups.items() if list(members) == those), None)
        if group and len(those) > 1:
            return f"group {group}"
        return f"host{'s' * (len(those) > 1)} {', '.join(those)}"


def together(inventory: Inventory, hosts: list[str], faults: Iterable[Fault]) -> list[Fault]:
    """Return the faults in their order; what several hosts have wrong alike is told once, of all of them."""
    places = {f"host {host}": host for host in hosts}
    wrong: dict[Fault, list[str]] = {}
    for fault in faults:
        host = places.get(fault.where)
        alike = wrong.setdefault(replace(fault, where="") if host else fault, [])
        alike += [host] if host else []
    return [
        replace(fault, where=inventory.place(sorted(those, key=hosts.index), hosts)) if those else fault
        for fault, those in wrong.items()
    ]


def check_variables(inventory: Inventory, hosts: list[str], settings: Mapping[str, Any], found: Findings) -> None:
    """Refuse variables that can't be templated, that nobody knows, or that hosts see differently, and bad passwords."""
    secret, shared = passwords(), shared_settings()
    known = [name for name in (*shared, *HOST_SETTINGS, *OTHER_NAMES) if name.startswith("ha_")]
    for host, reasons in inventory.broken.items():
        for name, reason in reasons.items():
            remedy = "Correct it, or define what it refers to"
            if UNDECRYPTABLE in reason:
                remedy = "Give its vault password, by --ask-vault-pass or --vault-password-file"
            found.refuse(f"host {host}", name, f"can't be templated: {reason}", remedy)
    for host in hosts:
        for name in inventory.variables(host):
            if name.startswith("ha_") and name not in known:
                found.refuse(
                    f"host {host}",
                    name,
                    "is no setting of this collection, which owns the names that begin with ha_",
                    nearest(name, known),
                )
    for name in (*shared, *secret):
        _check_same(
            inventory, [host for host in hosts if name not in inventory.broken.get(host, {})], name, shared, found
        )
    for name, forbidden in secret.items():
        wrong = trouble(settings[name], forbidden) if settings.get(name) not in (None, "") else None
        if wrong:
            found.refuse("group all", name, *wrong)


def _check_same(inventory: Inventory, hosts: list[str], name: str, shared: Mapping[str, Any], found: Findings) -> None:
    """Refuse a setting of the whole cluster that hosts see differently; a password's value is not told."""
    holders: list[tuple[Any, list[str]]] = []
    for host in hosts:
        value = inventory.variables(host).get(name, shared.get(name))
        for seen, others in holders:
            if seen == value:
                others.append(host)
                break
        else:
            holders.append((value, [host]))
    if len(holders) > 1:
        shown = "; ".join(f"{', '.join(others)}: {_shown(name, value)}" for value, others in holders)
        found.refuse(
            f"host {holders[1][1][0]}",
            name,
            f"differs between hosts, but holds for all ({shown})",
            "Set it once, in group_vars/all or under all: vars:",
        )


def _shown(name: str, value: Any) -> str:
    if value in (None, ""):
        return "unset"
    return "a value" if name in passwords() else repr(value)


def priorities(inventory: Inventory, balancers: list[str], found: Findings) -> dict[str, int]:
    """Return VRRP priorities: ha_priority where it is set, else 250, 240, … in the order of the group.

    High ones, since a backup waits (256 - priority) / 256 of an advert longer before it takes over (RFC 5798, 6.1).
    """
    given: dict[str, int] = {}
    for host in balancers:
        value = inventory.variables(host).get("ha_priority")
        if value in (None, ""):
            continue
        figure = number(value)
        if not isinstance(figure, int) or not 1 <= figure <= 254:
            found.refuse(
                f"host {host}", "ha_priority", f"is {value!r}", "Set a whole number from 1 to 254 (255 is reserved)"
            )
        elif figure in given.values():
            other = next(name for name, priority in given.items() if priority == figure)
            found.refuse(
                f"host {host}", "ha_priority", f"is {figure}, as on host {other}", "Give each its own priority"
            )
        else:
            given[host] = figure
    step = 10 if len(balancers) <= 7 else 1
    free = (priority for priority in range(250, 0, -step) if priority not in given.values())
    return {host: given[host] if host in given else next(free, 1) for host in balancers}


def router_id(value: Any, found: Findings) -> int | None:
    """Return VRRP's virtual_router_id."""
    figure = number(value)
    if not isinstance(figure, int) or not 1 <= figure <= 255:
        found.refuse(
            "group all",
            "ha_vip_router_id",
            f"is {value!r}",
            "Set a whole number from 1 to 255 that no other VRRP router of this subnet uses",
        )
        return None
    return figure


def vip_name(value: Any, hosts: list[str], found: Findings) -> str:
    """Return the DNS name of the virtual IP, or nothing."""
    name = "" if value is None else str(value)
    if name and (not HOSTNAME.fullmatch(name) or parse(name) or is_number(name)):
        found.refuse(
            "group all", "ha_vip_name", f"is {name!r}, no DNS name", "Set a name like db.example.org, or leave it empty"
        )
    elif name in hosts:
        found.refuse(
            "group all",
            "ha_vip_name",
            f"is {name}, which is a host's own name",
            "Set the name that leads to the virtual IP, or leave it empty",
        )
    return name


def cluster_name(value: Any, found: Findings) -> str:
    """Return the cluster's name."""
    if not isinstance(value, str) or not CLUSTER_NAME.fullmatch(value):
        found.refuse(
            "group all",
            "ha_cluster_name",
            f"is {value!r}, which can't be Patroni's scope and PostgreSQL's cluster_name",
            "Set 1 to 63 lower-case letters, digits, hyphens and underscores, for example utmstack",
        )
    return str(value)


def switch(where: str, name: str, value: Any, found: Findings) -> bool:
    """Return whether a setting is true; what is neither true nor false is refused, and counts as false."""
    wanted = boolean(value)
    if wanted is None:
        found.refuse(where, name, f"is {value!r}", "Set true or false")
    return wanted is True


def tls_files(value: Any, found: Findings) -> dict[str, str]:
    """Return where the TLS files are on every host, and the group that may read the key."""
    directory = posixpath.normpath(str(value))
    if not directory.startswith("/") or directory.count("/") < 2 or path_fault(directory):
        found.refuse(
            "group all",
            "ha_tls_directory",
            f"is {value!r}, no absolute path of a directory of its own, without blanks and colons",
            f"Set it like {PLATFORM['ha_tls_directory']}",
        )
    return {
        "directory": directory,
        "ca": f"{directory}/ca.crt",
        "certificate": f"{directory}/host.crt",
        "key": f"{directory}/host.key",
        "group": "utmstack-tls",
    }


def secrets_dir(setting: Any, inventory_dirs: list[str], exists: Callable[[str], bool], found: Findings) -> str:
    """Return the one directory on the controller for passwords and local CA; nothing where there is none.

    inventory_dirs: the directories of the files that the hosts come from. The first that has a .secrets counts, and where none has
    one yet, the first.
    """
    if setting:
        if not posixpath.isabs(str(setting)):
            found.refuse(
                "group all", "ha_secrets_dir", f"is {setting!r}", "Set it to an absolute path on the controller"
            )
        return str(setting)
    places = [f"{directory}/.secrets" for directory in dict.fromkeys(inventory_dirs) if directory]
    there = [place for place in places if exists(place)]
    if len(there) > 1:
        found.refuse(
            "group all",
            "ha_secrets_dir",
            f"is not set, and the inventory has {' and '.join(there)}",
            "Set it to the one that this cluster was deployed with",
        )
    return (there or places or [""])[0]


def memory_mb(inventory: Inventory, host: str, found: Findings) -> int | None:
    """Return the MiB to count with on a host, or None for what it has."""
    value = inventory.variables(host).get("ha_memory_mb")
    if value in (None, ""):
        return None
    figure = number(value)
    if not isinstance(figure, int) or figure < 256:
        found.refuse(
            f"host {host}", "ha_memory_mb", f"is {value!r}", "Set the MiB to count with, 256 or more, or leave it out"
        )
        return None
    return figure


def take_over(inventory: Inventory, host: str, found: Findings) -> list[str]:
    """Return the units and paths of a host that the operator gives up to the platform."""
    value = inventory.variables(host).get("ha_take_over")
    if value in (None, ""):
        return []
    if not isinstance(value, list) or not all(isinstance(name, str) and TAKEN_OVER.fullmatch(name) for name in value):
        found.refuse(
            f"host {host}",
            "ha_take_over",
            f"is {value!r}, no list of units and of paths",
            "Write it like ha_take_over: [etcd, postgresql@17-main]",
        )
        return []
    return value


def backup_servers(
    inventory: Inventory, members: Mapping[str, list[str]], hosts: list[str], found: Findings
) -> dict[str, bool]:
    """Return which hosts HAProxy uses only when no other answers; each layer needs one that is not among them."""
    result = {}
    for host in hosts:
        value = inventory.variables(host).get("ha_backup_server", False)
        result[host] = switch(f"host {host}", "ha_backup_server", value, found)
    for group in ("backend", "web"):
        if members[group] and all(result[host] for host in members[group]):
            found.refuse(
                f"group {group}",
                "ha_backup_server",
                "is true on every member, so that none is left to be used first",
                "Leave it out on one or more",
            )
    return result
