# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""bench.py: the project's own figures, of a lab whose hosts are fresh. Writes tests/output/bench.json and bench.md.

What fails is told, and does not cost the figures of the rest; the exit code is then 1. See docs/bench.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "testinfra"))

import figures  # noqa: E402
import loads  # noqa: E402
import states  # noqa: E402
from ansible.release import __version__ as ansible_version  # noqa: E402
from cluster import BACKED_UP, PLAIN, ROOT, UNITS, Cluster, changes, everywhere, until  # noqa: E402
from figures import BenchError  # noqa: E402
from page import page  # noqa: E402

SCHEMA = 1
OUTPUT = ROOT / "tests" / "output"
# Name to the arguments of a run; the first is on fresh hosts, and nothing else can be measured without it.
# Each task's time at the end of a run; the rest is printed as a person sees it.
PROFILED = {
    "ANSIBLE_CALLBACKS_ENABLED": "utmstack.ha.progress,ansible.posix.profile_tasks",
    "PROFILE_TASKS_SUMMARY_ONLY": "true",
    "PROFILE_TASKS_TASK_OUTPUT_LIMIT": "all",
}
RUNS = {"converge": (), "no_op": (), "check": ("--check",)}
PATHS = {"postgresql": loads.postgresql, "redis": loads.redis, "elasticsearch": loads.elasticsearch, "api": loads.api}


class Bench:
    """What was measured so far, in the shape of bench.json."""

    def __init__(self, cluster: Cluster, settings: dict):
        OUTPUT.mkdir(parents=True, exist_ok=True)
        self.cluster = cluster
        self.found = {
            "schema": SCHEMA, "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "commit": commit(),
            "ansible": ansible_version, "machine": machine(), "hosts": list(cluster.hosts), "settings": settings,
            "runs": {}, "throughput": [], "cost": [], "memory": [], "drill": None, "failed": {},
        }  # fmt: skip

    def step(self, name: str, measure: Callable[..., None], *arguments) -> bool:
        """Measure one thing, say how long it took, keep why it failed."""
        started, why = time.monotonic(), ""
        print(f"==> {name}", flush=True)
        try:
            measure(*arguments)
        except Exception as error:
            why = str(error) if isinstance(error, (BenchError, AssertionError)) else f"{type(error).__name__}: {error}"
            self.found["failed"][name] = why = " ".join(why.split())[:500]
        took = f"{time.monotonic() - started:.0f} s"
        print(f"    {name}: {f'FAILED after {took}: {why}' if why else f'took {took}'}", flush=True)
        self.write()
        return not why

    def write(self) -> None:
        """After each step, so that a bench that is killed leaves what it has."""
        (OUTPUT / "bench.json").write_text(json.dumps(self.found, indent=2, ensure_ascii=False) + "\n")
        (OUTPUT / "bench.md").write_text(page(self.found))

    def playbook(self, name: str, *arguments: str) -> tuple[str, float, int]:
        """Run ansible-playbook, saying which play begins; what it printed, the seconds, its exit code."""
        command = ["ansible-playbook", "-i", str(self.cluster.inventory), *arguments]
        log = OUTPUT / f"bench-{name}.log"
        print(f"    {shlex.join(command)} > {log.relative_to(ROOT)}", flush=True)
        started, lines = time.monotonic(), []
        with (
            log.open("w") as file,
            subprocess.Popen(
                command, cwd=ROOT, env=os.environ | PLAIN | PROFILED, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            ) as process,
        ):  # fmt: skip
            for line in process.stdout:
                file.write(line)
                lines.append(line)
                if line.startswith("PLAY ["):
                    print(f"    {time.monotonic() - started:4.0f} s  {line.split(' *')[0]}", flush=True)
        return "".join(lines), time.monotonic() - started, process.returncode

    def run(self, name: str) -> None:
        output, took, code = self.playbook(name, "site.yml", *RUNS[name])
        if code:
            raise BenchError(f"site.yml ended with {code}; see tests/output/bench-{name}.log.")
        self.found["runs"][name] = figures.run(output, took, changes(output))

    def throughput(self, path: str) -> None:
        """The same work by both routes in turn, so that what else the machine does meets both."""
        settings = self.found["settings"]
        runs: dict[str, list[list[dict]]] = {"vip": [], "direct": []}
        with PATHS[path](self.cluster) as target:
            for number in range(settings["repeat"]):
                for route, done in runs.items():
                    print(f"    {number + 1} of {settings['repeat']}: {route}", flush=True)
                    done.append(target.run(*getattr(target, route), settings["seconds"]))
            self.found["throughput"] += figures.compare(path, target.host, runs)

    def cost(self, path: str) -> None:
        """The same work through the virtual IP while the platform does nothing, less or more for its backups, in turn."""
        settings = self.found["settings"]
        runs: dict[str, list[list[dict]]] = {state: [] for state in states.STATES}
        with PATHS[path](self.cluster) as target:
            for number in range(settings["repeat"]):
                for state, enter in states.STATES.items():
                    print(f"    {number + 1} of {settings['repeat']}: {state}", flush=True)
                    with enter(self.cluster):
                        runs[state].append(target.run(*target.vip, settings["seconds"]))
        self.found["cost"] += figures.compare(path, target.host, runs)

    def memory(self) -> None:
        names = " ".join((*UNITS, "containerd"))
        shown = everywhere(self.cluster, f"systemctl show -p Id,MemoryCurrent,MemoryPeak {names}")
        inside = everywhere(self.cluster, "docker stats --no-stream --format '{{.Name}}|{{.MemUsage}}'")
        self.found["memory"] = [
            {"host": host, "service": service, **used}
            for host in self.cluster.hosts
            for service, used in (figures.units(shown[host]) | figures.containers(inside[host])).items()
        ]

    def drill(self, scenario: str) -> None:
        """The drill fails where it lost something or had to end; what it measured counts all the same."""
        directory = OUTPUT / "bench-drill"
        before = set(directory.glob("*/report.json"))
        settings = json.dumps({"scenario": scenario, "drill_output": str(directory)})
        _output, _took, code = self.playbook("drill", "playbooks/drill.yml", "-e", settings)
        reports = sorted(set(directory.glob("*/report.json")) - before)
        if reports:
            self.found["drill"] = figures.drill(json.loads(reports[-1].read_text()))
        if code or not reports:
            raise BenchError(f"playbooks/drill.yml ended with {code}; see tests/output/bench-drill.log.")


def machine() -> dict:
    """Where everything runs, the hosts of the lab too."""
    return {
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "load_at_start": os.getloadavg()[0],
    }


def commit() -> str:
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return described.stdout.strip() or "unknown"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", default="short", help="what the drill does, or none")
    parser.add_argument("--seconds", type=float, default=10, help="how long each load lasts (Redis: 20000 requests)")
    parser.add_argument("--repeat", type=int, default=3, help="how often each load is done by each route")
    parser.add_argument(
        "--backups", action="store_true", help="what backups cost, on the lab of molecule/backup, and nothing else"
    )
    settings = vars(parser.parse_args())
    cluster = Cluster(BACKED_UP) if settings["backups"] else Cluster()
    bench = Bench(cluster, settings)
    deployed = bench.step("converge", bench.run, "converge")
    if deployed and settings["backups"]:
        bench.step("configuration", cluster.open_configuration)
        bench.step("status", until, cluster.status_is_ok, 180, "a whole platform")
        for path in PATHS:
            bench.step(path, bench.cost, path)
    elif deployed:
        bench.step("no_op", bench.run, "no_op")
        bench.step("check", bench.run, "check")
        bench.step("status", until, cluster.status_is_ok, 180, "a whole platform")
        for path in PATHS:
            bench.step(path, bench.throughput, path)
        bench.step("memory", bench.memory)
        if settings["scenario"] != "none":
            bench.step("drill", bench.drill, settings["scenario"])
    print(f"\n{page(bench.found)}\n{OUTPUT.relative_to(ROOT)}/bench.json, bench.md", flush=True)
    if bench.found["failed"]:
        print(f"bench: not measured, or not all of it: {', '.join(bench.found['failed'])}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
