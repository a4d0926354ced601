# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The application, as services of the swarm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..common.values import url
from .change import APPLIED, REFUSED, RELOAD_HAPROXY, Change, given, port
from .drill import REPLICA, Fault, LedgerPath, frozen, killed
from .listener import HOST, VIP, Endpoint, Listener
from .service import Service

# How what its replicas have in common is changed, and why a key must not be.
_AWAY = "To change it, plan a time without the application: `docker stack rm STACK` on a manager, then site.yml"
_KEY = "What the application has encrypted with the old one could not be read any more"


# The default of its role for the image.
_IMAGE = "utmstack/backend:latest"


def facts(_settings: Mapping[str, Any], hosts: Mapping[str, Mapping[str, Any]], _found: Any) -> dict[str, Any]:
    """Return whether it is deployed: an image or an archive of one is named, or nothing is said."""
    wanted = [own.get("backend_image", _IMAGE) or own.get("backend_image_archive") for own in hosts.values()]
    return {"wanted": any(wanted)}


def check_changes(ha: Mapping[str, Any], hosts: Mapping[str, Mapping[str, Any]], found: Any) -> None:
    """The application's database must go on being served."""
    for one in hosts.values():
        name = one["layers"].get("backend", {}).get("database")
        if name and name not in ha["postgresql"]["databases"] and name == one["settings"]["backend_database_name"]:
            found.refuse(
                "group postgresql",
                "postgresql_databases",
                f"lacks {name}, which the deployed backend uses: nobody could connect to it any more",
                "Put it back into the list",
            )


def ledger(ha: Mapping[str, Any], _secrets: Mapping[str, str]) -> dict[str, Any]:
    """Where its clients reach it; the requests are the operator's."""
    return {"url": url("https", ha["virtual_ip"]["address"], ha["ports"]["https"])}


SERVICE = Service(
    name="backend",
    title="the backend",
    role="backend",
    layer="backend",
    state="swarm",
    groups=("swarm_managers", "swarm_workers"),
    listeners=(
        Listener("backend", "backend (HTTP)", "backend_http", 8080, HOST, "load balancers"),
        Listener("backend", "backend (gRPC)", "backend_grpc", 50051, HOST, "load balancers"),
        Listener("loadbalancer", "HAProxy (gRPC)", "grpc", 50051, VIP, "UTMStack's agents", ("backend",)),
    ),
    probe_port="backend_http",
    probe_rank=2,
    tls_passed=True,
    facts=facts,
    endpoints=lambda ha: [
        Endpoint("grpc", "Application's agents, gRPC", f"backend, port {ha['ports']['backend_grpc']}")
    ],
    changes=(
        Change("backend_stack_name", REFUSED, _AWAY),
        Change("backend_tls", REFUSED, _AWAY),
        Change(
            "backend_database_name",
            APPLIED,
            "the replicas are replaced; what is in the other database is not copied",
        ),
        Change("ha_ports.grpc", APPLIED, RELOAD_HAPROXY),
        Change("ha_ports.backend_http", REFUSED, _AWAY),
        Change("ha_ports.backend_grpc", REFUSED, _AWAY),
        Change(
            "backend_internal_key",
            REFUSED,
            _KEY,
            "/run/secrets/INTERNAL_KEY in a running replica (`docker exec`)",
        ),
        Change(
            "backend_encryption_key",
            REFUSED,
            _KEY,
            "/run/secrets/ENCRYPTION_KEY in a running replica (`docker exec`)",
        ),
    ),
    check_changes=check_changes,
    compared=(
        ("backend", "stack", "backend_stack_name", given("backend_stack_name")),
        ("backend", "http_port", "ha_ports.backend_http", port("backend_http")),
        ("backend", "grpc_port", "ha_ports.backend_grpc", port("backend_grpc")),
        ("backend", "tls", "backend_tls", lambda ha, host, given: ha["backend"]["tls"]),
    ),
    memory=4,
    settings={
        "backend_stack_name": "utmstack",
        "backend_database_name": "utmstack",
        "backend_database_user": "utmstack",
    },
    numbers_or_empty=("backend_memory_limit_mb", "backend_replicas"),
    shared={"backend_tls": False},
    passwords={"backend_internal_key": "", "backend_encryption_key": ""},
    # Role swarm cares for it.
    whole_host=(),
    secrets={"INTERNAL_KEY": "backend_internal_key", "ENCRYPTION_KEY": "backend_encryption_key"},
    # Before its first deployment there is nothing to take.
    present=lambda state: bool((state["swarm"] or {}).get("services")),
    hands_over=(),
    processes={"backend": {"container": "_backend", "what": "a replica of the application"}},
    peers=True,
    faults=(
        Fault(
            "backend-sigkill",
            "A replica of the application is killed",
            REPLICA,
            killed("backend"),
            hold_s=15,
            target_s=2,
        ),
        Fault("backend-sigstop", "A replica of the application is frozen", REPLICA, frozen("backend"), hold_s=20),
    ),
    ledger=(LedgerPath("api", "Backend API", "api", ledger, requested=True, host_lost_s=26),),
)
