# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is deployed on a host, and whether it has the passwords of the inventory: from its files, and by asking its own services."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.utmstack.ha.plugins.module_utils import deployed, https
from ansible_collections.utmstack.ha.plugins.module_utils.docker_engine import Engine, EngineError, local
from ansible_collections.utmstack.ha.plugins.module_utils.question import Question

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
    engine = Engine(local("/run/docker.sock"), TIMEOUT_S)
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


def search_passwords(tls: str, found: Mapping, given: Mapping) -> dict[str, bool]:
    """Whether the search engine lets its superuser in with the given password."""
    if not found.get("http_port"):
        return {}
    user, path = {
        "elasticsearch": ("elastic", "_security/_authenticate"),
        "opensearch": ("admin", "_plugins/_security/authinfo"),
    }[found["flavor"]]
    login = base64.b64encode(f"{user}:{given['elasticsearch_superuser_password']}".encode()).decode()
    address = f"[{found['address']}]" if ":" in found["address"] else found["address"]
    send = https.sender(f"{tls}/ca.crt")
    status, _text = send(
        "GET", f"https://{address}:{found['http_port']}/{path}", {"Authorization": f"Basic {login}"}, None, TIMEOUT_S
    )
    return {"elasticsearch_superuser_password": status == 200} if status in (200, 401) else {}


def postgresql_passwords(module, found: Mapping, config: Mapping, given: Mapping) -> dict[str, bool]:
    """Whether PostgreSQL's roles have the given passwords; where no server runs here, whether Patroni's file has."""
    if not found.get("port"):
        return {}
    known = (config.get("postgresql") or {}).get("authentication") or {}
    same = {
        f"postgresql_{name}_password": known[name].get("password") == given[f"postgresql_{name}_password"]
        for name in ("superuser", "replication", "rewind")
        if isinstance(known.get(name), dict)
    }
    query = f"SELECT rolname, rolpassword FROM pg_authid WHERE rolname IN ({', '.join(map(repr, ROLES))})"
    psql = ["runuser", "-u", "postgres", "--", "psql", "-XAtqw", "-h", "/var/run/postgresql", "-p", str(found["port"])]
    code, out, _errors = module.run_command(
        [*psql, "-d", "postgres", "-c", query], environ_update={"PGCONNECT_TIMEOUT": "3"}, cwd="/"
    )
    for role, _bar, verifier in (line.partition("|") for line in out.splitlines() if code == 0):
        if role in ROLES and verifier:
            same[ROLES[role]] = deployed.is_verifier_of(verifier, given[ROLES[role]])
    return same


def file_passwords(
    files: deployed.Files, layers: Mapping, config: Mapping, info: Mapping, given: Mapping
) -> dict[str, bool]:
    """What files alone tell of passwords."""
    same: dict[str, bool | None] = {}
    if layers["sentinel"]:
        same["redis_sentinel_password"] = deployed.is_sentinels(files, given["redis_sentinel_password"])
    patroni = (config.get("etcd3") or {}).get("password") if layers["postgresql"].get("port") else None
    if patroni:
        same["etcd_patroni_password"] = patroni == given["etcd_patroni_password"]
    key = files.text("/etc/utmstack-ha/swarm-unlock-key").strip() if layers["swarm"] else ""
    if key and given.get("swarm_unlock_key"):
        same["swarm_unlock_key"] = hmac.compare_digest(key.encode(), given["swarm_unlock_key"].encode())
    salt = ((info.get("Swarm") or {}).get("Cluster") or {}).get("ID", "")
    keys = {short: given["keys"][short] for short in KEYS}
    same |= {KEYS[short]: one for short, one in deployed.backend_keys(layers["backend"], salt, keys).items()}
    return {name: one for name, one in same.items() if one is not None}


def answer(module, given: dict) -> dict:
    """What the module returns; a service that does not answer leaves its password out."""
    files, settings = deployed.Files(), given["settings"]
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
    passwords = {**given["passwords"], "keys": given["backend_keys"]}
    tls = layers["etcd"].get("tls_directory") or given["tls_directory"]
    asked: list[Callable[[], dict[str, bool]]] = [
        lambda: etcd_passwords(tls, layers["etcd"], passwords),
        lambda: search_passwords(tls, layers["elasticsearch"], passwords),
        lambda: postgresql_passwords(module, layers["postgresql"], config, passwords),
    ]
    same = file_passwords(files, layers, config, info, passwords)
    with ThreadPoolExecutor(len(asked)) as pool:
        for one in pool.map(_unless_away, asked):
            same |= one
    layers["backend"].pop("secrets", None)
    return {
        "layers": {name: one for name, one in layers.items() if one},
        "enabled": deployed.enabled(files),
        "passwords": same,
        "settings": settings,
    }


def _unless_away(ask: Callable[[], dict[str, bool]]) -> dict[str, bool]:
    try:
        return ask()
    except OSError:
        return {}


QUESTION = Question(
    {
        "settings": {"type": "dict", "default": {}},
        "tls_directory": {"type": "path", "required": True},
        "passwords": {"type": "dict", "required": True, "no_log": True},
        "backend_keys": {"type": "dict", "default": {}, "no_log": True},
    },
    answer,
)
