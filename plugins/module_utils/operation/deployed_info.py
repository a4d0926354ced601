# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is deployed on a host, and whether it has the passwords of the inventory: from its files, and by asking its own services."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from ..common import https
from ..common.info import Question
from ..postgresql import scram
from ..swarm.engine import Engine, EngineError, local
from . import deployed

try:
    import yaml
except ImportError:  # Patroni needs it, so where it is missing there is none.
    yaml = None

TIMEOUT_S = 3.0
# Role of PostgreSQL to its password.
ROLES = {
    "postgres": "postgresql_superuser_password",
    "replicator": "postgresql_replication_password",
    "rewind": "postgresql_rewind_password",
}
SUPERUSERS = {"elasticsearch": "elastic", "opensearch": "admin"}
# User of the search engine to its password; each is changed by way of a second user.
SEARCH_USERS = {
    "utmstack": "elasticsearch_application_password",
    "utmstack-monitoring": "elasticsearch_monitoring_password",
}
KEYS = {"INTERNAL_KEY": "backend_internal_key", "ENCRYPTION_KEY": "backend_encryption_key"}


def patroni_config(files: deployed.Files) -> dict:
    text = files.text("/etc/patroni/config.yml")
    try:
        found = yaml.safe_load(text) if yaml and text else {}
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}


def docker(files: deployed.Files) -> tuple[dict, list]:
    """What a running engine tells of itself, and the swarm's services where it manages one. Asking must not start it."""
    pid = files.text("/run/docker.pid").strip()
    if not pid or not files.path(f"/proc/{pid}").exists():
        return {}, []
    engine = Engine(local("/run/docker.sock"))
    try:
        info = engine.get("/info")
        return info, engine.get("/services") if (info.get("Swarm") or {}).get("ControlAvailable") else []
    except EngineError:
        return {}, []


def etcd_passwords(tls: str, found: Mapping, given: Mapping) -> dict[str, bool]:
    """Whether etcd lets its users in with the given passwords."""
    if not found.get("client_port"):
        return {}
    send = https.sender(f"{tls}/ca.crt", f"{tls}/host.crt", f"{tls}/host.key")
    address = f"[{found['address']}]" if ":" in found["address"] else found["address"]
    same = {}
    for user, name in (("root", "etcd_root_password"), ("patroni", "etcd_patroni_password")):
        body = json.dumps({"name": user, "password": given[name]}).encode()
        status, text = send(
            "POST",
            f"https://{address}:{found['client_port']}/v3/auth/authenticate",
            {"Content-Type": "application/json"},
            body,
            TIMEOUT_S,
        )
        if status == 200:
            same[name] = True
        elif "invalid user ID or password" in text:
            same[name] = False
    return same


def search_logins(given: Mapping) -> dict[str, str]:
    """User to password: of the superuser, the platform's users, and those of a rotation that was not finished."""
    rotated = {user: given["passwords"][name] for user, name in SEARCH_USERS.items()}
    return {
        SUPERUSERS[given["elasticsearch_flavor"]]: given["passwords"]["elasticsearch_superuser_password"],
        "utmstack-snapshots": given["passwords"]["elasticsearch_snapshot_password"],
        **{f"{user}{suffix}": password for user, password in rotated.items() for suffix in ("", "-next")},
    }


def search_statuses(tls: str, given: Mapping) -> dict[str, int]:
    """User to what the search engine says to its login, by the first node that answers; empty where none does."""
    path = {"elasticsearch": "_security/_authenticate", "opensearch": "_plugins/_security/authinfo"}[
        given["elasticsearch_flavor"]
    ]
    send = https.sender(f"{tls}/ca.crt")
    for url in given["elasticsearch_urls"]:
        try:
            return {
                user: send("GET", f"{url}/{path}", {"Authorization": basic(user, password)}, None, TIMEOUT_S)[0]
                for user, password in search_logins(given).items()
            }
        except OSError:
            continue
    return {}


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def postgresql_passwords(
    verifiers: Mapping[str, str], found: Mapping, config: Mapping, given: Mapping
) -> dict[str, bool]:
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


def verifiers_of(module, found: Mapping) -> dict[str, str]:
    """Role of PostgreSQL to how it keeps its password; empty where no server answers here."""
    if not found.get("port"):
        return {}
    psql = ["runuser", "-u", "postgres", "--", "psql", "-XAtqw", "-h", "/var/run/postgresql", "-p", str(found["port"])]
    query = "SELECT rolname, rolpassword FROM pg_authid WHERE rolpassword IS NOT NULL"
    code, out, _errors = module.run_command(
        [*psql, "-d", "postgres", "-c", query], environ_update={"PGCONNECT_TIMEOUT": "3"}, cwd="/"
    )
    return {role: verifier for role, _bar, verifier in (line.rpartition("|") for line in out.splitlines() if code == 0)}


def postgresql_rotating(verifiers: Mapping[str, str], given: Mapping) -> list[str]:
    """The passwords of PostgreSQL that are on their way: users have another one, or their second user is still there."""
    user, rotating = given["settings"].get("backend_database_user") or "", []
    password = given["backend_secrets"].get("DB_PASS")
    if (
        user in verifiers
        and password
        and not scram.is_verifier_of(verifiers[user], str(password))
        or f"{user}_next" in verifiers
    ):
        rotating.append("postgresql_application_password")
    lookup = given["passwords"]["postgresql_pgbouncer_password"]
    if "pgbouncer" in verifiers and not scram.is_verifier_of(verifiers["pgbouncer"], lookup):
        rotating.append("postgresql_pgbouncer_password")
    return rotating


def search_same(statuses: Mapping[str, int], superuser: str) -> dict[str, bool]:
    """Whether the superuser has the given password.

    Where the index of users can't be read, everybody is refused; so a refusal counts only while somebody is let in.
    """
    if statuses.get(superuser) == 200:
        return {"elasticsearch_superuser_password": True}
    if statuses.get(superuser) == 401 and 200 in statuses.values():
        return {"elasticsearch_superuser_password": False}
    return {}


def search_rotating(statuses: Mapping[str, int]) -> list[str]:
    """The passwords of the search engine that are on their way: as for PostgreSQL."""
    if 200 not in statuses.values():
        return []
    return [
        name for user, name in SEARCH_USERS.items() if statuses.get(user) == 401 or statuses.get(f"{user}-next") == 200
    ]


def file_passwords(
    files: deployed.Files, layers: Mapping, config: Mapping, info: Mapping, given: Mapping
) -> dict[str, bool]:
    """What files alone tell of passwords."""
    passwords, same = given["passwords"], {}
    if layers["sentinel"]:
        same["redis_sentinel_password"] = deployed.is_sentinels(files, passwords["redis_sentinel_password"])
    patroni = (config.get("etcd3") or {}).get("password") if layers["postgresql"].get("port") else None
    if patroni:
        same["etcd_patroni_password"] = patroni == passwords["etcd_patroni_password"]
    key = files.text("/etc/utmstack-ha/swarm-unlock-key").strip() if layers["swarm"] else ""
    if key and passwords.get("swarm_unlock_key"):
        same["swarm_unlock_key"] = hmac.compare_digest(key.encode(), passwords["swarm_unlock_key"].encode())
    salt = ((info.get("Swarm") or {}).get("Cluster") or {}).get("ID", "")
    keys = {short: given["backend_secrets"][short] for short in KEYS if short in given["backend_secrets"]}
    same |= {KEYS[short]: one for short, one in deployed.backend_keys(layers["backend"], salt, keys).items()}
    return {name: one for name, one in same.items() if one is not None}


def answer(module, given: dict) -> dict:
    """What the module returns; a service that does not answer leaves its password out."""
    files, settings, passwords = deployed.Files(), given["settings"], given["passwords"]
    config, (info, services) = patroni_config(files), docker(files)
    layers = {
        "etcd": deployed.etcd(files, settings),
        "postgresql": deployed.postgresql(files, settings, config),
        "elasticsearch": deployed.elasticsearch(files, settings),
        "redis": deployed.redis(files, settings),
        "sentinel": deployed.sentinel(files, settings),
        "swarm": deployed.swarm(files, info),
        "backend": deployed.backend(services),
        "haproxy": deployed.haproxy(files),
        "keepalived": deployed.keepalived(files),
    }
    tls = layers["etcd"].get("tls_directory") or layers["postgresql"].get("tls_directory") or given["tls_directory"]
    with ThreadPoolExecutor(3) as pool:
        etcd = pool.submit(_unless_away, lambda: etcd_passwords(tls, layers["etcd"], passwords))
        search = pool.submit(_unless_away, lambda: search_statuses(tls, given))
        roles = pool.submit(verifiers_of, module, layers["postgresql"])
    verifiers, statuses = roles.result(), search.result()
    same = {
        **file_passwords(files, layers, config, info, given),
        **etcd.result(),
        **postgresql_passwords(verifiers, layers["postgresql"], config, passwords),
        **(search_same(statuses, SUPERUSERS[given["elasticsearch_flavor"]]) if layers["elasticsearch"] else {}),
    }
    noted, reachable = deployed.redis_admin(files, settings["redis_flavor"], passwords)
    if not reachable:
        same["redis_admin_password"] = False
    layers["backend"].pop("secrets", None)
    rest = ((config.get("restapi") or {}).get("authentication") or {}).get(
        "password", passwords["postgresql_rest_password"]
    )
    rotating = (
        postgresql_rotating(verifiers, given)
        + ["postgresql_rest_password"] * (rest != passwords["postgresql_rest_password"])
        + deployed.pgbouncer_rotating(files, passwords)
        + search_rotating(statuses)
        + deployed.redis_rotating(files, passwords)
    )
    return {
        "layers": {name: one for name, one in layers.items() if one},
        "enabled": deployed.enabled(files),
        "passwords": same,
        "rotating": sorted(set(rotating)),
        "redis_admin_noted": noted,
        "settings": settings,
    }


def _unless_away(ask: Callable[[], dict]) -> dict:
    try:
        return ask()
    except OSError:
        return {}


QUESTION = Question(
    {
        "settings": {"type": "dict", "required": True},
        "tls_directory": {"type": "path", "required": True},
        "passwords": {"type": "dict", "required": True, "no_log": True},
        "backend_secrets": {"type": "dict", "default": {}, "no_log": True},
        "elasticsearch_flavor": {"type": "str", "choices": ["elasticsearch", "opensearch"], "default": "elasticsearch"},
        "elasticsearch_urls": {"type": "list", "elements": "str", "default": []},
    },
    answer,
)
