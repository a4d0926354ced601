# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the stand-in is told by its environment, under the names that UTMStack and Spring Boot use."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

# A name from the environment, and the value where none is given; None: it has to be given.
NAMES = {
    "DB_HOST": None,
    "DB_PORT": "5432",
    "DB_NAME": "utmstack",
    "DB_USER": "utmstack",
    "DB_PASS": None,
    "DB_SSLMODE": "verify-full",
    "ELASTICSEARCH_HOST": None,
    "ELASTICSEARCH_PORT": "9200",
    "ELASTICSEARCH_SCHEME": "https",
    "ELASTICSEARCH_USER": "utmstack",
    "ELASTICSEARCH_PASS": None,
    "SPRING_DATA_REDIS_SENTINEL_MASTER": "utmstack-redis",
    "SPRING_DATA_REDIS_SENTINEL_NODES": None,
    "SPRING_DATA_REDIS_USERNAME": "utmstack",
    "SPRING_DATA_REDIS_SENTINEL_USERNAME": "utmstack",
    "SPRING_DATA_REDIS_SSL_ENABLED": "true",
    "REDIS_PASSWORD": None,
    "INTERNAL_KEY": None,
    "ENCRYPTION_KEY": None,
    "CA_CERTIFICATE": "",
    "SERVER_PORT": "8080",
    "GRPC_SERVER_PORT": "50051",
    "SERVER_SSL_ENABLED": "false",
    "SERVER_SSL_CERTIFICATE": "",
    "SERVER_SSL_CERTIFICATE_PRIVATE_KEY": "",
    # How many replicas of Redis must have an event before it is acknowledged.
    "STANDIN_REDIS_REPLICAS": "1",
    # Between the end of readiness and the end of listening, in seconds: the load balancer's time to look elsewhere.
    "STANDIN_STOP_DELAY": "2",
    # For tests of a rollback. start: ends at once, with an error; health: serves, but is never ready.
    "STANDIN_BROKEN": "",
}


class SettingsError(Exception):
    """What is missing or wrong in the environment, all of it."""


@dataclass(frozen=True)
class Server:
    """A service and the account on it."""

    host: str
    port: int
    user: str
    password: str


@dataclass(frozen=True)
class Settings:
    database: Server
    database_name: str
    database_sslmode: str
    elasticsearch: Server
    elasticsearch_scheme: str
    sentinels: tuple[tuple[str, int], ...]
    sentinel_user: str
    redis_master: str
    redis_user: str
    redis_password: str
    redis_tls: bool
    redis_replicas: int
    ca: str
    certificate: str
    key: str
    http_port: int
    grpc_port: int
    stop_delay: float
    broken: str
    replica: str

    @property
    def tls(self) -> bool:
        """Whether HTTP and gRPC are served with TLS."""
        return bool(self.certificate)


def read(environment: dict[str, str], read_text=lambda path: Path(path).read_text()) -> Settings:
    """The settings in an environment. For every NAME, the file that NAME_FILE names is read where there is no NAME.

    Raises SettingsError, which lists everything that is missing or wrong.
    """
    values, faults = {}, []
    for name, default in NAMES.items():
        try:
            if name in environment:
                values[name] = environment[name]
            elif environment.get(f"{name}_FILE"):
                values[name] = read_text(environment[f"{name}_FILE"]).rstrip("\n")
            else:
                values[name] = default
        except OSError as error:
            values[name] = ""
            faults.append(f"{name}_FILE: {error}")
            continue
        if values[name] in (None, "") and default is None:
            faults.append(f"{name} is not set, nor is {name}_FILE")

    def number(name: str) -> int:
        try:
            return int(values[name])
        except ValueError:
            faults.append(f"{name}={values[name]} is not a number")
            return 0

    sentinels = []
    for node in (values["SPRING_DATA_REDIS_SENTINEL_NODES"] or "").replace(",", " ").split():
        host, colon, port = node.rpartition(":")
        if not (host and colon and port.isdigit()):
            faults.append(f"SPRING_DATA_REDIS_SENTINEL_NODES: {node} is not HOST:PORT")
            continue
        sentinels.append((host, int(port)))

    tls = values["SERVER_SSL_ENABLED"] == "true"
    for name in ("SERVER_SSL_CERTIFICATE", "SERVER_SSL_CERTIFICATE_PRIVATE_KEY"):
        if tls and not values[name]:
            faults.append(f"{name} is not set, though SERVER_SSL_ENABLED is true")
    if values["STANDIN_BROKEN"] not in ("", "start", "health"):
        faults.append(f"STANDIN_BROKEN={values['STANDIN_BROKEN']} is neither start nor health")

    settings = Settings(
        database=Server(values["DB_HOST"], number("DB_PORT"), values["DB_USER"], values["DB_PASS"]),
        database_name=values["DB_NAME"],
        database_sslmode=values["DB_SSLMODE"],
        elasticsearch=Server(
            values["ELASTICSEARCH_HOST"],
            number("ELASTICSEARCH_PORT"),
            values["ELASTICSEARCH_USER"],
            values["ELASTICSEARCH_PASS"],
        ),
        elasticsearch_scheme=values["ELASTICSEARCH_SCHEME"],
        sentinels=tuple(sentinels),
        sentinel_user=values["SPRING_DATA_REDIS_SENTINEL_USERNAME"],
        redis_master=values["SPRING_DATA_REDIS_SENTINEL_MASTER"],
        redis_user=values["SPRING_DATA_REDIS_USERNAME"],
        redis_password=values["REDIS_PASSWORD"],
        redis_tls=values["SPRING_DATA_REDIS_SSL_ENABLED"] == "true",
        redis_replicas=number("STANDIN_REDIS_REPLICAS"),
        ca=values["CA_CERTIFICATE"],
        certificate=values["SERVER_SSL_CERTIFICATE"] if tls else "",
        key=values["SERVER_SSL_CERTIFICATE_PRIVATE_KEY"] if tls else "",
        http_port=number("SERVER_PORT"),
        grpc_port=number("GRPC_SERVER_PORT"),
        stop_delay=number("STANDIN_STOP_DELAY"),
        broken=values["STANDIN_BROKEN"],
        replica=environment.get("NODE_NAME") or socket.gethostname(),
    )
    if faults:
        raise SettingsError("\n".join(faults))
    return settings
