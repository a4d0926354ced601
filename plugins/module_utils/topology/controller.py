# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether the controller keeps what a first run makes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ..services.passwords import passwords
from .faults import Findings

# Variables that AWX and automation controller give to each job.
JOB_NAMES = ("awx_job_id", "tower_job_id")


def check_job(
    variables: Mapping[str, Any],
    copies: Iterable[str],
    tls_sources: set[str],
    found: Findings,
    exists: Callable[[Path], bool] = Path.exists,
) -> None:
    """Refuse a job of AWX that would make secrets where they are deleted with it: in its own copy of the inventory or the project.

    variables: as the task sees them, with the directory that was chosen as ha_secrets_dir. copies: the directories of the inventory's
    files and of the playbooks. tls_sources: the hosts' tls_source.
    """
    directory = Path(variables["ha_secrets_dir"])
    copy = next((place for place in copies if place and directory.is_relative_to(place)), None)
    if copy is None or not any(name in variables for name in JOB_NAMES):
        return
    made = []
    if not exists(directory / "passwords.yml"):
        missing = sum(variables.get(name) in (None, "") for name in passwords())
        made += [f"{missing} password{'s' * (missing > 1)}"] if missing else []
    if tls_sources != {"files"} and not exists(directory / "ca.key"):
        made.append("a certificate authority")
    if made:
        found.refuse(
            "group all",
            "ha_secrets_dir",
            f"leads to {directory}, in the job's own copy of {copy}: this job would make {' and '.join(made)}, which are deleted when it ends",
            "Point it to a directory that outlives the job, or give all passwords as variables and use your own certificates "
            "(tls_source: files), see docs/controller.md",
        )
