# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""pgbouncer, which pools PostgreSQL's connections beside HAProxy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .change import APPLIED, Change
from .listener import HOST, Listener
from .service import Service


def unsupported(ha: Mapping[str, Any], release: Mapping[str, Any], _settings: Any) -> tuple[str, ...]:
    if not ha["pgbouncer"]["enabled"] or ha["pgbouncer"]["auto"] or release["pgbouncer"]:
        return ()
    problem = (
        "pgbouncer_enabled is true, but pgbouncer 1.18 can't share a connection among clients that prepare statements"
    )
    return problem, "Set auto or false for all hosts"


SERVICE = Service(
    name="pgbouncer",
    role="pgbouncer",
    layer="pgbouncer",
    groups=("loadbalancer",),
    listeners=(
        Listener(
            "loadbalancer",
            "pgbouncer",
            "pgbouncer",
            6432,
            HOST,
            "HAProxy of the same host; PostgreSQL hosts and load balancers (its console)",
            ("pgbouncer",),
        ),
    ),
    enabled=lambda ha: ha["pgbouncer"]["enabled"],
    changes=(
        Change("pgbouncer_enabled", APPLIED, "clients of port 5432 reconnect once"),
        Change(
            "ha_ports.pgbouncer",
            APPLIED,
            "one load balancer after the other; clients go to the primary without it meanwhile",
        ),
        Change("pgbouncer_admin_password", APPLIED, "every pgbouncer is updated before the first use"),
    ),
    # 1.18 can't share a connection among clients that prepare statements: max_prepared_statements came with 1.21.
    releases={"12": {"pgbouncer": False}, "13": {"pgbouncer": True}},
    without={
        "12": "left out, as 1.18 can't share a connection among clients that prepare statements; writes go straight to the primary"
    },
    unsupported=unsupported,
    shared={"pgbouncer_enabled": "auto"},
    passwords={"pgbouncer_admin_password": ""},
    units=("pgbouncer.service",),
    packages=("pgbouncer",),
    held=("pgbouncer",),
    upgrades=("pgbouncer",),
    upgraded={"pgbouncer.service": ()},
    configs={"pgbouncer.service": ("/etc/pgbouncer/pgbouncer.ini", "/etc/pgbouncer/userlist.txt")},
    # Role haproxy cares for it.
    whole_host=(),
    hands_over=("vip",),
    independent=True,
)
