# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What may be changed once a platform is deployed: one table, and the faults of an inventory that changes what can't be.

The rows of a service are in its object (services/*.py). The table is the truth for docs/changes.md too (`page`). What is deployed is read on the
hosts by module deployed_info.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from typing import Any

from ..services.change import APPLIED, OPERATION, REFUSED, RELOAD_HAPROXY, ROLLING, Change, Wanted
from ..services.passwords import passwords
from ..services.registry import SERVICES
from .faults import Findings, report

_NEW_HOST = "To move the host, give the machine a new system with nothing on it, and the new value: it joins as a new member while the others serve"

# What belongs to no service.
TABLE = (
    # Names and places of the whole cluster.
    Change("ha_cluster_name", REFUSED, "To have another name, deploy a new cluster and restore into it"),
    Change(
        "ha_vip",
        REFUSED,
        "To change it, plan a time without clients: stop keepalived, HAProxy and pgbouncer on all load balancers, remove"
        " /etc/keepalived/keepalived.conf there, then run site.yml",
    ),
    Change("ha_vip_name", APPLIED, "certificates are issued anew, and each service takes its own up"),
    Change("ha_vip_router_id", APPLIED, "keepalived is reloaded; the virtual IP is away as in a failover"),
    Change("ha_failover_profile", APPLIED, ROLLING),
    Change("ha_timing", APPLIED, ROLLING),
    Change("ha_tls_directory", REFUSED, "To have the files on another disk, mount it there"),
    Change("ha_drill_allowed", APPLIED, "the drill's users are made; taken back, they stay"),
    Change(
        "ha_secrets_dir",
        REFUSED,
        "Restore the directory that the cluster was deployed with, or set ha_secrets_dir to it",
    ),
    Change("ha_secrets", REFUSED, "It is set by role topology only"),
    Change("tls_source, tls_ca_file", OPERATION, "tls_replace_ca: true, after all clients trust the new CA"),
    # Hosts.
    Change("inventory name", REFUSED, _NEW_HOST),
    Change("ha_address", REFUSED, _NEW_HOST),
    Change(
        "group membership",
        REFUSED,
        "Put the host back into the group, or take it out first: `systemctl disable --now` the service there, remove the member with the"
        " product's own tool, and move its data away",
    ),
    Change("ha_priority", APPLIED, "keepalived is reloaded"),
    Change("ha_rack", APPLIED, ROLLING),
    Change("ha_memory_mb", APPLIED, ROLLING),
    Change("ha_backup_server", APPLIED, RELOAD_HAPROXY),
    Change("ha_take_over", APPLIED, "what it names is stopped and disabled; taken back, it stays so"),
    # Ports of what is no service of the collection's.
    Change("ha_ports.web", APPLIED, RELOAD_HAPROXY),
    Change("ha_ports.ssh", APPLIED, "it only says where the SSH server listens already"),
)


def table() -> tuple[Change, ...]:
    """What a new value of each setting becomes: of the platform's, then of the services'."""
    return (*TABLE, *(row for service in SERVICES.values() for row in service.changes))


def rows() -> dict[str, Change]:
    """The rows of the table by their settings."""
    return {row.setting: row for row in table()}


def compared() -> tuple[tuple[str, str, str, Wanted], ...]:
    """Return layer, what deployed_info knows of it, the setting that it comes from, and what the inventory wants."""
    return tuple(one for service in SERVICES.values() for one in service.compared)


def layers() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return what messages call a layer that is compared, and the groups whose hosts have it."""
    return {name: (service.title, service.groups) for name, service in SERVICES.items() if service.title}


def refusal(ha: Mapping, deployed: Mapping[str, Mapping]) -> str:
    """Why the inventory can't be applied to what is deployed, as a list for a person; empty where it can.

    ha: the topology. deployed: what deployed_info returned, by the name of each host that answered.
    """
    found = Findings()
    hosts = {name: one for name, one in deployed.items() if name in ha["hosts"]}
    _check_values(ha, hosts, found)
    _check_membership(ha, hosts, found)
    for service in SERVICES.values():
        service.check_changes(ha, hosts, found)
    _check_passwords(hosts, found)
    return report(found.faults) if found.faults else ""


def _check_values(ha: Mapping, hosts: Mapping[str, Mapping], found: Findings) -> None:
    differing: dict[tuple[str, str, str], tuple[list[str], list[str]]] = {}
    for name, one in hosts.items():
        for setting, wanted, present, layer in _differences(ha, ha["hosts"][name], one):
            names, parts = differing.setdefault((setting, str(wanted), str(present)), ([], []))
            names += [name] * (name not in names)
            parts += [layer] * (layer not in parts)
    for (setting, wanted, present), (names, parts) in differing.items():
        found.refuse(
            _where(names),
            setting,
            f"is {wanted}, but {_and(layers()[layer][0] for layer in parts)} {_is(parts)} deployed with {present}",
            f"Put {present} back. {rows()[setting].how}",
        )


def _differences(ha: Mapping, host: Mapping, one: Mapping) -> Iterator[tuple[str, Any, Any, str]]:
    """What the inventory wants otherwise than a host has it: (setting, wanted, present, layer)."""
    found, given = one["layers"], one["settings"]
    # Directories that follow the cluster's name are not wrong beside it.
    named_after_it = {
        name
        for service in SERVICES.values()
        for name, default in service.settings.items()
        if "{cluster}" in str(default)
    }
    renamed = any(part.get("cluster") not in (None, "", ha["cluster"]) for part in found.values())
    for layer, key, setting, wanted_of in compared():
        present = found.get(layer, {}).get(key)
        if present in (None, "", []) or (renamed and setting in named_after_it):
            continue
        wanted = wanted_of(ha, host, given)
        if (
            wanted not in (None, "", [])
            and str(wanted) != str(present)
            and not _stays(ha, given, setting, wanted, present)
        ):
            yield setting, wanted, present, layer


def _stays(ha: Mapping, given: Mapping, setting: str, wanted: Any, present: Any) -> bool:
    """Whether data lie in the directory that was the default when a host was deployed, and the inventory names no other than today's."""
    return any(
        (present, wanted)
        == (
            posixpath.dirname(service.data.former.format(**given)),
            service.settings[setting].format(cluster=ha["cluster"], **given),
        )
        for service in SERVICES.values()
        if service.data and service.data.former and service.data.setting == setting and setting in service.settings
    )


def _check_membership(ha: Mapping, hosts: Mapping[str, Mapping], found: Findings) -> None:
    for name, one in hosts.items():
        for layer, (title, groups) in layers().items():
            if (
                layer in one["enabled"]
                and layer in one["layers"]
                and not set(groups) & set(ha["hosts"][name]["groups"])
            ):
                found.refuse(
                    f"host {name}",
                    "group membership",
                    f"lacks {' and '.join(groups)}, but {title} runs there with data of this cluster",
                    rows()["group membership"].how,
                )


def _check_passwords(hosts: Mapping[str, Mapping], found: Findings) -> None:
    differing: dict[str, list[str]] = {}
    compared: set[str] = set()
    for name, one in hosts.items():
        compared |= set(one["passwords"])
        for password, same in one["passwords"].items():
            if not same:
                differing.setdefault(password, []).append(name)
    if len(differing) > 2 and set(differing) == compared:
        found.refuse(
            _where(list(hosts)),
            "ha_secrets_dir",
            "leads to other passwords than those that the cluster was deployed with, all that could be compared",
            rows()["ha_secrets_dir"].how,
        )
        return
    for password in sorted(differing, key=[*passwords(), *differing].index):
        row = rows()[password]
        if row.unknown:
            found.refuse(_where(differing[password]), password, *row.unknown)
            continue
        old = (
            f"the old value, which is in {row.found_in}"
            if row.found_in
            else "the old value, of a copy of passwords.yml"
        )
        found.refuse(
            _where(differing[password]),
            password,
            "is not the one that is deployed",
            f"Put back {old}. {row.how}",
        )


def _where(names: list[str]) -> str:
    return f"host{'s' * (len(names) > 1)} {', '.join(names)}"


def _and(words) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def _is(words: list) -> str:
    return "are" if len(words) > 1 else "is"


def page() -> str:
    """The table for the docs, in Markdown."""
    lines = ["| setting | a new value | how, or what to do instead |", "|---|---|---|"]
    lines += [f"| {_code(row.setting)} | {row.effect} | {row.how} |" for row in table()]
    return "\n".join(lines) + "\n"


def _code(setting: str) -> str:
    return ", ".join(f"`{name}`" if "_" in name else name for name in setting.split(", "))
