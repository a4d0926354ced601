# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether the controller keeps what a first run makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .secrets import PASSWORDS
from .topology_faults import Findings

# Variables that AWX and automation controller give to each job.
JOB_NAMES = ("awx_job_id", "tower_job_id")


def check_job(
    variables: Mapping[str, Any], tls_sources: set[str], found: Findings, exists: Callable[[Path], bool] = Path.exists
) -> None:
    """Refuse a job of AWX that would make secrets where they are deleted with it: beside the job's own copy of the inventory.

    variables: as the task sees them, ha_secrets_dir templated. tls_sources: the hosts' tls_source.
    """
    directory = str(variables.get("ha_secrets_dir") or "")
    beside = f"{variables.get('inventory_dir') or ''}/.secrets"
    if directory not in ("", beside) or not any(name in variables for name in JOB_NAMES):
        return
    made = []
    if not exists(Path(beside, "passwords.yml")):
        missing = sum(variables.get(name) in (None, "") for name in PASSWORDS)
        made += [f"{missing} password{'s' * (missing > 1)}"] if missing else []
    if tls_sources != {"files"} and not exists(Path(beside, "ca.key")):
        made.append("a certificate authority")
    if made:
        found.refuse(
            "group all",
            "ha_secrets_dir",
            f"is not set, and this job would make {' and '.join(made)}, which are deleted when it ends",
            "Point it to a directory that outlives the job, or give all passwords as variables and use your own certificates "
            "(tls_source: files), see docs/controller.md",
        )
