# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The application, as services of the swarm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..common.values import url
from .drill import REPLICA, Fault, LedgerPath, frozen, killed
from .listener import HOST, VIP, Listener
from .service import Service


def ledger(ha: Mapping[str, Any], _secrets: Mapping[str, str]) -> dict[str, Any]:
    """Where its clients reach it; the requests are the operator's."""
    return {"url": url("https", ha["virtual_ip"]["address"], ha["ports"]["https"])}


SERVICE = Service(
    name="backend",
    role="backend",
    layer="backend",
    state="swarm",
    groups=("swarm_managers", "swarm_workers"),
    listeners=(
        Listener("backend", "backend (HTTP)", "backend_http", 8080, HOST, "load balancers"),
        Listener("backend", "backend (gRPC)", "backend_grpc", 50051, HOST, "load balancers"),
        Listener("loadbalancer", "HAProxy (gRPC)", "grpc", 50051, VIP, "UTMStack's agents", ("backend",)),
    ),
    tls_passed=True,
    memory=4,
    settings={
        "backend_stack_name": "utmstack",
        "backend_database_name": "utmstack",
        "backend_database_user": "utmstack",
    },
    shared={"backend_tls": False},
    passwords={"backend_internal_key": "", "backend_encryption_key": ""},
    # Role swarm cares for it.
    whole_host=(),
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
