# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the ledger of a drill is told: the addresses that an application uses, the members, and users of the drill's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...services.registry import SERVICES, ledger_paths


def ledger_settings(
    topology: Mapping[str, Any],
    secrets: Mapping[str, str],
    run: str,
    rate: float,
    duration_s: float,
    ca: str,
    api: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The settings file of the ledger, with a part for every path that the topology has.

    run: the name of what is written. rate: records a second on each path. ca: where the CA's certificate is on the ledger's host.
    api: the application's requests as drill_api has them; without them its path is left out.
    """
    there = {path.name for service in SERVICES.values() if service.members(topology) for path in service.ledger}
    paths = {
        name: {
            "client": path.client,
            **path.settings(topology, secrets),
            **({"rate": min(rate, path.most_rate)} if path.most_rate else {}),
            **(api or {} if path.requested else {}),
        }
        for name, path in ledger_paths().items()
        if name in there and (api or not path.requested)
    }
    return {"run": run, "rate": rate, "duration_s": duration_s, "ca": ca, "paths": paths}
