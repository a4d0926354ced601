# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The steps of make bench: what they leave where they fail, and the page for people."""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from pathlib import Path

import drill_sample
import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.drill.report import report as drill_report

TESTS = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(TESTS / "bench"), str(TESTS / "testinfra")]

import bench  # noqa: E402
import loads  # noqa: E402
import page  # noqa: E402
from cluster import Cluster  # noqa: E402
from figures import BenchError  # noqa: E402

FIXTURES = Path(__file__).parents[2] / "fixtures" / "bench"
SETTINGS = {"scenario": "short", "seconds": 10, "repeat": 3}
MEDIAN = {"rate_per_s": 80, "p50_ms": 1.0, "p95_ms": 2.0, "p99_ms": 3.0, "max_ms": 80, "errors": 0}


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """A bench that has measured nothing yet, and writes into a directory of the test."""
    monkeypatch.setattr(bench, "ROOT", tmp_path)
    monkeypatch.setattr(bench, "OUTPUT", tmp_path / "output")
    return bench.Bench(Cluster(), SETTINGS)


def playbook(tmp_path, monkeypatch, script: str) -> None:
    """Have a program in the place of ansible-playbook."""
    program = tmp_path / "bin" / "ansible-playbook"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


def written() -> dict:
    return json.loads((bench.OUTPUT / "bench.json").read_text())


def test_a_step_that_fails_does_not_cost_what_the_others_measured(measured):
    def good():
        measured.found["memory"].append({"host": "node1", "service": "etcd", "current_bytes": 1, "peak_bytes": None})

    def bad():
        raise BenchError("nobody answers")

    def worse():
        raise KeyError("leader")

    assert [measured.step(*step) for step in (("api", bad), ("memory", good), ("redis", worse))] == [False, True, False]
    assert written()["failed"] == {"api": "nobody answers", "redis": "KeyError: 'leader'"}
    assert written()["memory"]
    assert "- api: nobody answers" in (bench.OUTPUT / "bench.md").read_text()


def test_a_run_is_measured_and_its_output_kept(measured, tmp_path, monkeypatch, capsys):
    recap = FIXTURES / "profile_tasks_2.1.0.txt"
    playbook(tmp_path, monkeypatch, f'echo "PLAY [Deploy the etcd cluster] ****"; echo $@ >&2; cat {recap}')
    assert measured.step("check", measured.run, "check")
    assert (written()["runs"]["check"]["tasks"], written()["runs"]["check"]["changed"]) == (2, 0)
    assert "site.yml --check" in (bench.OUTPUT / "bench-check.log").read_text()
    assert "PLAY [Deploy the etcd cluster]" in capsys.readouterr().out


def test_a_run_that_fails_has_no_figure(measured, tmp_path, monkeypatch):
    playbook(tmp_path, monkeypatch, "echo fatal; exit 2")
    assert not measured.step("no_op", measured.run, "no_op")
    assert written()["runs"] == {}
    assert written()["failed"] == {"no_op": "site.yml ended with 2; see tests/output/bench-no_op.log."}


def test_a_drill_that_lost_something_fails_and_its_outages_are_there(measured, tmp_path, monkeypatch):
    made = drill_sample.make(tmp_path / "made")
    assert drill_report.main([str(made)]) == 0
    old, new = (bench.OUTPUT / "bench-drill" / name for name in ("2025-01-01T000000Z", "2026-01-01T000000Z"))
    old.mkdir(parents=True)
    (old / "report.json").write_text("{}")
    playbook(tmp_path, monkeypatch, f"cp -r {made} {new}; exit 2")
    assert not measured.step("drill", measured.drill, "short")
    drill = written()["drill"]
    assert [fault["fault"] for fault in drill["faults"]] == list(dict.fromkeys(drill_sample.TURNS))
    assert set(drill["faults"][0]["outage_s"]) == {"min", "median", "max"}
    assert written()["failed"] == {"drill": "playbooks/drill.yml ended with 2; see tests/output/bench-drill.log."}


def test_without_a_converge_nothing_else_is_measured(measured, tmp_path, monkeypatch, capsys):
    playbook(tmp_path, monkeypatch, "exit 4")
    monkeypatch.setattr(sys, "argv", ["bench.py", "--scenario", "none"])
    assert bench.main() == 1
    assert list(written()["failed"]) == ["converge"]
    assert written()["settings"] == {"scenario": "none", "seconds": 10, "repeat": 3, "backups": False}
    assert capsys.readouterr().err == "bench: not measured, or not all of it: converge\n"


def test_a_drill_that_left_no_report_has_no_figures(measured, tmp_path, monkeypatch):
    playbook(tmp_path, monkeypatch, "exit 0")
    assert not measured.step("drill", measured.drill, "short")
    assert written()["drill"] is None


def test_the_page_has_a_table_of_each_and_a_dash_for_what_is_not_known(measured):
    about = {"path": "redis", "work": "SET", "unit": "requests", "users": 20, "host": "node3"}
    measured.found |= {
        "runs": {"no_op": {"seconds": 55.04, "tasks": 300, "lines": 560, "changed": 0, "slowest": [{"task": "utmstack.ha.tls : Sign", "seconds": 1.84}]}},
        "throughput": [about | {route: {"median": MEDIAN, "runs": []} for route in ("vip", "direct")}],
        "memory": [
            {"host": "node1", "service": "etcd", "current_bytes": 50 * 2**20, "peak_bytes": 2**30},
            {"host": "node2", "service": "haproxy", "current_bytes": None, "peak_bytes": None},
        ],
        "drill": {"faults": [{
            "fault": "redis-sigkill", "turns": 1, "outage_s": {"min": 1.5, "median": 2, "max": 3.25}, "missing": None,
            "lock_wait_s": {"min": 0, "median": 40, "max": 77.5}, "whole_after_s": None, "met": False,
        }]},
    }  # fmt: skip
    shown = [" ".join(line.split()) for line in page.page(measured.found).splitlines()]
    assert "| nothing to do | 55 s | 300 | 560 | 0 | Sign 1.8 s |" in shown
    assert "| redis | SET | 20 | direct, node3 | 80 requests | 1.0 | 2.0 | 3.0 | 80.0 | 0 |" in shown
    assert "| etcd | 50 MiB (1.0 GiB) | – |" in shown
    assert "| haproxy | – | – |" in shown
    assert "| redis-sigkill | 1 | 1.5 s | 2.0 s | 3.2 s | – | 77.5 s | – | no |" in shown


def test_the_cost_of_backups_is_a_share_of_the_rate_without_archiving(measured):
    about = {"path": "postgresql", "work": "pgbench", "unit": "transactions", "users": 8, "host": "node3"}
    rates = {"without": 80, "archiving": 76, "during_backups": 40}
    states = {state: {"median": MEDIAN | {"rate_per_s": rate}, "runs": []} for state, rate in rates.items()}
    measured.found |= {"cost": [about | states]}
    shown = [" ".join(line.split()) for line in page.page(measured.found).splitlines()]
    assert "| postgresql | pgbench | 8 | no archiving | 80 transactions | 1.00 | 1.0 | 2.0 | 3.0 | 80.0 | 0 |" in shown
    assert (
        "| postgresql | pgbench | 8 | backups running | 40 transactions | 0.50 | 1.0 | 2.0 | 3.0 | 80.0 | 0 |" in shown
    )


def test_the_cost_of_backups_is_measured_in_each_state_in_turn(measured, monkeypatch):
    seen, rate = [], {"without": 100, "archiving": 90, "during_backups": 50}

    def enter(state):
        @contextmanager
        def run(_cluster):
            seen.append(state)
            yield

        return run

    @contextmanager
    def path(_cluster):
        def run(address, port, seconds):
            assert (address, port, seconds) == ("10.0.9.100", 5432, 10)
            return [{"work": "w", "unit": "u", "users": 1} | MEDIAN | {"rate_per_s": rate[seen[-1]]}]

        yield loads.Target("node1", ("10.0.9.100", 5432), ("10.0.9.11", 5432), run)

    monkeypatch.setattr(bench.states, "STATES", {state: enter(state) for state in rate})
    monkeypatch.setattr(bench, "PATHS", {"postgresql": path})
    assert measured.step("postgresql", measured.cost, "postgresql")
    assert seen == list(rate) * 3
    (entry,) = written()["cost"]
    assert {state: entry[state]["median"]["rate_per_s"] for state in rate} == rate


def test_a_page_of_nothing_has_no_tables(measured):
    assert "|" not in page.page(measured.found)
