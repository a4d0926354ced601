# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The services of the platform: one line for each.

The list gives the order, too: what others stand on comes first. site.yml deploys in this order, rolling operations take services in it, and
a host that is taken away gives them up in the opposite one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from . import (
    backend,
    elasticsearch,
    etcd,
    haproxy,
    host_backup,
    keepalived,
    pgbouncer,
    postgresql,
    redis,
    sentinel,
    swarm,
)
from .backup import Backup
from .drill import LedgerPath
from .service import Service, processes_of

SERVICES: dict[str, Service] = {
    module.SERVICE.name: module.SERVICE
    for module in (
        etcd,
        postgresql,
        elasticsearch,
        sentinel,
        redis,
        swarm,
        backend,
        pgbouncer,
        haproxy,
        keepalived,
        host_backup,
    )
}


def of_groups(groups: Iterable[str]) -> list[Service]:
    """The services that its groups give a host, also those that are switched off."""
    return [service for service in SERVICES.values() if set(groups).intersection(service.groups)]


def units() -> list[str]:
    """All units of systemd that tell whether a service was restarted."""
    return [unit for service in SERVICES.values() for unit in service.every(service.units)]


def probed() -> list[Service]:
    """The services by whose port a load balancer finds out whether another host is there."""
    return [service for service in SERVICES.values() if service.probe_port]


def leaderships() -> dict[str, Service]:
    """The services of which one host leads, by what that is called in -e service= of a switchover."""
    return {service.leadership or service.name: service for service in SERVICES.values() if service.leads}


def processes() -> dict[str, dict[str, Any]]:
    """The processes that a fault of a drill may meet."""
    return {name: process for service in SERVICES.values() for name, process in processes_of(service)}


def targets() -> dict[str, Service]:
    """The services of which a fault may meet the leader or a replica: those that one host leads, and those of peers."""
    return {**leaderships(), **{service.name: service for service in SERVICES.values() if service.peers}}


def faults() -> dict[str, dict[str, Any]]:
    """The faults that the services bring into the catalogue of a drill, as a scenario's file has them."""
    return {
        fault.name: fault.plain(service.leadership or service.name)
        for service in SERVICES.values()
        for fault in service.faults
    }


def ledger_paths() -> dict[str, LedgerPath]:
    """The paths on which a drill's ledger may write, those between accounts last."""
    found = [path for service in SERVICES.values() for path in service.ledger]
    return {path.name: path for path in sorted(found, key=lambda path: path.accounts)}


def backups() -> dict[str, Backup]:
    """The kinds of backups, by their names, in the order in which a platform is restored: what others stand on first."""
    return {backup.kind: backup for service in SERVICES.values() for backup in service.backups}


def handed_over() -> dict[str, Service]:
    """What can be handed over to a host that is named, in the order in which it is done: what others stand on first."""
    return {what: service for what, service in leaderships().items() if service.successor}


def entry_points(groups: Iterable[str]) -> dict[str, list[str]]:
    """The roles that are called for a whole host, by entry point.

    Services are taken away in the opposite of their order, and come back in it; what gives the virtual IP away is taken last, since its clients
    notice most.
    """
    away = sorted(reversed(of_groups(groups)), key=lambda service: "vip" in service.gives())
    found = {}
    for name in ("drain", "hold", "release", "undrain", "health", "retire"):
        own = [service.role for service in away if name in service.whole_host]
        found[name] = list(dict.fromkeys(reversed(own) if name in ("undrain", "health") else own))
    # What comes back by another service's undrain, as the virtual IP does by HAProxy's, is asked when all that it stands on serves.
    found["health"].sort(key=lambda role: role not in found["undrain"])
    return found
