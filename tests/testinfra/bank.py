# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The drill's bank beside whatever is tried: transfers that meet in rows, on both ports of PostgreSQL."""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import uuid
from pathlib import Path

from cluster import ROOT, Cluster

sys.path.insert(0, str(ROOT / "plugins"))

from module_utils.drill.ledger import ledger as drill_ledger  # noqa: E402
from module_utils.services.postgresql import BANK_RATE  # noqa: E402

PORTS = {"bank": 5432, "bank_direct": 5434}
# Longer than any test.
DURATION_S = 7200


class Bank:
    """Runs while it is entered; has `verdicts` of both clients afterwards, and `figures` for a table."""

    def __init__(self, cluster: Cluster):
        self._cluster = cluster
        login = {
            "client": "bank", "host": cluster.vip, "dbname": "utmstack", "user": "utmstack_drill", "rate": BANK_RATE,
            "members": {name: [address, 5432] for name, address in cluster.hosts.items()},
        }  # fmt: skip
        self._settings = {
            "run": f"test-{uuid.uuid4().hex[:12]}", "rate": BANK_RATE, "duration_s": DURATION_S, "ca": str(cluster.ca),
            "paths": {name: login | {"port": port} for name, port in PORTS.items()},
        }  # fmt: skip
        self._know_password()
        self._directory = tempfile.TemporaryDirectory(prefix="bank-")
        self._halt = threading.Event()
        run = (self._settings, self._directory.name, self._halt.is_set)
        self._thread = threading.Thread(target=drill_ledger.run, args=run, daemon=True)
        self.verdicts: dict[str, dict] = {}

    def __enter__(self) -> Bank:
        self._thread.start()
        return self

    def __exit__(self, *unused) -> None:
        self._halt.set()
        self._thread.join(timeout=60)
        # It may be what the test has changed.
        self._know_password()
        with self._directory:
            drill_ledger.judge_all(self._settings, self._directory.name)
            self.verdicts = json.loads((Path(self._directory.name) / "verdict.json").read_text())
        drill_ledger.clean(self._settings)

    def _know_password(self) -> None:
        for name in PORTS:
            self._settings["paths"][name]["password"] = self._cluster.passwords["postgresql_drill_password"]

    @property
    def figures(self) -> dict:
        """The longest wait for a lock that was left behind, in s, null where no transaction was cut off."""
        waits = [found["lock_wait_s"] for found in self.verdicts.values() if found["lock_wait_s"] is not None]
        return {"sum_right": self.right(), "lock_wait_s": max(waits, default=None)}

    def right(self) -> bool:
        """Whether the sum is right on every member that was read, and no acknowledged transfer is missing or there twice."""
        return all(found["sum_right"] and found["missing"] == found["twice"] == 0 for found in self.verdicts.values())
