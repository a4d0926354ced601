# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What make bench reads out of what programs print, and how it counts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "bench"))

import figures  # noqa: E402
from figures import BenchError  # noqa: E402

FIXTURES = Path(__file__).parents[2] / "fixtures" / "bench"


# -- what programs print ----------------------------------------------------------------------------------------------


def test_a_run_is_read_from_the_recap_of_profile_tasks():
    output = (FIXTURES / "profile_tasks_2.1.0.txt").read_text()
    assert figures.run(output, 1.26, {"node1": 2, "node2": 1}) == {
        "seconds": 1.3,
        "tasks": 2,
        "lines": 4,
        "changed": 3,
        "slowest": [
            {"task": "Print it", "seconds": 0.2},
            {"task": "utmstack.ha.topology : Compute the topology from the inventory", "seconds": 0.04},
        ],
    }


@pytest.mark.parametrize("name", ["Short", "A sentence -- with dashes and 3.00s in it", "L" * 90])
@pytest.mark.parametrize("seconds", [0.0, 49.01, 100.23, 1000.5])
def test_a_task_is_read_however_long_its_name_and_time_are(name, seconds):
    # profile_tasks fills up with dashes, and leaves none where the line is full.
    line = "{0:-<{2}}{1:->9}".format(name + " ", f" {seconds:.02f}s", 70)
    assert figures.tasks(f"TASKS RECAP ***\n====\n{line}\n") == [{"task": name, "seconds": seconds}]


def test_an_output_without_a_recap_is_no_run():
    with pytest.raises(BenchError, match="profile_tasks"):
        figures.run("PLAY RECAP ****\n", 1, {})


def test_pgbench_is_read_from_its_summary_and_its_log():
    log = (FIXTURES / "pgbench_15.20.log").read_text().splitlines()
    found = figures.pgbench((FIXTURES / "pgbench_15.20.txt").read_text(), log)
    times = sorted(int(line.split()[2]) / 1000 for line in log)
    assert (found["rate_per_s"], found["max_ms"], found["errors"]) == (1114.0, times[-1], 0)
    assert found["p50_ms"] == times[18]  # of 37


def test_transactions_that_failed_are_counted_and_not_timed():
    output = "number of failed transactions: 2 (0.1%)\ntps = 12.5 (without initial connection time)\n"
    found = figures.pgbench(output, ["0 1 2000 0 1 1", "0 2 failed 0 1 1", "0 3 skipped 0 1 1"])
    assert found == {"rate_per_s": 12.5, "p50_ms": 2, "p95_ms": 2, "p99_ms": 2, "max_ms": 2, "errors": 2}


def test_a_pgbench_that_did_nothing_has_no_figure():
    with pytest.raises(BenchError, match="no rate: server closed"):
        figures.pgbench("server closed", [])
    with pytest.raises(BenchError, match="nothing was answered"):
        figures.pgbench("tps = 0.0", [])


def test_redis_benchmark_is_read_by_test():
    found = figures.redis_benchmark((FIXTURES / "redis_benchmark_7.0.15.csv").read_text())
    assert list(found) == ["SET", "GET"]
    assert found["GET"] == {
        "rate_per_s": 19802.0, "p50_ms": 0.431, "p95_ms": 1.367, "p99_ms": 2.615, "max_ms": 29.119, "errors": 0,
    }  # fmt: skip


def test_memory_of_units_is_read_and_what_is_not_accounted_is_not_known():
    shown = """\
MemoryCurrent=51380224
MemoryPeak=60000000
Id=etcd.service

Id=patroni.service
MemoryCurrent=[not set]
MemoryPeak=18446744073709551615

Id=docker.service
MemoryCurrent=1024
"""
    assert figures.units(shown) == {
        "etcd": {"current_bytes": 51380224, "peak_bytes": 60000000},
        "patroni": {"current_bytes": None, "peak_bytes": None},
        "docker": {"current_bytes": 1024, "peak_bytes": None},
    }


def test_containers_of_one_service_are_added_up():
    shown = "utmstack_backend.1.x9|66.5MiB / 23.47GiB\nutmstack_backend.2.y8|1GiB / 23.47GiB\nother|0B / 0B\n"
    assert figures.containers(shown) == {
        "utmstack_backend": {"current_bytes": round(66.5 * 2**20) + 2**30, "peak_bytes": None},
        "other": {"current_bytes": 0, "peak_bytes": None},
    }
    assert figures.containers("") == {}


# -- counting ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "part", "result"),
    [([7], 0.5, 7), ([1, 2], 0.5, 1), (range(1, 101), 0.99, 99), (range(1, 101), 0.95, 95), (range(1, 11), 0.99, 10)],
)
def test_a_percentile_is_a_value_that_was_measured(values, part, result):
    assert figures.percentile(list(values), part) == result


def figure(rate, errors=0):
    return {"rate_per_s": rate, "p50_ms": 1.0, "p95_ms": 2.0, "p99_ms": 3.0, "max_ms": rate, "errors": errors}


def test_routes_are_compared_by_the_median_of_their_rounds():
    about = {"work": "GET", "unit": "requests", "users": 8}
    rounds = {"vip": [[about | figure(rate, errors=1)] for rate in (90, 10, 80)], "direct": [[about | figure(100)]]}
    (entry,) = figures.compare("api", "node2", rounds)
    assert entry == about | {
        "path": "api",
        "host": "node2",
        "vip": {"median": figure(80, errors=3), "runs": [figure(rate, errors=1) for rate in (90, 10, 80)]},
        "direct": {"median": figure(100), "runs": [figure(100)]},
    }


def test_a_report_of_another_schema_is_refused():
    with pytest.raises(BenchError, match="schema 2"):
        figures.drill({"schema": 2})
