# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the tests of restores share: the lab with a backup host, snapshots each minute, and runs of playbooks on it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "testinfra"))

from cluster import ROOT, Cluster  # noqa: E402

HERE = Path(__file__).parent
REPOSITORY = "backup_repo"
OFTEN = {
    "elasticsearch_housekeeping_interval": "20s",
    "elasticsearch_snapshot_policies": [
        {
            "name": "often",
            "repository": REPOSITORY,
            "schedule": "0 * * * * ?",
            "retention": {"expire_after": "1d", "min_count": 5, "max_count": 200},
        }
    ],
}
LAB = ("-e", f"@{ROOT}/inventories/lab/group_vars/all.yml", "-e", json.dumps(OFTEN))
CONFIRM = ("-e", "confirm=utmstack")


class Platform(Cluster):
    """The lab, with what a restore is run by."""

    def __init__(self):
        super().__init__(HERE / "inventory")

    def run(self, name, *more, check=True):
        return self.playbook(f"playbooks/{name}" if name != "site.yml" else name, *LAB, *more, check=check)

    def told(self, done) -> str:
        """What a run printed, as one line."""
        return " ".join(done.stdout.split())


@pytest.fixture(scope="session")
def platform():
    found = Platform()
    found.run("site.yml")
    return found
