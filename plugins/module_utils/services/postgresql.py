# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""PostgreSQL under Patroni."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..common.text import size, span
from ..common.values import number, url
from .answers import against_inventory, answers_of, cluster, sentence
from .backup import Backup
from .change import (
    APPLIED,
    CLIENT_PORT,
    NOT_ROTATED,
    OPERATION,
    PORT,
    REFUSED,
    RELOAD_HAPROXY,
    SWITCH,
    Change,
    address,
    cluster_name,
    given,
    name,
    port,
    tls_directory,
)
from .drill import CUT_OFF, LEADER, LOSSY, POWER_OFF, REPLICA, Fault, LedgerPath, addresses, frozen, killed
from .listener import HOST, VIP, Endpoint, Listener
from .members import check_single, quorum
from .service import Data, Layer, Service, Timing, member_of

# Patroni's words for who takes writes.
LEADING_ROLES = ("leader", "standby_leader")
SYNCHRONOUS_MODES = ("off", "on", "strict", "quorum")
# NAMEDATALEN - 1: PostgreSQL cuts application_name there, by which it knows its synchronous standbys.
NAME_BYTES = 63
# Words with a meaning of their own in pg_hba.conf (also pgbouncer's), and what PostgreSQL or the platform has already.
DATABASE_WORDS = frozenset(("all", "sameuser", "samerole", "samegroup", "replication", "template0", "template1"))
OWNER_WORDS = frozenset(
    (
        "all",
        "public",
        "none",
        "postgres",
        "replicator",
        "rewind",
        "pgbouncer",
        "pgbouncer_admin",
        "utmstack_drill",
        "utmstack_backup",
    )
)
# The interpreter of tasks that act as the account postgres. Root is then all that sudo has to allow.
_PYTHON = "/usr/local/lib/utmstack-ha/python-as-postgres"
# How a setting of the cluster arrives.
_PATRONI = "by Patroni, one member after the other where a restart is needed"
# Role postgresql makes it where ha_drill_allowed is true.
DRILL_USER = "utmstack_drill"
# It makes this one where group backup has hosts; it may read all data.
BACKUP_USER = "utmstack_backup"
# The scratch server of a verification.
SCRATCH_MEMORY = 768 << 20
# What module observe calls the answer about WAL.
ARCHIVE_QUESTION = "postgresql_archive_info"
# Kinds of backups that are pulled from PostgreSQL; the first takes its WAL as well.
ARCHIVE_KIND, DUMP_KIND = "postgresql", "dump"
# archive_timeout: what Patroni takes, and below which value 16 MB of WAL every few seconds are told.
ARCHIVE_TIMEOUTS, ARCHIVE_TIMEOUT_LOW = (5, 3600), 10
QUEUE_SIZE = re.compile(r"[1-9][0-9]*[KMGT]?i?B?", re.IGNORECASE)
# Transfers that each of the bank's clients may begin in a second. It holds its rows for longer than a slot: about three are made, and it is seldom idle.
BANK_RATE = 8


def confirming(layer: Layer) -> list[str]:
    """The standbys that confirm writes: the only ones that may take over while there are any."""
    return [one["name"] for one in (layer or {}).get("members", []) if one["role"] not in (*LEADING_ROLES, "replica")]


def paused(layer: Layer) -> str:
    """Why nothing may begin while Patroni does not act."""
    return "Patroni is paused. End that first: patronictl resume." if (layer or {}).get("paused") else ""


def check_patroni_timing(timing: Mapping[str, Any], require: Callable[[bool, str, str, str], None]) -> None:
    patroni, election = timing["patroni"], timing["etcd"]["election_timeout_ms"]
    loop_wait, retry_timeout, ttl = patroni["loop_wait_s"], patroni["retry_timeout_s"], patroni["ttl_s"]
    needed = loop_wait + 2 * retry_timeout
    require(
        needed <= ttl,
        "patroni.ttl_s",
        f"is {ttl}, less than loop_wait_s + 2 x retry_timeout_s = {loop_wait} + 2 x {retry_timeout} = {needed}: the "
        "primary would lose its lease while it still tries to renew it",
        f"Set it to {needed} or more, or lower loop_wait_s or retry_timeout_s",
    )
    require(
        election < retry_timeout * 1000,
        "patroni.retry_timeout_s",
        f"is {retry_timeout}, no longer than one etcd election ({election} ms): each election would demote the primary",
        f"Set it above {election / 1000:g}, or lower etcd.election_timeout_ms",
    )


def check_timing(timing: Mapping[str, Any], require: Callable[[bool, str, str, str], None]) -> None:
    receiver, sender = timing["postgresql"]["wal_receiver_timeout_ms"], timing["postgresql"]["wal_sender_timeout_ms"]
    require(
        sender > receiver,
        "postgresql.wal_sender_timeout_ms",
        f"is {sender}, not above wal_receiver_timeout_ms ({receiver}): the primary would drop a standby "
        "that still waits",
        f"Set it above {receiver}",
    )


def facts(settings: Mapping[str, Any], hosts: Mapping[str, Any], found: Any) -> dict[str, Any]:
    """Return how writes are confirmed; names are judged as well."""
    mode, count = synchronous_mode(
        settings["postgresql_synchronous_mode"], settings["postgresql_synchronous_node_count"], len(hosts), found
    )
    check_names(hosts, found)
    check_databases(settings["postgresql_databases"], found)
    return {
        "synchronous_mode": mode,
        "synchronous_node_count": count,
        "backups": {
            **archive(settings, found),
            "kinds": list(settings.get("backup_kinds") or (ARCHIVE_KIND, DUMP_KIND)),
        },
    }


def archive(settings: Mapping[str, Any], found: Any) -> dict[str, Any]:
    """Return the settings of WAL archiving, judged."""
    least, most = ARCHIVE_TIMEOUTS
    timeout, limit = number(settings["backup_archive_timeout_s"]), number(settings["backup_rpo_limit_s"])
    where = "group all"
    if not isinstance(timeout, int) or not least <= timeout <= most:
        found.refuse(
            where,
            "backup_archive_timeout_s",
            f"is {settings['backup_archive_timeout_s']!r}",
            f"Set whole seconds from {least} to {most}",
        )
        timeout = least
    elif timeout < ARCHIVE_TIMEOUT_LOW:
        found.warn(
            where,
            "backup_archive_timeout_s",
            f"is {timeout}: 16 MB of WAL are closed that often, which standbys receive and repositories compress",
            f"Have {ARCHIVE_TIMEOUT_LOW} or more where so many seconds of writes may be lost with all PostgreSQL hosts",
        )
    if not isinstance(limit, int) or limit <= timeout:
        found.refuse(
            where,
            "backup_rpo_limit_s",
            f"is {settings['backup_rpo_limit_s']!r}, and WAL is closed every {timeout} s",
            f"Set whole seconds above backup_archive_timeout_s, {6 * timeout} for example",
        )
    queue = str(settings["backup_archive_queue_max"] or "")
    if queue and not QUEUE_SIZE.fullmatch(queue):
        found.refuse(
            where,
            "backup_archive_queue_max",
            f"is {queue!r}",
            "Set a size as pgBackRest has it, like 50GB, or leave it empty",
        )
    elif queue:
        found.warn(
            where,
            "backup_archive_queue_max",
            f"is {queue}: of a longer queue WAL is thrown away, and no restore passes the gap until the next full backup",
            "Leave it empty where none may be lost",
        )
    return {"timeout_s": timeout, "rpo_limit_s": limit, "queue_max": queue}


def check_names(members: Iterable[str], found: Any) -> None:
    """Refuse names of members that PostgreSQL would cut, and those that share a replication slot.

    Patroni names a member's slot after it, in lower case and with _ for dots and hyphens.
    """
    for host in members:
        if len(host.encode()) > NAME_BYTES:
            found.refuse(
                f"host {host}",
                "inventory name",
                f"has {len(host)} characters: PostgreSQL cuts a standby's name at {NAME_BYTES}, and then never takes it "
                "for the synchronous one",
                f"Give the host a name of {NAME_BYTES} characters at most, and its address in ha_address",
            )
    slots: dict[str, str] = {}
    for host in members:
        slot = re.sub(r"[.-]", "_", host.lower())[:63]
        if slot in slots:
            found.refuse(
                f"host {host}",
                "inventory name",
                f"gives the same replication slot ({slot}) as host {slots[slot]}",
                "Rename one so that they differ in more than case, dots and hyphens in the first 63 characters",
            )
        slots.setdefault(slot, host)


def check_databases(value: Any, found: Any) -> None:
    """Refuse names of databases and owners that mean something else in PostgreSQL or are the platform's own."""
    for entry in value if isinstance(value, list) else []:
        if not isinstance(entry, Mapping):
            continue
        for key, words in (("name", DATABASE_WORDS), ("owner", OWNER_WORDS)):
            word = str(entry.get(key, ""))
            if word in words or (key == "owner" and word.startswith("pg_")):
                found.refuse(
                    "group all",
                    "postgresql_databases",
                    f"has the {key} {word}, which has a meaning already",
                    "Rename it",
                )


def synchronous_mode(setting: Any, node_count: Any, members: int, found: Any) -> tuple[str, int]:
    """Return Patroni's synchronous mode and synchronous_node_count, checked against the number of members.

    Unset, it is strict with three members or more, on with two (strict would stop all writes with the first host
    lost) and off with one.
    """
    setting = {True: "on", False: "off"}.get(setting, setting) if isinstance(setting, bool) else setting
    if setting in (None, ""):
        setting = "strict" if members >= 3 else "on" if members == 2 else "off"
    if setting not in SYNCHRONOUS_MODES:
        found.refuse(
            "group postgresql",
            "postgresql_synchronous_mode",
            f"is {setting!r}",
            f"Set one of {', '.join(SYNCHRONOUS_MODES)}",
        )
        setting = "on"
    count = number(node_count)
    if not isinstance(count, int) or count < 1:
        found.refuse(
            "group postgresql", "postgresql_synchronous_node_count", f"is {node_count!r}", "Set a whole number from 1"
        )
        count = 1
    needed = {"off": 1, "on": count + 1, "quorum": count + 1, "strict": count + 2}[setting]
    if members and members < needed:
        why = ", so that writes go on when one is lost" if setting == "strict" else ""
        found.refuse(
            "group postgresql",
            "postgresql_synchronous_mode",
            f"is {setting}, which with postgresql_synchronous_node_count {count} needs {needed} members{why}; "
            f"there are {members}",
            f"Add {needed - members} to group postgresql, or set a mode that needs fewer (on needs "
            f"{count + 1}, off needs 1)",
        )
    if setting == "off" and members > 1:
        found.warn(
            "group postgresql",
            "postgresql_synchronous_mode",
            "is off: a failover may lose acknowledged writes",
            "Leave it unset where none may be lost",
        )
    return setting, count


def part(own: Mapping[str, Any], ha: Mapping[str, Any]) -> dict[str, Any]:
    """Return what others must know of the cluster of Patroni's; pgbouncer's share of it comes from topology/pooling.py."""
    vip, ports = ha["virtual_ip"]["address"], ha["ports"]
    return {
        **{name: value for name, value in own.items() if name != "backups"},
        **archived_by(own, ha),
        "members": [one | {"rest_url": url("https", one["address"], ports["patroni_rest"])} for one in own["members"]],
        "quorum": quorum(len(own["members"])),
        "python": _PYTHON,
        "scope": ha["cluster"],
        "namespace": "/service/",
        "write": {"host": vip, "port": ports["postgresql_write"]},
        "read": {"host": vip, "port": ports["postgresql_read"]},
        "direct": {"host": vip, "port": ports["postgresql_direct"]},
    }


def archived_by(own: Mapping[str, Any], ha: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the backup hosts change of it; nothing where there are none.

    archive: where WAL goes (repositories, in the order of their numbers) and how. backup_hosts: who may log in to read all data.
    """
    backups = own["backups"]
    hosts = [
        {"name": host["name"], "address": host["address"]}
        for host in ha["hosts"].values()
        if "backup" in host["groups"]
    ]
    kinds = set(backups["kinds"]) if hosts and own["members"] else set()
    found: dict[str, Any] = {}
    if ARCHIVE_KIND in kinds:
        settings = {name: backups[name] for name in ("timeout_s", "rpo_limit_s", "queue_max")}
        found["archive"] = {**settings, "stanza": ha["cluster"], "repositories": hosts}
    if {ARCHIVE_KIND, DUMP_KIND} & kinds:
        found["backup_hosts"] = hosts
    return found


def archives(ha: Mapping[str, Any]) -> bool:
    """Whether WAL goes to backup hosts."""
    return "archive" in ha["postgresql"]


def some_packages(ha: Mapping[str, Any], _release: Mapping[str, Any]) -> tuple[str, ...]:
    return ("pgbackrest",) if archives(ha) else ()


def check_changes(ha: Mapping[str, Any], hosts: Mapping[str, Mapping[str, Any]], found: Any) -> None:
    """Refuse to end archiving unasked, and releases of pgBackRest that do not talk to each other."""
    deployed = {name: one["layers"].get("postgresql", {}).get("archives_to") for name, one in hosts.items()}
    ended = {name: where for name, where in deployed.items() if where}
    if ended and not archives(ha) and not ha["backup"]["stop"]:
        where = next(iter(ended.values()))
        found.refuse(
            "group backup",
            "members",
            f"give PostgreSQL no repository any more, but it archives its WAL to {where}; with nobody to take it, WAL would fill the disks",
            f"Put {where} back, or have archiving end by -e backup_stop=true: from then on nothing restores writes later than the last WAL there",
        )
    if not archives(ha):
        return
    releases = {name: str(one.get("release", "")) for name, one in hosts.items()}
    members = {one["name"] for one in ha["postgresql"]["members"]}
    there = sorted({releases[name] for name in members & releases.keys() if releases[name]})
    for one in ha["postgresql"]["archive"]["repositories"]:
        own = releases.get(one["name"], "")
        other = [release for release in there if own and release != own]
        if other:
            found.refuse(
                f"host {one['name']}",
                "Debian release",
                f"is {own}, but PostgreSQL hosts have {' and '.join(other)}: the pgBackRest of one release does not talk to that of another",
                f"Install Debian {other[-1]} on the backup host; its repository can be kept",
            )


def check_members(members: Mapping[str, list[str]], found: Any) -> None:
    """Patroni needs etcd, and a lost primary a replica."""
    own = members["postgresql"]
    if own and not members["etcd"]:
        found.refuse(
            "group etcd",
            "members",
            "are none, while group postgresql has some: Patroni keeps its state in etcd",
            "Add three hosts to group etcd; they may be the PostgreSQL hosts",
        )
    check_single("postgresql", own, "there is no replica to take over", found)
    if len(own) == 2:
        found.warn(
            "group postgresql",
            "members",
            "are 2: after the loss of one, no second copy of a write is kept",
            "Have three where no write may be lost",
        )


def unsupported(ha: Mapping[str, Any], release: Mapping[str, Any], _settings: Any) -> tuple[str, ...]:
    if ha["postgresql"]["synchronous_mode"] != "quorum" or release["patroni_quorum"]:
        return ()
    return "postgresql_synchronous_mode is quorum, which needs Patroni 4", "Set strict"


def survives(ha: Mapping[str, Any]) -> int:
    """In strict synchronous mode the primary and the standbys that confirm each write are needed; in the others the last one takes writes."""
    needed = ha["postgresql"]["synchronous_node_count"] if ha["postgresql"]["synchronous_mode"] == "strict" else 0
    return len(ha["postgresql"]["members"]) - 1 - needed


def outages(ha: Mapping[str, Any]) -> list[list[str]]:
    """The leader key lives for ttl and is renewed in full by a new etcd leader; then Patroni probes the dead primary for 2 s."""
    patroni, election = ha["timing"]["patroni"], ha["timing"]["etcd"]["election_timeout_ms"] / 1000
    crash = 2 * patroni["loop_wait_s"] + patroni["primary_start_timeout_s"]
    return [
        ["PostgreSQL process dies", f"up to about {crash:g} s without writes"],
        ["host of the primary dies", f"up to about {patroni['ttl_s'] + election + 3:g} s without writes"],
    ]


def endpoints(ha: Mapping[str, Any]) -> list[Endpoint]:
    """Writes, pooled where pgbouncer runs, the way around it, and reads."""
    port, pooled = ha["ports"]["postgresql"], ha["pgbouncer"]["enabled"]
    through = f", through pgbouncer, port {ha['ports']['pgbouncer']}" if pooled else ""
    login = ("{postgresql}", "postgresql_application_password", "postgresql", "/{database}")
    return [
        Endpoint(
            "postgresql_write",
            f"PostgreSQL primary{', pooled' if pooled else ''}",
            f"the primary, port {port}{through}",
            *login,
        ),
        Endpoint("postgresql_direct", "PostgreSQL primary, direct", f"the primary, port {port}, not pooled", *login),
        Endpoint("postgresql_read", "PostgreSQL replicas", f"the replicas, port {port}", *login),
    ]


def notes(ha: Mapping[str, Any]) -> list[str]:
    """What becomes of acknowledged writes."""
    mode, count = ha["postgresql"]["synchronous_mode"], ha["postgresql"]["synchronous_node_count"]
    standbys = "1 standby confirms" if count == 1 else f"{count} standbys confirm"
    return [
        {
            "off": "PostgreSQL replicates asynchronously: a failover may lose the last writes.",
            "on": f"Synchronous mode on: {standbys} each write, as long as there are any.",
            "quorum": f"Synchronous mode quorum: any {standbys} each write, as long as there are any.",
            "strict": f"Synchronous mode strict: {standbys} each write, or it waits.",
        }[mode]
    ]


def asks(ha: Mapping[str, Any], secrets: Mapping[str, str], host: str) -> dict[str, dict[str, Any]]:
    """The host's own Patroni tells of the cluster, and the host of its WAL."""
    return {
        "utmstack.ha.patroni_info": {
            "url": [one["rest_url"] for one in ha["postgresql"]["members"] if one["name"] == host],
            "ca_path": ha["tls"]["ca"],
            "timeout": 3,
        },
        **({f"utmstack.ha.{ARCHIVE_QUESTION}": {}} if archives(ha) else {}),
    }


def backup_settings(ha: Mapping[str, Any], secrets: Mapping[str, str]) -> dict[str, Any]:
    """What its kinds of backups are told: how the cluster is asked, and what its repository is called."""
    in_s3 = ha["backup"]["repositories"].get(ha.get("host", {}).get("name"), {}).get("type") == "s3"
    return {
        "stanza": ha["postgresql"]["scope"],
        "members": [{"name": one["name"], "address": one["address"]} for one in ha["postgresql"]["members"]],
        "port": ha["ports"]["postgresql"],
        "user": BACKUP_USER,
        "password": secrets["postgresql_backup_password"],
        "ca": ha["tls"]["ca"],
        "account": "postgres",
        "repository": "" if in_s3 else f"{ha['backup']['directory']}/pgbackrest",
    }


def ledger(way: str) -> Callable[[Mapping[str, Any], Mapping[str, str]], dict[str, Any]]:
    """The address that applications use, as the topology has it for `write` or `direct`, and the members that read back."""
    return lambda ha, secrets: {
        **ha["postgresql"][way],
        "dbname": ha["postgresql"]["databases"][0],
        "user": DRILL_USER,
        "password": secrets["postgresql_drill_password"],
        "members": addresses(ha["postgresql"], ha["ports"]["postgresql"]),
    }


def streams(member) -> bool:
    """Whether a member of the PostgreSQL cluster does its part."""
    works = member["reachable"] and member["state"] == "running"
    return works and (member["role"] in LEADING_ROLES or member["replication_state"] == "streaming")


def form(topology, observations, _roles):
    """Return its part of the state of the platform, as Service.form says."""
    members = topology["postgresql"]["members"]
    if not members:
        return None
    best, problems = cluster("postgresql", topology, observations, "postgresql", streams)
    found = list(best["members"]) if best else []
    missing, differences = against_inventory("postgresql", topology, found)
    archived = archive_state(topology, observations) if archives(topology) else {}
    differences += archived.get("problems", [])
    keys = ("name", "host", "role", "reachable", "state", "replication_state", "timeline", "lag_bytes")
    keys += ("pending_restart", "tags")
    return {
        "healthy": not problems + differences,
        "problems": problems + differences,
        "leader": best["leader"] if best else None,
        "paused": best["paused"] if best else None,
        "synchronous_mode": best["synchronous_mode"] if best else None,
        "synchronous_standbys": best["synchronous_standbys"] if best else [],
        "members": [{**{key: member[key] for key in keys}, "serves": streams(member)} for member in found],
        "not_members": missing,
        **({"archive": {key: value for key, value in archived.items() if key != "problems"}} if archived else {}),
    }


def archive_state(topology, observations):
    """How far WAL is archived: what the primary says of it, and what is wrong on any member. Who does not answer is unknown, which is a problem."""
    problems, primary = [], {}
    for member, answer, error in answers_of(topology["postgresql"]["members"], observations, ARCHIVE_QUESTION):
        if answer is None:
            problems += [f"postgresql: {member} could not say how far its WAL is archived ({error})"] if error else []
            continue
        problems += [f"postgresql: {member}: {sentence(problem)}" for problem in answer["problems"]]
        if answer["primary"]:
            primary = answer
    if not primary:
        problems.append(
            "postgresql: no primary says how far WAL is archived, so nobody knows what a restore would bring back"
        )
    keys = ("behind_s", "full_in_s", "waiting", "archived", "gaps")
    return {**{key: primary.get(key) for key in keys}, "problems": problems}


def archive_words(archived: Mapping[str, Any]) -> str:
    """The same in a few words."""
    behind = archived["behind_s"]
    words = "archive UNKNOWN" if behind is None else f"archive {span(behind)} behind"
    return words + (f", WAL disk lasts {span(archived['full_in_s'])}" if archived["full_in_s"] else "")


def table(state):
    """Return its table, as Service.table says."""
    postgresql = state["postgresql"]
    if not postgresql:
        return "", []
    rows = [["member", "address", "role", "state", "timeline", "lag", "notes"]]
    for member in postgresql["members"]:
        leads = member["role"] in LEADING_ROLES
        doing = (member["replication_state"] or member["state"] if member["reachable"] else "no answer") or "unknown"
        notes = ["restart pending"] if member["pending_restart"] else []
        notes += [f"{key}: {value}" for key, value in member["tags"].items() if value]
        rows.append(
            [
                member["name"],
                str(member["host"] or ""),
                "primary" if member["role"] == "leader" else member["role"].replace("_", " "),
                doing if member["serves"] else doing.upper(),
                str(member["timeline"] or "-"),
                "-" if leads else size(member["lag_bytes"]) if member["lag_bytes"] is not None else "unknown",
                ", ".join(notes),
            ]
        )
    rows += [[name, "", "-", "NO MEMBER", "-", "-", ""] for name in postgresql["not_members"]]
    if len(rows) == 1:
        return "PostgreSQL, nobody answers", [["-"]]
    title = f"PostgreSQL, primary {postgresql['leader'] or 'NONE'}"
    if postgresql["synchronous_mode"] not in (None, "off"):
        standbys = ", ".join(postgresql["synchronous_standbys"]) or "NONE"
        title += f", synchronous mode {postgresql['synchronous_mode']} ({standbys})"
    if "archive" in postgresql:
        title += f", {archive_words(postgresql['archive'])}"
    return title + (", PAUSED (no automatic failover)" if postgresql["paused"] else ""), rows


def server_roles(layer: Layer) -> dict[str, dict[str, str]]:
    """Who is primary and who replica, to the backends that are for one of them."""
    members = (layer or {}).get("members", [])
    found = {one["name"]: "primary" if one["role"] in LEADING_ROLES else "replica" for one in members}
    return {"postgresql_write": found, "postgresql_read": found}


def forbids(package, old, new, _installed):
    """Return what an upgrade must not do, as Service.forbids says."""
    if package == "patroni":
        if old < (3, 1) and new >= (4,):
            yield "Patroni's notes on 4.0 demand 3.1.0 or later before. Go there first, with -e version=3.3.x."
    elif old[0] != new[0]:
        yield f"{old[0]} to {new[0]} is a new major version, which needs other data files: see postgresql_major_upgrade.yml."


def environment(ha: Mapping[str, Any], settings: Mapping[str, Any], ca: str) -> dict[str, Any]:
    """A dead connection is noticed within seconds, and each is given up before the load balancer would."""
    host, port = ha["postgresql"]["write"]["host"], ha["postgresql"]["write"]["port"]
    name, user = settings["database_name"], settings["database_user"]
    options = f"sslmode=verify-full&sslrootcert={ca}&connectTimeout=2&socketTimeout=60&tcpKeepAlive=true"
    return {
        "DB_HOST": host,
        "DB_PORT": port,
        "DB_NAME": name,
        "DB_USER": user,
        "DB_SSLMODE": "verify-full",
        "DB_SSLROOTCERT": ca,
        "SPRING_DATASOURCE_URL": f"{url('jdbc:postgresql', host, port)}/{name}?{options}",
        "SPRING_DATASOURCE_USERNAME": user,
        "SPRING_DATASOURCE_PASSWORD": "${DB_PASS}",
        "SPRING_DATASOURCE_HIKARI_CONNECTION_TIMEOUT": 5000,
        "SPRING_DATASOURCE_HIKARI_VALIDATION_TIMEOUT": 2000,
        "SPRING_DATASOURCE_HIKARI_KEEPALIVE_TIME": 30000,
        "SPRING_DATASOURCE_HIKARI_MAX_LIFETIME": 600000,
    }


def traces(look: Any, _unit: str) -> str:
    scope = re.search(r"^scope: *(\S+)", look.text("/etc/patroni/config.yml"), re.MULTILINE)
    return f"of scope {scope[1]}" if scope else ""


SERVICE = Service(
    name="postgresql",
    title="PostgreSQL",
    role="postgresql",
    layer="postgresql",
    groups=("postgresql",),
    listeners=(
        Listener(
            "postgresql",
            "PostgreSQL",
            "postgresql",
            5432,
            HOST,
            "load balancers, PostgreSQL hosts, `postgresql_allowed_networks`",
        ),
        Listener(
            "postgresql",
            "Patroni",
            "patroni_rest",
            8008,
            HOST,
            "load balancers (checks), PostgreSQL hosts, swarm hosts while the application's password changes, `postgresql_rest_allowed_networks`",
        ),
        Listener(
            "loadbalancer",
            "HAProxy (PostgreSQL primary)",
            "postgresql_write",
            5432,
            VIP,
            "clients (`haproxy_postgresql_allowed_networks`), swarm hosts (the application)",
            ("postgresql",),
        ),
        Listener(
            "loadbalancer",
            "HAProxy (PostgreSQL replicas)",
            "postgresql_read",
            5433,
            VIP,
            "clients (`haproxy_postgresql_allowed_networks`)",
            ("postgresql",),
        ),
        Listener(
            "loadbalancer",
            "HAProxy (PostgreSQL primary, not pooled)",
            "postgresql_direct",
            5434,
            VIP,
            "clients (`haproxy_postgresql_allowed_networks`), pgbouncer on the load balancers",
            ("postgresql",),
        ),
        Listener(
            "loadbalancer",
            "HAProxy (PostgreSQL primary, not pooled)",
            "postgresql_direct",
            5434,
            HOST,
            "HAProxy of the same host, PostgreSQL hosts during a planned switchover",
            ("postgresql",),
        ),
        Listener("postgresql", "pgBackRest", "postgresql_backup", 8433, HOST, "backup hosts", ("backup",)),
    ),
    # Patroni would write a traceback.
    probe_port="postgresql",
    probe_rank=3,
    proxied=True,
    tls_passed=True,
    facts=facts,
    part=part,
    check_members=check_members,
    check_changes=check_changes,
    survives=survives,
    outages=outages,
    endpoints=endpoints,
    notes=notes,
    # Patroni's minimums are those of its own validator.
    timing=(
        Timing(
            part="patroni",
            profiles={
                "fast": {"ttl_s": 20, "loop_wait_s": 3, "retry_timeout_s": 5, "primary_start_timeout_s": 0},
                "normal": {"ttl_s": 30, "loop_wait_s": 10, "retry_timeout_s": 10, "primary_start_timeout_s": 30},
                "wan": {"ttl_s": 60, "loop_wait_s": 10, "retry_timeout_s": 20, "primary_start_timeout_s": 60},
            },
            limits={
                "ttl_s": (20, 3600),
                "loop_wait_s": (1, 600),
                "retry_timeout_s": (3, 600),
                "primary_start_timeout_s": (0, 3600),
            },
            check=check_patroni_timing,
        ),
        Timing(
            part="postgresql",
            profiles={
                "fast": {
                    "wal_receiver_timeout_ms": 3000,
                    "wal_sender_timeout_ms": 5000,
                    "wal_retrieve_retry_interval_ms": 500,
                },
                "normal": {
                    "wal_receiver_timeout_ms": 10000,
                    "wal_sender_timeout_ms": 15000,
                    "wal_retrieve_retry_interval_ms": 500,
                },
                "wan": {
                    "wal_receiver_timeout_ms": 30000,
                    "wal_sender_timeout_ms": 40000,
                    "wal_retrieve_retry_interval_ms": 1000,
                },
            },
            limits={
                "wal_receiver_timeout_ms": (1000, 600000),
                "wal_sender_timeout_ms": (1000, 600000),
                "wal_retrieve_retry_interval_ms": (1, 60000),
            },
            check=check_timing,
        ),
    ),
    changes=(
        Change(
            "postgresql_data_directory",
            REFUSED,
            "To have the data on another disk, mount it there while the member is stopped",
        ),
        Change("postgresql_version", OPERATION, "playbooks/postgresql_major_upgrade.yml"),
        Change("postgresql_synchronous_mode", APPLIED, _PATRONI),
        Change("postgresql_synchronous_node_count", APPLIED, _PATRONI),
        Change(
            "postgresql_max_connections",
            APPLIED,
            "by Patroni, one member after the other, the primary first where it is lowered, see"
            " [operations.md](operations.md#a-setting-that-needs-a-restart); the pools of pgbouncer follow",
        ),
        Change(
            "postgresql_databases",
            APPLIED,
            "new ones are made; one taken out keeps its data, and pgbouncer lets nobody in. That of the application is refused",
        ),
        Change("ha_ports.postgresql", REFUSED, PORT),
        Change(
            "ha_ports.postgresql_backup",
            APPLIED,
            "pgBackRest's server restarts on the PostgreSQL hosts; a backup that runs begins anew",
        ),
        Change("ha_ports.patroni_rest", REFUSED, PORT),
        Change("ha_ports.postgresql_write", REFUSED, CLIENT_PORT),
        Change("ha_ports.postgresql_direct", REFUSED, CLIENT_PORT),
        Change("ha_ports.postgresql_read", APPLIED, RELOAD_HAPROXY),
        Change("postgresql_superuser_password", REFUSED, NOT_ROTATED, "/etc/patroni/config.yml (superuser)"),
        Change("postgresql_replication_password", REFUSED, NOT_ROTATED, "/etc/patroni/config.yml (replication)"),
        Change("postgresql_rewind_password", REFUSED, NOT_ROTATED, "/etc/patroni/config.yml (rewind)"),
        Change("postgresql_rest_password", APPLIED, "Patroni is reloaded on all members before anybody uses it"),
        Change("postgresql_application_password", APPLIED, SWITCH.format("the backend", "the backend")),
        Change("postgresql_pgbouncer_password", APPLIED, "every pgbouncer is updated together with PostgreSQL"),
        Change("postgresql_drill_password", APPLIED, "at once"),
        Change("postgresql_backup_password", APPLIED, "in the same run, at the leader and then on the backup hosts"),
        Change(
            "backup_passphrase",
            REFUSED,
            "A repository can't be encrypted anew: to have another one, take the backup host out, give it an empty backup_directory, and put it back",
            "/etc/pgbackrest/pgbackrest.conf of a backup host (repo1-cipher-pass)",
        ),
        Change(
            "postgresql_reaper_password",
            APPLIED,
            "the session reapers restart with it when the load balancers' turn comes; they serve no client",
        ),
    ),
    compared=(
        ("postgresql", "name", "inventory name", name),
        ("postgresql", "cluster", "ha_cluster_name", cluster_name),
        ("postgresql", "address", "ha_address", address),
        ("postgresql", "port", "ha_ports.postgresql", port("postgresql")),
        ("postgresql", "rest_port", "ha_ports.patroni_rest", port("patroni_rest")),
        ("postgresql", "data_directory", "postgresql_data_directory", given("postgresql_data_directory")),
        ("postgresql", "tls_directory", "ha_tls_directory", tls_directory),
        ("haproxy", "postgresql_write", "ha_ports.postgresql_write", port("postgresql_write")),
        ("haproxy", "postgresql_direct", "ha_ports.postgresql_direct", port("postgresql_direct")),
    ),
    memory=8,
    settings={
        "postgresql_version": "{release[postgresql]}",
        "postgresql_data_directory": "/var/lib/postgresql/{postgresql_version}/{cluster}",
    },
    numbers_or_empty=("postgresql_version",),
    releases={
        # Patroni 3.0.2: its validator refuses ports that it listens on itself, its leader writes the leader key without comparing, and
        # synchronous_mode knows no quorum.
        "12": {
            "postgresql": "15",
            "patroni_ignores_listen_port": False,
            "patroni_compares": False,
            "patroni_quorum": False,
        },
        "13": {
            "postgresql": "17",
            "patroni_ignores_listen_port": True,
            "patroni_compares": True,
            "patroni_quorum": True,
        },
    },
    without={
        "12": "version 15; Patroni 3.0.2 has no synchronous mode quorum, and the read port goes by a replica's lag alone; it is started by a "
        "program that has it compare before it writes the leader key"
    },
    unsupported=unsupported,
    shared={
        "postgresql_synchronous_mode": "",
        "postgresql_synchronous_node_count": 1,
        "postgresql_max_connections": 200,
        "postgresql_databases": [{"name": "utmstack", "owner": "utmstack"}],
    },
    passwords={
        "postgresql_superuser_password": "",
        "postgresql_replication_password": "",
        "postgresql_rewind_password": "",
        "postgresql_rest_password": "",
        "postgresql_application_password": "",
        "postgresql_pgbouncer_password": "",
        "postgresql_drill_password": "",
        "postgresql_reaper_password": "",
        "postgresql_backup_password": "",
        "backup_passphrase": "",
    },
    units=("patroni.service",),
    packages=(
        "patroni",
        "postgresql-{postgresql_version}",
        "python3-etcd",  # Patroni's etcd3 needs it; the package is content with another store's
        "python3-psycopg2",
    ),
    some_packages=some_packages,
    held=("patroni", "postgresql-{postgresql_version}"),
    upgrades=("patroni", "postgresql-{release[postgresql]}", "postgresql-{postgresql_version}"),
    upgraded={
        "patroni.service": (
            "/usr/bin/patroni",
            "/usr/lib/python3/dist-packages/patroni/version.py",
            "/usr/lib/postgresql/{postgresql_version}/bin/postgres",
        )
    },
    data=Data("postgresql_data_directory", "postgres"),
    configs={"patroni.service": ("/etc/patroni/config.yml",)},
    traces=traces,
    asks=asks,
    form=form,
    table=table,
    server_roles=server_roles,
    environment=environment,
    secrets={"DB_PASS": "postgresql_application_password"},
    whole_host=("health", "drain", "hold", "release", "undrain"),
    serves=lambda layer, host: bool(member_of(layer, "members", host).get("serves")),
    refusal=paused,
    leads="PostgreSQL's primary",
    successors=confirming,
    forbids=forbids,
    processes={
        "postgresql": {"what": "PostgreSQL"},
        "postmaster": {"only": "postgres", "what": "PostgreSQL's postmaster"},
        "patroni": {"only": "main", "what": "Patroni"},
    },
    faults=(
        Fault(
            "postmaster-sigkill",
            "PostgreSQL's postmaster is killed on the primary",
            LEADER,
            killed("postmaster"),
            hold_s=15,
            target_s=4,
        ),
        Fault("patroni-sigkill", "Patroni is killed beside the primary", LEADER, killed("patroni"), hold_s=15),
        Fault(
            "postmaster-sigstop",
            "PostgreSQL's postmaster is frozen on the primary",
            LEADER,
            frozen("postmaster"),
            hold_s=40,
        ),
        Fault("patroni-sigstop", "Patroni is frozen beside the primary", LEADER, frozen("patroni"), hold_s=40),
        Fault(
            "postgresql-host-power-off",
            "The host of the primary loses its power, and leads nothing else",
            LEADER,
            POWER_OFF,
            hold_s=45,
            target_s={"postgresql": 26},
            alone=True,
        ),
        Fault(
            "postgresql-partition",
            "The host of the primary is cut off from all others",
            LEADER,
            CUT_OFF,
            hold_s=45,
            target_s={"postgresql": 26},
        ),
        Fault(
            "postgresql-pair-partition",
            "The hosts of the primary and of one replica are cut off from each other",
            LEADER,
            {**CUT_OFF, "cut": "one"},
            hold_s=45,
        ),
        Fault(
            "postgresql-deaf",
            "The host of the primary hears nothing of the others, and is heard",
            LEADER,
            {**CUT_OFF, "direction": "in"},
            hold_s=45,
        ),
        Fault(
            "postgresql-mute",
            "The host of the primary is not heard by the others, and hears them",
            LEADER,
            {**CUT_OFF, "direction": "out"},
            hold_s=45,
        ),
        Fault("postgresql-lossy", "The host of the primary loses a share of its packets", LEADER, LOSSY, hold_s=60),
        Fault(
            "postgresql-disk-full",
            "The data volume of the primary runs full",
            LEADER,
            {"kind": "fill", "volume": "postgresql"},
            hold_s=45,
        ),
        Fault(
            "postgresql-disk-dead",
            "PostgreSQL and Patroni on the primary's host can write no file",
            LEADER,
            {"kind": "dead", "process": "postgresql"},
            hold_s=45,
        ),
        Fault(
            "postgresql-disk-hung",
            "The data volume of the primary hangs",
            LEADER,
            {"kind": "hung", "volume": "postgresql"},
            hold_s=45,
        ),
        Fault(
            "clock-step",
            "The clock of the primary's host jumps five minutes ahead",
            LEADER,
            {"kind": "clock", "step_s": 300},
            hold_s=30,
        ),
        Fault(
            "certificate-expired",
            "The certificate of a replica's host has expired",
            REPLICA,
            {"kind": "certificate", "certificate": "expired"},
            hold_s=30,
        ),
        Fault(
            "certificate-wrong",
            "The certificate of a replica's host is one that nobody trusts",
            REPLICA,
            {"kind": "certificate", "certificate": "wrong"},
            hold_s=30,
        ),
    ),
    ledger=(
        LedgerPath("postgresql", "PostgreSQL", "postgresql", ledger("write"), host_lost_s=26),
        LedgerPath("bank", "Bank", "bank", ledger("write"), most_rate=BANK_RATE, accounts=True),
        LedgerPath("bank_direct", "Bank, not pooled", "bank", ledger("direct"), most_rate=BANK_RATE, accounts=True),
    ),
    backups=(
        Backup(
            kind=ARCHIVE_KIND,
            title="PostgreSQL",
            playbook="restore_postgresql",
            store=True,
            asked=backup_settings,
            source="a replica",
            point="to the moment",
            # pgBackRest keeps it, and says how much it takes when it is restored; its code asks for that room.
            scratch=lambda _size: (0, SCRATCH_MEMORY),
            files=False,
            account="postgres",
            schedule=("*-*-* 01:00",),
            verify_schedule=("*-*-* 04:30",),
            packages=("pgbackrest", "postgresql-{postgresql_version}"),
            secrets=("postgresql_backup_password",),
        ),
        Backup(
            kind=DUMP_KIND,
            title="PostgreSQL's databases, each by itself",
            playbook="restore_postgresql",
            asked=backup_settings,
            source="a replica",
            # Restored it takes a few times as much as compressed.
            scratch=lambda size: (8 * size, SCRATCH_MEMORY),
            isolated=True,
            account="postgres",
            schedule=("*-*-* 02:30",),
            verify_schedule=("*-*-* 06:00",),
            packages=("postgresql-{postgresql_version}",),
            secrets=("postgresql_backup_password",),
        ),
    ),
    certificate=("patroni.service", "patroni_rest"),
)
