# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""etcd, where Patroni agrees on PostgreSQL's primary."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..common.text import size
from ..common.values import url
from .answers import against_inventory, cluster
from .backup import HOUR, Backup
from .change import NOT_ROTATED, PORT, REFUSED, Change, address, cluster_name, given, name, port, tls_directory
from .drill import CUT_OFF, LEADER, LOSSY, Fault, frozen, killed
from .listener import HOST, Listener
from .members import check_single, check_voters, quorum
from .service import Data, Service, Timing, member_of


def part(own: Mapping[str, Any], ha: Mapping[str, Any]) -> dict[str, Any]:
    """Return what others must know of the cluster."""
    members = [
        {
            **one,
            "client_url": url("https", one["address"], ha["ports"]["etcd_client"]),
            "peer_url": url("https", one["address"], ha["ports"]["etcd_peer"]),
        }
        for one in own["members"]
    ]
    return {
        "members": members,
        "endpoints": [one["client_url"] for one in members],
        "initial_cluster": ",".join(f"{one['name']}={one['peer_url']}" for one in members),
        "quorum": quorum(len(members)),
    }


def check_members(members: Mapping[str, list[str]], found: Any) -> None:
    """Its members vote."""
    check_voters("etcd", members["etcd"], found)
    check_single("etcd", members["etcd"], "with it PostgreSQL stops taking writes", found)


def check_timing(timing: Mapping[str, Any], require: Callable[[bool, str, str, str], None]) -> None:
    heartbeat, election = timing["etcd"]["heartbeat_interval_ms"], timing["etcd"]["election_timeout_ms"]
    require(
        election >= 5 * heartbeat,
        "etcd.election_timeout_ms",
        f"is {election}, less than 5 x heartbeat_interval_ms ({heartbeat}), which etcd refuses",
        f"Set it to {5 * heartbeat} or more, better {10 * heartbeat}",
    )


# etcd's guides to each minor version name the patch version that all members must have before.
_FIRST = {(3, 6): (3, 5, 26), (3, 7): (3, 6, 11)}
# From these on etcd answers requests without a login no more that older versions of Patroni make (Patroni's pull request 3580).
_STRICT = {(3, 4): (3, 4, 42), (3, 5): (3, 5, 28), (3, 6): (3, 6, 9)}
_PATRONI_FOR_STRICT = (4, 1, 1)


def asks(ha: Mapping[str, Any], secrets: Mapping[str, str], _host: str) -> dict[str, dict[str, Any]]:
    """One member tells of all."""
    return {
        "utmstack.ha.etcd_info": {
            "endpoints": ha["etcd"]["endpoints"],
            "ca_path": ha["tls"]["ca"],
            "client_cert": ha["tls"]["certificate"],
            "client_key": ha["tls"]["key"],
            "username": "root",
            "password": secrets["etcd_root_password"],
            "timeout": 3,
        }
    }


def form(topology, observations, _roles):
    """Return its part of the state of the platform, as Service.form says."""
    members = topology["etcd"]["members"]
    if not members:
        return None
    best, problems = cluster("etcd", topology, observations, "etcd", lambda member: member["healthy"])
    found = list(best["members"]) if best else []
    missing, differences = against_inventory("etcd", topology, found)
    problems += differences
    healthy = sum(1 for member in found if member["healthy"])
    if found and healthy < topology["etcd"]["quorum"]:
        quorum = f"{healthy} of {len(found)} members are healthy, {topology['etcd']['quorum']} are needed"
        problems.insert(0, f"etcd: no quorum: {quorum}")
    addresses = {member["name"]: member["address"] for member in members}
    keys = ("leader", "learner", "healthy", "version", "db_size_bytes", "raft_term", "error")
    return {
        "healthy": not problems,
        "problems": problems,
        "leader": best["leader"] if best else None,
        "quorum": topology["etcd"]["quorum"],
        "members": [
            {
                "name": member["name"] or "(never started)",
                "address": addresses.get(member["name"], ""),
                **{key: member[key] for key in keys},
            }
            for member in found
        ],
        "not_members": missing,
    }


def table(state):
    """Return its table, as Service.table says."""
    etcd = state["etcd"]
    if not etcd:
        return "", []
    rows = [["member", "address", "role", "health", "version", "database", "raft term"]]
    for member in etcd["members"]:
        role = "leader" if member["leader"] else "learner" if member["learner"] else "follower"
        known = member["version"] is not None
        rows.append(
            [
                member["name"],
                member["address"],
                role if known else "-",
                "ok" if member["healthy"] else "BAD",
                member["version"] or "-",
                size(member["db_size_bytes"]),
                str(member["raft_term"] or "-"),
            ]
        )
    rows += [[name, "", "-", "NO MEMBER", "-", "-", "-"] for name in etcd["not_members"]]
    if len(rows) == 1:
        return "etcd, nobody answers", [["-"]]
    healthy = sum(1 for member in etcd["members"] if member["healthy"])
    return f"etcd, {healthy} of {len(rows) - 1} healthy, quorum {etcd['quorum']}", rows


def backed_up(ha: Mapping[str, Any], secrets: Mapping[str, str]) -> dict[str, Any]:
    """Return what its backup needs to know. Only root gets a snapshot."""
    return {
        "members": [{"name": one["name"], "url": one["client_url"]} for one in ha["etcd"]["members"]],
        "ca": ha["tls"]["ca"],
        "certificate": ha["tls"]["certificate"],
        "key": ha["tls"]["key"],
        "user": "root",
        "password": secrets["etcd_root_password"],
    }


def forbids(package, old, new, installed):
    """Return what an upgrade must not do, as Service.forbids says."""
    if package != "etcd-server":
        return
    minors = old[:2], new[:2]
    if new[:1] != old[:1] or new[1] > old[1] + 1:
        yield (
            f"etcd goes one minor version at a time, and {_dotted(minors[0])} to {_dotted(minors[1])} skips {old[0]}.{old[1] + 1}. Go "
            f"there first, with -e version={old[0]}.{old[1] + 1}.x."
        )
    elif minors == ((3, 4), (3, 5)):
        yield (
            "members of 3.4 and 3.5 can't be one cluster where it has users, as here (etcd's guide \"Upgrade etcd from 3.4 to 3.5\"). "
            "Rebuild it: back up etcd and PostgreSQL, pause Patroni, stop all members, upgrade them all, start them."
        )
    elif minors[0] != minors[1] and old < _FIRST.get(minors[1], ()):
        first = _dotted(_FIRST[minors[1]])
        yield f"etcd's guide to {_dotted(minors[1])} demands {first} or later before. Go there first, with -e version={first}."
    patroni, numbers = installed.get("patroni", ("", ()))
    strict = new[:2] > max(_STRICT) or new >= _STRICT.get(new[:2], (4,))
    if patroni and strict and numbers < _PATRONI_FOR_STRICT:
        yield (
            f"Patroni {patroni} can't log in to etcd {_dotted(new)}, {_dotted(_PATRONI_FOR_STRICT)} can. Upgrade service=postgresql first."
        )


def _dotted(version):
    return ".".join(map(str, version))


SERVICE = Service(
    name="etcd",
    title="etcd",
    role="etcd",
    layer="etcd",
    groups=("etcd",),
    listeners=(
        Listener(
            "etcd", "etcd (clients)", "etcd_client", 2379, HOST, "PostgreSQL hosts (Patroni), etcd hosts, backup hosts"
        ),
        Listener("etcd", "etcd (peers)", "etcd_peer", 2380, HOST, "etcd hosts"),
    ),
    part=part,
    check_members=check_members,
    # A majority is needed.
    survives=lambda ha: len(ha["etcd"]["members"]) - ha["etcd"]["quorum"],
    # Its largest election timeout is 50 s.
    timing=(
        Timing(
            part="etcd",
            profiles={
                "fast": {"heartbeat_interval_ms": 100, "election_timeout_ms": 1000},
                "normal": {"heartbeat_interval_ms": 100, "election_timeout_ms": 1000},
                "wan": {"heartbeat_interval_ms": 300, "election_timeout_ms": 3000},
            },
            limits={"heartbeat_interval_ms": (10, 10000), "election_timeout_ms": (50, 50000)},
            check=check_timing,
        ),
    ),
    changes=(
        Change(
            "etcd_data_directory",
            REFUSED,
            "To have the data on another disk, mount it there while the member is stopped",
        ),
        Change("ha_ports.etcd_client", REFUSED, PORT),
        Change("ha_ports.etcd_peer", REFUSED, PORT),
        Change("etcd_root_password", REFUSED, NOT_ROTATED),
        Change("etcd_patroni_password", REFUSED, NOT_ROTATED, "/etc/patroni/config.yml (etcd3)"),
    ),
    compared=(
        ("etcd", "name", "inventory name", name),
        ("etcd", "cluster", "ha_cluster_name", cluster_name),
        ("etcd", "address", "ha_address", address),
        ("etcd", "client_port", "ha_ports.etcd_client", port("etcd_client")),
        ("etcd", "peer_port", "ha_ports.etcd_peer", port("etcd_peer")),
        ("etcd", "data_directory", "etcd_data_directory", given("etcd_data_directory")),
        ("etcd", "tls_directory", "ha_tls_directory", tls_directory),
    ),
    memory=1,
    settings={"etcd_data_directory": "/var/lib/etcd/{cluster}"},
    passwords={"etcd_root_password": "", "etcd_patroni_password": ""},
    units=("etcd.service",),
    packages=("etcd-client", "etcd-server"),
    held=("etcd-server",),
    upgrades=("etcd-client", "etcd-server"),
    upgraded={"etcd.service": ()},
    data=Data("etcd_data_directory", "etcd"),
    configs={"etcd.service": ("/etc/default/etcd",)},
    traces=lambda look, _unit: look.data(path.parent for path in look.glob("/var/lib/etcd/*/member")),
    asks=asks,
    form=form,
    table=table,
    serves=lambda layer, host: bool(member_of(layer, "members", host).get("healthy")),
    leads="etcd's leader",
    forbids=forbids,
    processes={"etcd": {"only": "main", "what": "etcd"}},
    faults=(
        Fault("etcd-sigkill", "The leader of etcd is killed", LEADER, killed("etcd"), hold_s=15),
        Fault("etcd-sigstop", "The leader of etcd is frozen", LEADER, frozen("etcd"), hold_s=20),
        Fault("etcd-partition", "The host of etcd's leader is cut off from all others", LEADER, CUT_OFF, hold_s=45),
        Fault("etcd-lossy", "The host of etcd's leader loses a share of its packets", LEADER, LOSSY, hold_s=60),
    ),
    backups=(
        Backup(
            kind="etcd",
            title="etcd",
            playbook="restore_etcd",
            asked=backed_up,
            source="a follower",
            schedule=("*-*-* 02:30",),
            verify_schedule=("*-*-* 04:30",),
            # A member that is made of it, and the server that proves it.
            scratch=lambda size: (2 * size + (128 << 20), 2 * size + (64 << 20)),
            limit_s=HOUR,
            # Its server has sockets in its own directory, and nothing else.
            isolated=True,
            packages=("etcd-client", "etcd-server"),
            secrets=("etcd_root_password",),
        ),
    ),
)
