# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""drill_sample.py DIRECTORY: a drill's directory as a drill leaves it, by the real ledger against doubles, in no time.

The figures are made up, near those of real drills.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

if __name__ == "__main__":
    __import__("conftest")

from ansible_collections.utmstack.ha.plugins.module_utils.drill.ledger import ledger as drill_ledger
from ansible_collections.utmstack.ha.plugins.module_utils.drill.ledger.judge import judge
from ansible_collections.utmstack.ha.plugins.module_utils.drill.ledger.records import Book, Ledger
from drill_stores import KINDS, MEMBERS, Store, Time

BEGAN, RATE, INJECTED = 1_763_000_000.0, 20, 10.0
DRILL = {
    "schema": 1, "cluster": "utmstack", "began": "2025-11-13T02:13:20Z", "suite": "default",
    "hosts": ["node1", "node2", "node3"], "machine": "lab: 3 containers, 2 cores, 7.8 GiB", "profile": "profile normal",
    "targets": {
        "postmaster_kill": 4, "haproxy_kill": 1, "redis_partition": 5, "elasticsearch_stop": 6,
        "leader_of_all_off": {"postgresql": 26, "elasticsearch": 20, "redis": 5, "api": 30},
    },
    "rto_limit_s": 300, "rpo_limit_s": 60,
}  # fmt: skip
TEXTS = {
    "postmaster_kill": "PostgreSQL's postmaster is killed (SIGKILL)",
    "haproxy_kill": "HAProxy of the virtual IP's holder is killed (SIGKILL)",
    "redis_partition": "The Redis master is cut off from its peers, one client with it",
    "elasticsearch_stop": "Elasticsearch's elected master is frozen (SIGSTOP)",
    "leader_of_all_off": "The host that leads everything loses its power",
}
# Fault -> path -> (seconds until it serves again, whether its host is silent rather than refusing).
AWAY = {
    "postmaster_kill": {"postgresql": (1.6, False), "api": (1.8, False)},
    "haproxy_kill": {"postgresql": (0.4, False), "elasticsearch": (0.4, False), "api": (0.4, False)},
    "redis_partition": {"redis": (3.2, True), "api": (3.3, False)},
    "elasticsearch_stop": {"elasticsearch": (8.4, True), "api": (8.4, True)},
    "leader_of_all_off": {
        "postgresql": (22.3, True), "elasticsearch": (11.5, True), "redis": (3.9, True), "api": (22.5, True),
        "bank": (22.6, True),
    },
}  # fmt: skip
LEADS = {
    "postmaster_kill": ("postgresql",), "redis_partition": ("redis",), "elasticsearch_stop": ("elasticsearch",),
    "leader_of_all_off": ("postgresql", "etcd", "redis", "elasticsearch", "vip"),
}  # fmt: skip
TURNS = ["postmaster_kill"] * 3 + ["haproxy_kill", "redis_partition", "elasticsearch_stop", "leader_of_all_off"]


def path_of(kind: str, fault: str, time: Time, chance: random.Random):
    """One path whose store is away for a while after the fault."""
    away, silent = AWAY[fault].get(kind, (0.0, False))
    away *= chance.uniform(0.85, 1.1)
    # A cut-off master serves the client that is cut off with it for a while, and loses that.
    partition = (kind, fault) == ("redis", "redis_partition")
    begin = INJECTED + (1.6 if partition else 0)
    lost = set(range(int(INJECTED * RATE), int(begin * RATE))) if partition else set()

    def meets(number: int) -> str:
        time.now += chance.uniform(0.002, 0.015)
        if not begin <= time.now < begin + away:
            return ""
        time.now += 2.0 if silent else 0.02
        return "down"

    return KINDS[kind](Store(meets, lacks=dict.fromkeys(MEMBERS, lost)))


def turn(out: Path, number: int, fault: str, chance: random.Random) -> None:
    """One turn's directory."""
    directory, began = out / f"{number:02}-{fault}", BEGAN + 300 * number
    longest = max(away for away, _silent in AWAY[fault].values())
    length, verdicts = INJECTED + longest * 1.1 + 30, {}
    for kind in KINDS:
        time = Time(length)
        path = path_of(kind, fault, time, chance)
        file = str(directory / "ledger" / f"{kind}.jsonl")
        book = Book(file)
        book.start(began, f"d{number}", RATE)
        drill_ledger.work(path, book, RATE, time.clock, time)
        time.now = length
        verdicts[kind] = judge(path, Ledger(file), began + INJECTED)
    marks = [
        (0.0, "injected", f"{TEXTS[fault]}, on node1"),
        (0.3, "effect", "it no longer answers"),
        (longest + 8, "undone", "the host takes part again"),
        (longest + 22.4, "whole", "every member is back and in step"),
    ]
    (directory / "marks.jsonl").write_text(
        "".join(json.dumps({"at": began + INJECTED + t, "what": what, "text": text}) + "\n" for t, what, text in marks)
    )
    services = ("postgresql", "etcd", "redis", "elasticsearch", "vip")
    before, taken = dict.fromkeys(services, "node1"), dict.fromkeys(LEADS.get(fault, ()), "node2")
    leaders = [{"at": began + t} | before for t in range(11)]
    if taken:
        leaders.append({"at": began + 10.5} | before | dict.fromkeys(taken))
    leaders += [{"at": began + t} | before | taken for t in range(int(INJECTED + longest), int(length))]
    noted = {
        "fault": fault, "text": TEXTS[fault], "target": {"role": "leader", "service": fault.split("_")[0], "host": "node1"},
        "repeat": number, "leaders_before": before, "leaders_after": before | taken, "leaders": leaders, "stopped": None,
        "expected_loss_s": 3 if fault == "redis_partition" else 0,
        "expected_loss_why": "A cut-off master takes writes until min-replicas-max-lag has passed."
        if fault == "redis_partition" else "",
    }  # fmt: skip
    (directory / "turn.json").write_text(json.dumps(noted))
    (directory / "verdict.json").write_text(json.dumps(verdicts))


def make(out: Path) -> Path:
    """The whole directory; returns it."""
    chance = random.Random(7)
    for number, fault in enumerate(TURNS, 1):
        turn(out, number, fault, chance)
    (out / "drill.json").write_text(json.dumps(DRILL))
    return out


if __name__ == "__main__":
    make(Path(sys.argv[1]))
