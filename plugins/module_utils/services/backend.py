# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The application, as services of the swarm."""

from __future__ import annotations

from .listener import HOST, VIP, Listener
from .service import Service

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
    secrets={"INTERNAL_KEY": "backend_internal_key", "ENCRYPTION_KEY": "backend_encryption_key"},
    # Before its first deployment there is nothing to take.
    present=lambda state: bool((state["swarm"] or {}).get("services")),
    hands_over=(),
    processes={"backend": {"container": "_backend", "what": "a replica of the application"}},
    peers=True,
)
