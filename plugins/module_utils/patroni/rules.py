# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which parameters and pg_hba lines a cluster must not be given, told before any server has them.

A running server ignores a wrong value and goes on; the same value then keeps it from starting after a crash. Three parts find them:
rules (here), the installed program itself, which reads a value as the server would (`postgres -C`, no server), and a trial on one
standby (`tried`). Limits: Patroni's validators of what it takes from its store alone, and what PostgreSQL demands at its start.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..postgresql import parameters as postgresql
from . import cluster as patroni

OWNED = {
    "max_connections": "postgresql_max_connections, by which the pools are sized, too",
    "wal_keep_size": "postgresql_wal_keep_size",
    "max_slot_wal_keep_size": "postgresql_max_slot_wal_keep_size",
    "port": "ha_ports.postgresql",
    "listen_addresses": "ha_address of the host",
    "synchronous_standby_names": "postgresql_synchronous_mode",
    "hba_file": "postgresql_hba_extra",
    "data_directory": "postgresql_data_directory",
}
"""Parameters that a setting of this collection is for: name to that setting."""

PATRONIS = frozenset(
    [
        "cluster_name",
        "config_file",
        "external_pid_file",
        "hot_standby",
        "ident_file",
        "primary_conninfo",
        "primary_slot_name",
        "recovery_target",
        "recovery_target_action",
        "recovery_target_inclusive",
        "recovery_target_lsn",
        "recovery_target_name",
        "recovery_target_time",
        "recovery_target_timeline",
        "recovery_target_xid",
        "ssl",
        "ssl_ca_file",
        "ssl_cert_file",
        "ssl_key_file",
        "unix_socket_directories",
        "wal_keep_segments",
    ]
)
"""Parameters that Patroni or this role sets, and that no setting changes."""

STORE_ONLY = frozenset(
    [
        "cluster_name",
        "hot_standby",
        "listen_addresses",
        "max_connections",
        "max_locks_per_transaction",
        "max_prepared_transactions",
        "max_replication_slots",
        "max_wal_senders",
        "max_worker_processes",
        "port",
        "track_commit_timestamp",
        "wal_keep_segments",
        "wal_keep_size",
        "wal_level",
        "wal_log_hints",
    ]
)
"""What Patroni takes from its store alone, never from a member's own file (Patroni 3.0 to 4.1)."""

LOADED_AT_START = frozenset(
    [
        "local_preload_libraries",
        "session_preload_libraries",
        "ssl_ciphers",
        "ssl_crl_dir",
        "ssl_crl_file",
        "ssl_dh_params_file",
        "ssl_ecdh_curve",
        "ssl_groups",
        "ssl_max_protocol_version",
        "ssl_min_protocol_version",
        "ssl_tls13_ciphers",
    ]
)
"""Parameters that a running server would reload, and goes on without when they are wrong, but does not start with."""

LEAST = {
    "max_connections": 25,
    "max_wal_senders": 3,
    "max_replication_slots": 4,
    "max_worker_processes": 2,
    "max_locks_per_transaction": 32,
    "max_prepared_transactions": 0,
    "wal_keep_size": "16MB",
    # Two segments of 16 MB: with less a server does not start.
    "min_wal_size": "32MB",
    "max_wal_size": "32MB",
}
"""Below these Patroni silently takes its own values, or PostgreSQL does not start."""

WORDS = {"wal_level": ("replica", "logical", "hot_standby")}
INTEGERS = {
    "maximum_lag_on_failover": 0,
    "maximum_lag_on_syncnode": -1,
    "primary_start_timeout": 0,
    "primary_stop_timeout": 0,
    "synchronous_node_count": 1,
    "max_timelines_history": 0,
}
"""Whole numbers of Patroni's dynamic configuration, and the least of each."""

MAX_BACKENDS = 262143


def tried(names: Iterable[str]) -> set[str]:
    """Those of some parameters that are tried on one standby before all get them: where a wrong value shows at a start only, and a member's
    own file can have the value. Of an extension's parameters, which have a dot, nobody knows before it is loaded.
    """
    return {
        name
        for name in names
        if (name.lower() in postgresql.RESTART_PARAMETERS | LOADED_AT_START or "." in name)
        and name.lower() not in STORE_ONLY
    }


ARCHIVES = ("archive_mode", "archive_timeout", "archive_command", "archive_library")
ARCHIVE_COMMAND, LEAST_KEPT = "pgbackrest --stanza=", "512MB"
"""Parameters that are the collection's where it archives WAL, how its command begins, and the least of wal_keep_size there."""


# -- rules ----------------------------------------------------------------------------------------------------------------


def owned_faults(users: Mapping[str, Any]) -> list[str]:
    """What of the user's own parameters belongs to another setting or to Patroni; sentences."""
    faults = []
    for name in sorted(users):
        if name.lower() in OWNED:
            faults.append(
                f"{name} must not stand in postgresql_parameters: set {OWNED[name.lower()]}, and take it out there."
            )
        elif name.lower() in PATRONIS:
            faults.append(
                f"{name} is set by this collection and must not stand in postgresql_parameters: take it out there."
            )
    return faults


def archive_faults(parameters: Mapping[str, Any], users: Mapping[str, Any]) -> list[str]:
    """What would keep WAL from the backup hosts, where it is archived there; sentences. users: the user's own parameters."""
    if not str(parameters.get("archive_command", "")).startswith(ARCHIVE_COMMAND):
        return []
    faults = [
        f"{name} must not stand in postgresql_parameters while group backup has hosts, which archive WAL: take it out there."
        for name in sorted(users)
        if name.lower() in ARCHIVES
    ]
    kept = postgresql.quantity("wal_keep_size", parameters.get("wal_keep_size"))
    if kept and kept[1] < postgresql.quantity("wal_keep_size", LEAST_KEPT)[1]:
        faults.append(
            f"postgresql_wal_keep_size is {parameters['wal_keep_size']}, but has to be at least {LEAST_KEPT} while WAL is archived: what "
            "a lost primary has not archived comes from it."
        )
    return faults


def parameter_faults(parameters: Mapping[str, Any], members: int = 1, memory_mb: int = 0) -> list[str]:
    """What no server of a cluster of so many members could run with, or Patroni would not take; sentences.

    parameters: all of one member. memory_mb: the host's memory, 0 where it is not known.
    """
    faults = [
        f'{name} is {"a list" if isinstance(value, list) else "a dictionary"}: write one text, such as {name}: "one, two".'
        for name, value in parameters.items()
        if isinstance(value, list | dict)
    ]
    known = {name.lower(): value for name, value in parameters.items() if not isinstance(value, list | dict)}
    least = LEAST | {"max_wal_senders": max(3, members + 1), "max_replication_slots": max(4, members)}
    for name, limit in least.items():
        own = postgresql.quantity(name, known.get(name))
        bound = postgresql.quantity(name, limit)
        # Numbers that mean "off" have no unit; a text that is no number is what the program itself refuses.
        if own and own[1] < bound[1]:
            faults.append(f"{name} is {known[name]}, but has to be at least {limit} here.")
    for name, words in WORDS.items():
        if known.get(name) is not None and str(known[name]).lower() not in words:
            faults.append(f"{name} is {known[name]}, but only {' or '.join(words[:2])} lets standbys follow.")
    return faults + _connection_faults(known) + _memory_faults(known, memory_mb)


def _whole(known, name, default):
    found = postgresql.quantity(name, known.get(name, default))
    return int(found[1]) if found and found[0] == "number" else default


def _connection_faults(known):
    connections = _whole(known, "max_connections", 100)
    reserved = _whole(known, "superuser_reserved_connections", 3) + _whole(known, "reserved_connections", 0)
    faults = []
    if reserved >= connections:
        faults.append(
            f"superuser_reserved_connections and reserved_connections are {reserved} together, and leave nothing of {connections} connections."
        )
    backends = connections + sum(
        _whole(known, name, default)
        for name, default in (("autovacuum_max_workers", 3), ("max_worker_processes", 8), ("max_wal_senders", 10))
    )
    if backends > MAX_BACKENDS - 2:
        faults.append(
            f"max_connections, autovacuum_max_workers, max_worker_processes and max_wal_senders are {backends} together; PostgreSQL"
            f" allows {MAX_BACKENDS - 2}."
        )
    return faults


def _memory_faults(known, memory_mb):
    buffers = postgresql.quantity("shared_buffers", known.get("shared_buffers"))
    if memory_mb and buffers and buffers[0] == "bytes" and buffers[1] >= memory_mb * 1024**2:
        return [f"shared_buffers is {known['shared_buffers']}, but the host has {memory_mb} MB of memory."]
    return []


def configuration_faults(config: Mapping[str, Any]) -> list[str]:
    """What Patroni would not take of a dynamic configuration; sentences."""
    faults = patroni.config_faults(config, config)
    for name, least in INTEGERS.items():
        value = config.get(name)
        text = "" if isinstance(value, bool) else str(value)
        if value is not None and not (re.fullmatch(r"-?\d+", text) and int(text) >= least):
            faults.append(f"{name} is {value!r}, but Patroni takes whole numbers from {least} on.")
    return faults


# -- pg_hba ---------------------------------------------------------------------------------------------------------------

_HBA_TYPES = ("local", "host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc")
_HBA_METHODS = tuple(
    [
        "trust",
        "reject",
        "scram-sha-256",
        "md5",
        "password",
        "gss",
        "sspi",
        "ident",
        "peer",
        "pam",
        "ldap",
        "radius",
        "cert",
        "bsd",
        "oauth",
    ]
)
_TOKEN = re.compile(r'(?:"[^"]*"|[^\s",]|,\s*)+')
_NETWORK = re.compile(
    r"(?:[0-9a-fA-F:.]+/\d{1,3})|[0-9.]+|[0-9a-fA-F:]*:[0-9a-fA-F:.]*|all|samehost|samenet|\.?[\w.-]*[A-Za-z][\w.-]*"
)


def hba_faults(lines: Iterable[Any]) -> list[str]:
    """What PostgreSQL could not read of lines for pg_hba.conf; sentences. One such line, and a server does not start."""
    faults = []
    for line in lines:
        text = str(line).partition("#")[0].strip()
        if text and (why := _hba_fault(_TOKEN.findall(text))):
            faults.append(f"postgresql_hba_extra has the line '{line}', in which {why}.")
    return faults


def _hba_fault(tokens):
    if tokens[0] in ("include", "include_if_exists", "include_dir"):
        return "" if len(tokens) == 2 else "one file has to follow"
    if tokens[0] not in _HBA_TYPES:
        return f"'{tokens[0]}' is none of {', '.join(_HBA_TYPES)}"
    rest = tokens[3:]
    if tokens[0] != "local":
        if not rest:
            return "database, user, address and method have to follow the type"
        if not _NETWORK.fullmatch(rest[0].strip('"')):
            return f"'{rest[0]}' is no address"
        bare = "/" not in rest[0] and re.fullmatch(r"[0-9.]+|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*", rest[0])
        rest = rest[1:]
        if bare:
            if not rest or not re.fullmatch(r"[0-9a-fA-F:.]+", rest[0]):
                return f"'{tokens[3]}' lacks its prefix length, such as {tokens[3]}/{128 if ':' in tokens[3] else 32}"
            rest = rest[1:]
    if not rest:
        return "the method is missing"
    if rest[0] not in _HBA_METHODS:
        return f"'{rest[0]}' is no method of authentication"
    wrong = [option for option in rest[1:] if "=" not in option]
    return f"'{wrong[0]}' is no option of the form name=value" if wrong else ""


# -- the installed program ------------------------------------------------------------------------------------------------


def text_of(value: Any) -> str:
    """A value as it is written into a configuration file."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def program_faults(
    run: Callable[[list[str]], tuple[int, str, str]], program: str, parameters: Mapping[str, Any]
) -> list[str]:
    """What the installed server's program does not take: names that it does not know, values that it can't read; sentences.

    run: takes a command and returns (code, output, errors). The program prints one of its parameters and ends; no server is started,
    and no data are read. It tells one fault at a time, so each parameter is asked about where all together fail.
    """
    known = {
        name: text_of(value)
        for name, value in parameters.items()
        if value is not None and not isinstance(value, list | dict)
    }
    if _ask(run, program, known) is None:
        return []
    faults = []
    for name, value in known.items():
        said = _ask(run, program, {name: value})
        if said is not None:
            faults.append(f"PostgreSQL does not take {name} = {value}: {said}")
    return faults


def _ask(run, program, parameters):
    """None where the program takes them, or else its words."""
    command = [program, "-C", "server_version", "-D", "/", "-c", "config_file=/dev/null"]
    for name, value in parameters.items():
        command += ["-c", f"{name}={value}"]
    code, out, errors = run(command)
    if code == 0:
        return None
    found = re.findall(r"(?:FATAL|ERROR|DETAIL|HINT): +(.*)", errors + out)
    return " ".join(words if words.endswith(".") else f"{words}." for words in found) or f"rc {code}."
