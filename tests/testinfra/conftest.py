# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the tests of a running cluster share."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from bank import Bank  # noqa: E402
from cluster import ROOT, Cluster, until  # noqa: E402
from load import STORES, Load  # noqa: E402
from watch import Watch  # noqa: E402

# Each of these works with one host less.
QUORUMS = ("etcd", "postgresql", "elasticsearch", "redis", "sentinel", "swarm", "haproxy")

SUMS = {True: "right", False: "wrong", None: "–"}

_figures: list[dict] = []


@pytest.fixture(scope="session")
def cluster():
    return Cluster()


@pytest.fixture(scope="session")
def figures():
    """Rows of what was measured; printed at the end and kept in tests/output/failover.json."""
    return _figures


@pytest.fixture
def under_load(cluster, figures):
    """Runs something while users send events and the clusters are watched; asserts what an operation promises.

    may_fail: requests may, as where the operation is killed while clients are held, or where no core is free.
    without: services that it stops altogether.
    """

    def run(title: str, operate, may_fail: bool = False, without: tuple[str, ...] = ()):
        load = Load(cluster).start()
        until(lambda: len(load.outcome.acknowledged) > 100, 60, "the load to get going")
        started = time.monotonic()
        try:
            with Bank(cluster) as bank, Watch.of(cluster) as watch:
                result = operate()
            took = time.monotonic() - started
            mark = len(load.outcome.acknowledged)
            until(lambda: len(load.outcome.acknowledged) > mark + 100, 60, "the load to go on")
        finally:
            outcome = load.stop()
        missing = load.missing()
        print(f"\n{title}: {took:.0f} s, {outcome}\nfewest members in service at once: {watch.least}")
        figures.append(
            {
                "fault": f"operation: {title}",
                "outage_s": round(outcome.longest_gap(started), 2),
                "acknowledged": len(outcome.acknowledged),
                "missing": len(set().union(*missing.values())),
                "unknown": len(outcome.unknown),
                "failed": len(outcome.failed),
                "slowest_s": round(outcome.slowest, 2),
                **bank.figures,
                "least": watch.least,
                "took_s": round(took),
            }
        )
        assert missing == {store: set() for store in STORES}
        assert bank.right(), bank.verdicts
        assert may_fail or (outcome.failed, outcome.unknown) == (set(), set()), str(outcome)
        for service in set(QUORUMS) - set(without):
            assert watch.least[service] >= len(cluster.hosts) - 1, watch.least
        return result

    return run


def pytest_terminal_summary(terminalreporter):
    if not _figures:
        return
    rows = [
        "| fault | longest gap between acknowledged writes, s | acknowledged | missing | failed | unknown | bank's sum | lock wait, s |",
        "|---|---:|---:|---:|---:|---:|---|---:|",
        *(
            f"| {row['fault']} | {row['outage_s']:.2f} | {row['acknowledged']} | {row['missing']} | {row['failed']} |"
            f" {row['unknown']} | {SUMS[row.get('sum_right')]} |"
            f" {'–' if row.get('lock_wait_s') is None else format(row['lock_wait_s'], '.2f')} |"
            for row in _figures
        ),
    ]
    terminalreporter.section("measured")
    terminalreporter.write_line("\n".join(rows))
    output = ROOT / "tests" / "output"
    output.mkdir(exist_ok=True)
    (output / "failover.json").write_text(json.dumps(_figures, indent=2) + "\n")
    (output / "failover.md").write_text("\n".join(rows) + "\n")
