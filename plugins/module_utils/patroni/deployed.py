# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is deployed of PostgreSQL on a host, as Patroni's configuration says, and whether its roles have the passwords of the inventory."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping
from typing import Any

from ..common.deployed import Deployed, Files, Host, endpoint, place
from ..postgresql import scram

# What role postgresql writes of pgBackRest on PostgreSQL hosts, and role backup on backup hosts.
PGBACKREST = "/etc/pgbackrest/pgbackrest.conf"
MANAGED = "# Managed by utmstack.ha, role {}."
# Role of PostgreSQL to its password.
ROLES = {
    "postgres": "postgresql_superuser_password",
    "replicator": "postgresql_replication_password",
    "rewind": "postgresql_rewind_password",
}


def look(host: Host) -> Deployed:
    """The member, its roles' passwords, and etcd's that Patroni uses."""
    config, given = configuration(host.files), host.given["passwords"]
    found = member(host.files, host.given["settings"], config)
    if found.get("port") and (repositories := archives_to(host.files)):
        found["archives_to"] = repositories
    verifiers = verifiers_of(host.run, found)
    etcd = (config.get("etcd3") or {}).get("password") if found.get("port") else None
    return Deployed(
        {"postgresql": found},
        passwords(verifiers, found, config, given) | passphrase(host.files, given),
        {"etcd_patroni_password": etcd == given["etcd_patroni_password"]} if etcd else {},
        (*rotating(verifiers, host.given), *rotating_rest(config, given)),
    )


def configuration(files: Files) -> dict:
    """Patroni's configuration as a dictionary; empty where there is none."""
    try:
        import yaml  # Patroni needs it, so where it is missing there is none. Who only asks Patroni does without.
    except ImportError:
        return {}
    text = files.text("/etc/patroni/config.yml")
    try:
        found = yaml.safe_load(text) if text else {}
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}


def member(files: Files, settings: Mapping, config: Mapping) -> dict[str, Any]:
    """The member whose data lie here."""
    if not files.ours("patroni.service") or not config:
        return {}
    own = config.get("postgresql") or {}
    configured = str(own.get("data_dir", ""))
    data = place(
        configured,
        settings.get("postgresql_data_directory") or "",
        lambda directory: files.path(f"{directory}/PG_VERSION").exists(),
    )
    if data != configured:
        return {"data_directory": data} if data else {}
    address, port = endpoint(str(own.get("connect_address", "")))
    rest = config.get("restapi") or {}
    return {
        "name": config.get("name"),
        "cluster": config.get("scope"),
        "address": address,
        "port": port,
        "rest_port": endpoint(str(rest.get("connect_address", "")))[1],
        "data_directory": data,
        "tls_directory": posixpath.dirname(str(rest.get("cafile", ""))),
    }


def passwords(verifiers: Mapping[str, str], found: Mapping, config: Mapping, given: Mapping) -> dict[str, bool]:
    """Whether PostgreSQL's roles have the given passwords; where no server runs here, whether Patroni's file has."""
    if not found.get("port"):
        return {}
    known = (config.get("postgresql") or {}).get("authentication") or {}
    same = {
        f"postgresql_{name}_password": known[name].get("password") == given[f"postgresql_{name}_password"]
        for name in ("superuser", "replication", "rewind")
        if isinstance(known.get(name), dict)
    }
    return same | {
        name: scram.is_verifier_of(verifiers[role], given[name]) for role, name in ROLES.items() if role in verifiers
    }


def archives_to(files: Files) -> str:
    """The backup hosts to which this host's WAL goes, as pgBackRest's configuration has them; empty where it is not ours or not there."""
    text = files.text(PGBACKREST)
    own = text.startswith(MANAGED.format("postgresql"))
    return ", ".join(re.findall(r"^repo\d+-host=(\S+)$", text, re.MULTILINE)) if own else ""


def passphrase(files: Files, given: Mapping) -> dict[str, bool]:
    """On a backup host: whether its repository is encrypted by the given passphrase."""
    text = files.text(PGBACKREST)
    found = re.search(r"^repo1-cipher-pass=(.*)$", text, re.MULTILINE)
    if not text.startswith(MANAGED.format("backup")) or not found or not given.get("backup_passphrase"):
        return {}
    return {"backup_passphrase": found[1] == given["backup_passphrase"]}


def verifiers_of(run: Callable[..., tuple[int, str, str]], found: Mapping) -> dict[str, str]:
    """Role of PostgreSQL to how it keeps its password; empty where no server answers here."""
    if not found.get("port"):
        return {}
    psql = ["runuser", "-u", "postgres", "--", "psql", "-XAtqw", "-h", "/var/run/postgresql", "-p", str(found["port"])]
    query = "SELECT rolname, rolpassword FROM pg_authid WHERE rolpassword IS NOT NULL"
    code, out, _errors = run([*psql, "-d", "postgres", "-c", query], environ_update={"PGCONNECT_TIMEOUT": "3"}, cwd="/")
    return {role: verifier for role, _bar, verifier in (line.rpartition("|") for line in out.splitlines() if code == 0)}


def rotating(verifiers: Mapping[str, str], given: Mapping) -> list[str]:
    """The passwords of PostgreSQL that are on their way: users have another one, or their second user is still there."""
    user, found = given["settings"].get("backend_database_user") or "", []
    password = given["backend_secrets"].get("DB_PASS")
    if (
        user in verifiers
        and password
        and not scram.is_verifier_of(verifiers[user], str(password))
        or f"{user}_next" in verifiers
    ):
        found.append("postgresql_application_password")
    lookup = given["passwords"]["postgresql_pgbouncer_password"]
    if "pgbouncer" in verifiers and not scram.is_verifier_of(verifiers["pgbouncer"], lookup):
        found.append("postgresql_pgbouncer_password")
    return found


def rotating_rest(config: Mapping, given: Mapping) -> list[str]:
    """The password of Patroni's interface, where its file has another one."""
    name = "postgresql_rest_password"
    present = ((config.get("restapi") or {}).get("authentication") or {}).get("password", given[name])
    return [name] if present != given[name] else []
