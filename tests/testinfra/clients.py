# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How an application connects: ordinary client libraries, the addresses a user would give them, certificates verified."""

from __future__ import annotations

import ssl

from opensearchpy import OpenSearch
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

USER = "utmstack"
REDIS_MASTER = "utmstack-redis"
# Where the stand-in keeps its events.
INDEX = "log-standin"
KEY = "standin:events"


def tls(cluster) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(cluster.ca))


def search(cluster, user: str = USER, password: str = "") -> OpenSearch:
    """Elasticsearch or OpenSearch through the virtual IP. This library asks neither for its name."""
    return OpenSearch(
        f"https://{cluster.vip}:9200",
        http_auth=(user, password or cluster.passwords["elasticsearch_application_password"]),
        ca_certs=str(cluster.ca),
        timeout=5,
        max_retries=1,
    )


def redis_options(cluster, patience: float = 2) -> dict:
    """patience: how long to wait for an answer, in seconds."""
    return {
        "username": USER,
        "password": cluster.passwords["redis_application_password"],
        "ssl": True,
        "ssl_ca_certs": str(cluster.ca),
        "ssl_cert_reqs": "required",
        "ssl_check_hostname": True,
        "socket_connect_timeout": patience / 2,
        "socket_timeout": patience,
        "decode_responses": True,
        # The library's own tries pause ever longer, and outlast a failover; and they go to the same node, whom Sentinel may have left.
        "retry": Retry(NoBackoff(), 0),
    }


def sentinel(cluster, patience: float = 2) -> Sentinel:
    options = redis_options(cluster, patience)
    return Sentinel([(address, 26379) for address in cluster.hosts.values()], sentinel_kwargs=options, **options)


def redis_by_sentinel(cluster, patience: float = 2) -> Redis:
    """The master, as the sentinels name it."""
    return sentinel(cluster, patience).master_for(REDIS_MASTER)


def redis_by_address(cluster, patience: float = 2) -> Redis:
    """The master, as the load balancer finds it."""
    return Redis(host=cluster.vip, port=6379, **redis_options(cluster, patience))
