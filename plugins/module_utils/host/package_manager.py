# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the modules about packages share: this host's package manager, and which units run with what is installed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from . import freshness, packages


def of(module) -> packages.Packages:
    """The host's package manager, reached by a module's own way to run commands."""

    def run(command, text=None):
        environment = {"LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
        return module.run_command(command, data=text, binary_data=True, environ_update=environment)

    return packages.Packages(run, module.params.get("lock_timeout") or 0)


def units(module, wanted: Mapping[str, list[str]]) -> dict[str, dict[str, Any]]:
    """Unit to {state, reasons}, as service_freshness says them, by programs and unit files alone; wanted: unit to further programs.

    Units that the host does not have are left out.
    """
    found = {}
    proc = freshness.Proc()
    for unit, binaries in wanted.items():
        command = ["systemctl", "show", "--timestamp=unix", f"--property={freshness.PROPERTIES}", unit]
        show = freshness.parse_show(module.run_command(command, check_rc=True)[1])
        service = freshness.of_programs(unit, show, binaries, proc)
        if service:
            verdict = freshness.judge(service, time.time())
            found[unit] = {"state": verdict.state, "reasons": verdict.reasons}
    return found
