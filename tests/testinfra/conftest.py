# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the tests of a running cluster share."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from cluster import ROOT, Cluster  # noqa: E402

_figures: list[dict] = []


@pytest.fixture(scope="session")
def cluster():
    return Cluster()


@pytest.fixture(scope="session")
def figures():
    """Rows of what was measured; printed at the end and kept in tests/output/failover.json."""
    return _figures


def pytest_terminal_summary(terminalreporter):
    if not _figures:
        return
    rows = [
        "| fault | longest gap between acknowledged writes, s | acknowledged | missing | unknown |",
        "|---|---:|---:|---:|---:|",
        *(
            f"| {row['fault']} | {row['outage_s']:.2f} | {row['acknowledged']} | {row['missing']} | {row['unknown']} |"
            for row in _figures
        ),
    ]
    terminalreporter.section("measured")
    terminalreporter.write_line("\n".join(rows))
    output = ROOT / "tests" / "output"
    output.mkdir(exist_ok=True)
    (output / "failover.json").write_text(json.dumps(_figures, indent=2) + "\n")
    (output / "failover.md").write_text("\n".join(rows) + "\n")
