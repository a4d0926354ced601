# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the programs that measure have printed, as figures. Times are seconds or, where the name says so, milliseconds."""

from __future__ import annotations

import csv
import math
import re
import statistics
from collections.abc import Iterable

SLOWEST = 5
LATENCIES = ("p50_ms", "p95_ms", "p99_ms", "max_ms")
# redis-benchmark's names for them.
REDIS_LATENCIES = ("p50_latency_ms", "p95_latency_ms", "p99_latency_ms", "max_latency_ms")
SIZES = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
# systemd writes this where the kernel does not account a unit's memory.
UNSET = ("", "[not set]", str(2**64 - 1), "infinity")


class BenchError(Exception):
    """Why a figure is not to be had; printed without a traceback."""


# -- runs of Ansible --------------------------------------------------------------------------------------------------


def tasks(output: str) -> list[dict]:
    """Each task that was begun and its seconds, slowest first, of what ansible.posix.profile_tasks printed at the end."""
    _before, found, recap = output.partition("TASKS RECAP")
    if not found:
        raise BenchError("ansible.posix.profile_tasks printed no recap.")
    lines = re.findall(r"^(\S.*?) -* (\d+\.\d\d)s$", recap, re.MULTILINE)
    return [{"task": name, "seconds": float(took)} for name, took in lines]


def run(output: str, seconds: float, changed: dict[str, int]) -> dict:
    """One run of a playbook. changed: host to its changes. Its lines are those before the recap of profile_tasks."""
    found = tasks(output)
    return {
        "seconds": round(seconds, 1),
        "tasks": len(found),
        "lines": output.partition("TASKS RECAP")[0].count("\n"),
        "changed": sum(changed.values()),
        "slowest": found[:SLOWEST],
    }


# -- throughput -------------------------------------------------------------------------------------------------------


def percentile(ordered: list[float], part: float) -> float:
    """The least value that is not below `part` (0 to 1) of all of them: the nearest rank, so one that was measured."""
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]


def latencies(values_ms: Iterable[float]) -> dict:
    """p50_ms, p95_ms, p99_ms and max_ms of measured times."""
    ordered = sorted(values_ms)
    if not ordered:
        raise BenchError("nothing was answered.")
    values = [*(percentile(ordered, part) for part in (0.5, 0.95, 0.99)), ordered[-1]]
    return {name: round(value, 3) for name, value in zip(LATENCIES, values)}


def pgbench(output: str, log: Iterable[str]) -> dict:
    """One run of pgbench, of its summary and the lines of its log of transactions (microseconds in the third column)."""
    rate = re.search(r"^tps = ([\d.]+)", output, re.MULTILINE)
    failed = re.search(r"^number of failed transactions: (\d+)", output, re.MULTILINE)
    if not rate:
        raise BenchError(f"pgbench printed no rate: {output.strip()[-300:]}")
    times = [line.split()[2] for line in log]
    return {
        "rate_per_s": round(float(rate[1]), 1),
        **latencies(int(time) / 1000 for time in times if time.isdigit()),
        "errors": int(failed[1]) if failed else 0,
    }


def redis_benchmark(output: str) -> dict[str, dict]:
    """Test to its figures, of redis-benchmark --csv. It ends at the first error, so there are none where it ended well."""
    return {
        row["test"]: {
            "rate_per_s": round(float(row["rps"]), 1),
            **{name: float(row[column]) for name, column in zip(LATENCIES, REDIS_LATENCIES)},
            "errors": 0,
        }
        for row in csv.DictReader(output.splitlines())
    }


def middle(runs: list[dict]) -> dict:
    """The median of each figure of several runs; errors are added up."""
    found = {name: round(statistics.median(run[name] for run in runs), 3) for name in ("rate_per_s", *LATENCIES)}
    return found | {"errors": sum(run["errors"] for run in runs)}


def compare(path: str, host: str, runs: dict[str, list[list[dict]]]) -> list[dict]:
    """An entry for each kind of work. runs: route, or state, to its rounds, each with a figure of every work; host: who serves directly."""
    about = ("work", "unit", "users")
    entries = []
    for place, first in enumerate(next(iter(runs.values()))[0]):
        of = {
            route: [
                {name: of_round[place][name] for name in of_round[place] if name not in about} for of_round in rounds
            ]
            for route, rounds in runs.items()
        }
        entries.append(
            {"path": path, **{name: first[name] for name in about}, "host": host}
            | {route: {"median": middle(done), "runs": done} for route, done in of.items()}
        )
    return entries


# -- memory -----------------------------------------------------------------------------------------------------------


def units(shown: str) -> dict[str, dict]:
    """Unit to current_bytes and peak_bytes, of `systemctl show -p Id,MemoryCurrent,MemoryPeak`. None where not known."""
    found = {}
    for block in shown.strip().split("\n\n"):
        values = dict(line.split("=", 1) for line in block.splitlines())
        found[values["Id"].removesuffix(".service")] = {
            "current_bytes": _bytes(values.get("MemoryCurrent", "")),
            "peak_bytes": _bytes(values.get("MemoryPeak", "")),
        }
    return found


def containers(shown: str) -> dict[str, dict]:
    """Service to current_bytes, of lines "NAME|USED / LIMIT" of `docker stats`. It knows no peak."""
    found: dict[str, dict] = {}
    for line in shown.splitlines():
        name, _bar, usage = line.partition("|")
        number, unit = re.match(r"([\d.]+)([KMGT]?i?B)", usage).groups()
        service = found.setdefault(name.partition(".")[0], {"current_bytes": 0, "peak_bytes": None})
        service["current_bytes"] += round(float(number) * SIZES[unit])
    return found


def _bytes(value: str) -> int | None:
    return None if value in UNSET else int(value)


# -- the drill --------------------------------------------------------------------------------------------------------


def drill(report: dict) -> dict:
    """What a drill came to, of its report.json."""
    if report["schema"] != 1:
        raise BenchError(f"the drill's report has schema {report['schema']}, and only 1 is known.")
    of_fault = ("fault", "turns", "target_s", "outage_s", "whole_after_s", "missing", "sum_right", "lock_wait_s", "met")
    return {
        "suite": report["suite"],
        "met": report["summary"]["met"],
        "acknowledged": report["summary"]["acknowledged"],
        "missing": report["summary"]["missing"],
        "faults": [{name: fault[name] for name in of_fault} for fault in report["faults"]],
    }
