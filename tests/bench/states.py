# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the platform does for its backups while it is under load: nothing, archiving, or backups of all kinds. Each is left as it was entered."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cluster import Cluster, until
from figures import BenchError

# The kinds that the backup host pulls; the search engine takes its snapshots by itself, in all of these states.
KINDS = ("postgresql", "dump", "redis", "etcd")
# WAL that may wait while it is archived: what is closed at this moment.
WAITING = 2
RUN_S, CAUGHT_UP_S = 1800, 600


@contextmanager
def without(cluster: Cluster) -> Iterator[None]:
    """No WAL is archived. It waits on the primary and is sent afterwards, so the repository has no gap."""
    primary = cluster.primary()
    _ask(cluster, primary, "ALTER SYSTEM SET archive_command = '/bin/false'", "SELECT pg_reload_conf()")
    try:
        yield
    finally:
        _ask(cluster, primary, "ALTER SYSTEM RESET archive_command", "SELECT pg_reload_conf()")
        until(lambda: waiting(cluster) <= WAITING, CAUGHT_UP_S, "the WAL that has waited to be archived")


@contextmanager
def archiving(cluster: Cluster) -> Iterator[None]:
    """As the platform runs: each segment goes to the backup host."""
    until(lambda: waiting(cluster) <= WAITING, CAUGHT_UP_S, "the WAL to be archived")
    yield


@contextmanager
def during_backups(cluster: Cluster) -> Iterator[None]:
    """Backups of all kinds, one after the other, again and again. Raises BenchError where one failed."""
    halt, failed, done = threading.Event(), [], []

    def work() -> None:
        while not halt.is_set():
            for kind in KINDS:
                if halt.is_set():
                    return
                unit = f"utmstack-backup@{kind}.service"
                if cluster.ssh(cluster.backup, f"systemctl start {unit}", check=False, timeout=RUN_S).returncode:
                    failed.append(unit)
                    return
                done.append(kind)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        until(lambda: failed or _runs(cluster), 60, "a backup to run")
        yield
    finally:
        halt.set()
        thread.join(RUN_S)
    print(f"    {len(done)} backups meanwhile", flush=True)
    if failed:
        raise BenchError(f"{failed[0]} failed on {cluster.backup}; see its journal there.")


STATES: dict[str, Callable] = {"without": without, "archiving": archiving, "during_backups": during_backups}


def waiting(cluster: Cluster) -> int:
    """How many files of the primary wait for the archive."""
    return int(
        _ask(cluster, cluster.primary(), "SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'")
    )


def _runs(cluster: Cluster) -> bool:
    shown = cluster.ssh(cluster.backup, "systemctl is-active 'utmstack-backup@*.service'", check=False).stdout
    return "activating" in shown.split()


def _ask(cluster: Cluster, host: str, *statements: str) -> str:
    commands = " ".join(f"-c {shlex.quote(statement)}" for statement in statements)
    return cluster.ssh(
        host, f"cd / && setpriv --reuid=postgres --regid=postgres --init-groups psql -XAtq {commands}"
    ).stdout.strip()
