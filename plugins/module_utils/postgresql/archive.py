# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a PostgreSQL host does, every few seconds, so that no WAL is missing in the repositories after its primary is lost.

`archive_mode = on` has a standby mark all WAL that it receives as archived, and drop it. Where the primary dies with WAL that no repository
has yet, that WAL would be in none for ever, and no restore could pass it, however new. So

- each member keeps a physical slot that holds WAL until all repositories have it. The primary's slot says how far that is: it moves on only
  when nothing before it is missing. The standbys move theirs after it;
- a new primary pushes what the repositories lack of the timelines before its own (`fill`);
- the primary looks every ten minutes what is missing all the same, since pgBackRest drops WAL without an error where
  archive-push-queue-max is set, and since its own `verify` says nothing of a missing segment. Such gaps are kept in the state, and told;
- an idle primary writes a few bytes where a member waits for its next record (`wake`): pg_rewind has a former primary wait for the primary's
  position at that time, which after a switch of segments lies behind the head of one in which nothing is written.

Repositories are asked by pgBackRest over TLS; none of its files is read here.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..common import https
from ..common.command import CommandError, Result
from . import wal

SLOT = "utmstack_archive"
# How often the primary looks for gaps, and for how long positions are kept, and how far apart.
LOOK_S, SAMPLES_S, SAMPLE_S = 600, 3600, 60
PSQL_S, PGBACKREST_S = 20, 180
# pgBackRest's status of a repository without a backup; and how often a push is tried while the archiver's own has the lock, with a second between.
NO_BACKUP, PUSH_TRIES = 2, 15

LOOK = """
SELECT json_build_object(
  'recovery', pg_is_in_recovery(),
  'identifier', (SELECT system_identifier::text FROM pg_control_system()),
  'segment_bytes', (SELECT bytes_per_wal_segment FROM pg_control_init()),
  'timeline', CASE WHEN pg_is_in_recovery() THEN NULL ELSE substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END,
  'position', CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
  'archiving', current_setting('archive_mode') <> 'off' AND current_setting('archive_command') LIKE 'pgbackrest %',
  'slot', (SELECT json_build_object('position', restart_lsn, 'status', wal_status)
           FROM pg_replication_slots WHERE slot_name = 'utmstack_archive'),
  'archiver', (SELECT json_build_object(
      'archived', last_archived_wal, 'archived_at', extract(epoch FROM last_archived_time), 'archived_count', archived_count,
      'failed', last_failed_wal, 'failed_at', extract(epoch FROM last_failed_time), 'failed_count', failed_count)
    FROM pg_stat_archiver))
"""
# A write of a few bytes that is flushed at once, and waits for no standby.
WAKE = "SET synchronous_commit = local; SELECT pg_logical_emit_message(true, 'utmstack_ha', 'wake')"

Run = Callable[..., Result]


class ArchiveError(Exception):
    """What keeps the archive from being looked after, as a sentence."""


class Host:
    """This host's server, its pgBackRest and its Patroni. `run` and `get` are the outside: programs, and an HTTPS GET of a URL."""

    def __init__(
        self,
        settings: Mapping[str, Any],
        run: Run,
        get: Callable[[str], Any] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ):
        self.settings, self.run, self.sleep = settings, run, sleep
        self.get = get or _getter(settings["ca"])
        self.data = Path(settings["data"])

    def psql(self, query: str, environment: Mapping[str, str] | None = None, *where: str) -> str | None:
        """What a query printed; None where no server answers. Raises ArchiveError where it refuses the query."""
        place = where or (
            "--host",
            self.settings["socket"],
            "--port",
            str(self.settings["port"]),
            "--username",
            "postgres",
        )
        command = ["psql", "-XAtqw", *place]
        try:
            done = self.run(
                [*command, "--dbname", "postgres", "--command", query],
                PSQL_S,
                environment={"PGCONNECT_TIMEOUT": "5", **(environment or {})},
            )
        except CommandError as error:
            raise ArchiveError(error.reason) from error
        if done.rc == 2:
            return None
        if done.rc:
            raise ArchiveError(f"PostgreSQL refused a query: {done.said}")
        return done.stdout.strip()

    def leader_slot(self, leader: Mapping[str, Any]) -> str:
        """How far the leader's slot is; empty where it has none, or does not answer."""
        login = {
            "PGPASSWORD": self.settings["password"],
            "PGSSLMODE": "verify-full",
            "PGSSLROOTCERT": self.settings["ca"],
        }
        query = f"SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = '{SLOT}' AND wal_status <> 'lost'"
        port = str(leader.get("port") or self.settings["port"])
        return (
            self.psql(query, login, "--host", leader["host"], "--port", port, "--username", self.settings["user"]) or ""
        )

    def pgbackrest(self, *words: str) -> Result:
        """Run it for the cluster's stanza. Raises ArchiveError where it does not end in time."""
        try:
            return self.run(["pgbackrest", f"--stanza={self.settings['stanza']}", *words], PGBACKREST_S)
        except CommandError as error:
            raise ArchiveError(error.reason) from error

    def members(self) -> list[dict[str, Any]]:
        """The cluster's members as Patroni tells; none where it does not."""
        try:
            return self.get(f"{self.settings['patroni']}/cluster").get("members", [])
        except (OSError, ValueError):
            return []

    def listed(self, repository: int) -> list[str]:
        """The names of all files in a repository's archive. Raises ArchiveError where it can't be asked."""
        stanza = self.settings["stanza"]
        done = self.pgbackrest(
            f"--repo={repository}", "--output=json", "--recurse", "repo-ls", f"archive/{stanza}/{self.archive_id}"
        )
        try:
            return names_of(done.stdout) if done.rc == 0 else _refused(f"repository {repository} was not listed", done)
        except ValueError as error:
            raise ArchiveError(
                f"pgbackrest repo-ls of repository {repository} printed no list of files: {error}"
            ) from error

    def starts(self) -> dict[int, str]:
        """Repository to the segment in which its newest full backup begins, of those that have one; also sets the name of the archive."""
        done = self.pgbackrest("--output=json", "info")
        if done.rc:
            _refused("the repositories did not tell of their backups", done)
        try:
            found = json.loads(done.stdout)
        except ValueError as error:
            raise ArchiveError(f"pgbackrest info printed no JSON: {error}") from error
        if wrong := unreadable(found):
            raise ArchiveError("; ".join(wrong))
        self.archive_id = archive_id(found)
        return newest_full(found)

    archive_id = ""

    def push(self, name: str) -> None:
        """Have a segment of this host in all repositories; one that is there already stays as it is. Raises ArchiveError."""
        for _try in range(PUSH_TRIES):
            done = self.pgbackrest("--no-archive-async", "archive-push", str(self.file(name)))
            if done.rc == 0:
                return
            # The archiver's asynchronous process, which ends when nothing is left to send.
            if "is another pgBackRest process running" not in done.stderr + done.stdout:
                break
            self.sleep(1)
        _refused(f"{name} could not be pushed", done)

    def file(self, name: str) -> Path:
        return self.data / "pg_wal" / name

    def waits(self, name: str) -> bool:
        """Whether the archiver still has it before itself."""
        return (self.data / "pg_wal" / "archive_status" / f"{name}.ready").exists()


def _refused(what: str, done: Result):
    raise ArchiveError(f"{what}: pgbackrest ended with {done.rc}, {done.said}")


def _getter(ca: str) -> Callable[[str], Any]:
    send = https.sender(ca)

    def get(url: str) -> Any:
        status, text = send("GET", url, {"Accept": "application/json"}, None, 3)
        return json.loads(text) if status == 200 else {}

    return get


# -- decisions on plain values ----------------------------------------------------------------------------------------


def names_of(listing: str) -> list[str]:
    """The names of the files of `repo-ls --output=json`. Raises ValueError for anything else."""
    return [name for name, entry in json.loads(listing).items() if entry.get("type") == "file"]


def unreadable(info: list[Mapping[str, Any]]) -> list[str]:
    """What is wrong with repositories by `info --output=json`, which ends with 0 all the same; that there is no backup yet is not."""
    return [
        f"repository {one['key']}: {' '.join(one['status']['message'].split())}"
        for one in (info[0].get("repo", []) if info else [])
        if one["status"]["code"] not in (0, NO_BACKUP)
    ]


def archive_id(info: list[Mapping[str, Any]]) -> str:
    """The directory of the archive of the present database, such as 17-1, of `info --output=json`. Raises ArchiveError where there is none."""
    databases = info[0].get("db", []) if info else []
    if not databases:
        raise ArchiveError(
            "The repositories do not know this cluster yet: its stanza is made by the play of the backup hosts"
        )
    newest = max(databases, key=lambda one: one["id"])
    return f"{newest['version']}-{newest['id']}"


def newest_full(info: list[Mapping[str, Any]]) -> dict[int, str]:
    """Repository to the segment in which its newest full backup begins, of `info --output=json`."""
    found: dict[int, tuple[float, str]] = {}
    for one in info[0].get("backup", []) if info else []:
        key, stop = one["database"]["repo-key"], one["timestamp"]["stop"]
        if one["type"] == "full" and not one.get("error") and one["archive"].get("start"):
            found[key] = max(found.get(key, (0, "")), (stop, one["archive"]["start"]))
    return {key: start for key, (_stop, start) in found.items()}


def missing(names: list[str], timeline: int, history: str, start: str, segment_bytes: int) -> list[str]:
    """What an archive lacks from a segment on, up to the newest of the timeline that is live now: names in the order of a recovery.

    names: files of the archive. history: the text of the live timeline's .history, empty on timeline 1. start: where the newest full backup
    begins; empty where there is none, and then the archive begins with its first segment. An empty archive lacks nothing yet.
    """
    segments, _histories = wal.listed(names)
    start = start or (segments[0] if segments else "")
    if not start:
        return []
    ancestors = {timeline: history} if timeline > 1 else {}
    found = wal.gaps([name for name in segments if int(name[:8], 16) <= timeline], ancestors, start, segment_bytes)
    return [name for name in found if wal.segment(name, segment_bytes)]


def archived_to(archiver: Mapping[str, Any], timeline: int, segment_bytes: int) -> int | None:
    """The position up to which the archiver has sent the live timeline; None where its last file says nothing of that."""
    last = wal.segment(archiver.get("archived") or "", segment_bytes)
    return (last.number + 1) * segment_bytes if last and last.timeline == timeline else None


def waits_for_write(members: list[Mapping[str, Any]]) -> list[str]:
    """Members whose server has started and lets nobody in yet, as a rewound one that is not consistent."""
    return [one["name"] for one in members if one.get("role") != "leader" and one.get("state") == "starting"]


def sampled(samples: list[list[float]], now: float, position: int) -> list[list[float]]:
    """The positions of the last hour, at most one a minute, with the present one where it is due. A clock that was set back begins anew."""
    kept = [one for one in samples if now - SAMPLES_S <= one[0] <= now]
    if not kept or now - kept[-1][0] >= SAMPLE_S:
        kept.append([round(now, 1), position])
    return kept


# -- one turn ---------------------------------------------------------------------------------------------------------


def turn(host: Host, state: Mapping[str, Any], now: float) -> dict[str, Any] | None:
    """Look after this member once, and return the new state; None where no server answers.

    Raises ArchiveError with a sentence. What was reached before is kept by the next turn, which looks at everything anew.
    """
    text = host.psql(LOOK)
    if not text:
        return None
    seen = json.loads(text)
    new = {**state, "version": 1, "time": now, "recovery": seen["recovery"], "error": ""}
    if state.get("identifier") not in (None, seen["identifier"]):
        new = {"version": 1, "time": now, "recovery": seen["recovery"], "error": ""}
    new["identifier"] = seen["identifier"]
    position = wal.position(seen["position"]) if seen["position"] else 0
    new["samples"] = sampled(list(new.get("samples", [])), now, position)
    if not seen["archiving"]:
        return new
    held = _slot(host, seen["slot"])
    if seen["recovery"]:
        _follow(host, held, position)
        return {**new, "position": position}
    timeline = int(seen["timeline"], 16)
    idle = position == state.get("position") and timeline == state.get("timeline")
    new |= {"position": position, "timeline": timeline}
    if idle and waits_for_write(host.members()):
        host.psql(WAKE)
    if new.get("filled") != timeline or now - new.get("looked", 0) >= LOOK_S or now < new.get("looked", 0):
        try:
            new |= _fill(host, timeline, seen["segment_bytes"], now)
        except ArchiveError as error:
            new["error"] = str(error)
    target = archived_to(seen["archiver"], timeline, seen["segment_bytes"])
    if new.get("filled") == timeline and target is not None and target > held:
        _advance(host, min(target, position))
    return new


def _slot(host: Host, slot: Mapping[str, Any] | None) -> int:
    """Have the slot, and return how far it is."""
    if slot and slot["status"] != "lost" and slot["position"]:
        return wal.position(slot["position"])
    if slot:
        host.psql(f"SELECT pg_drop_replication_slot('{SLOT}')")
    host.psql(f"SELECT pg_create_physical_replication_slot('{SLOT}', true)")
    made = host.psql(f"SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = '{SLOT}'")
    if not made:
        raise ArchiveError(f"The slot {SLOT} was made, and holds no position")
    return wal.position(made)


def _advance(host: Host, position: int) -> None:
    host.psql(f"SELECT pg_replication_slot_advance('{SLOT}', '{wal.lsn(position)}')")


def _follow(host: Host, held: int, position: int) -> None:
    """On a standby: let go what all repositories have."""
    leader = next((one for one in host.members() if one.get("role") in ("leader", "master")), None)
    reached = host.leader_slot(leader) if leader else ""
    if reached and min(wal.position(reached), position) > held:
        _advance(host, min(wal.position(reached), position))


def _fill(host: Host, timeline: int, segment_bytes: int, now: float) -> dict[str, Any]:
    """Push what repositories lack and this member still has; what becomes of the state.

    The timeline counts as filled when nothing is left that the archiver has before itself. What nobody has any more is a gap, and holds
    nothing up: a full backup ends it.
    """
    history = host.file(f"{timeline:08X}.history").read_text(encoding="utf-8") if timeline > 1 else ""
    starts = host.starts()

    def lacking() -> list[str]:
        found: dict[str, None] = {}
        for repository in range(1, len(host.settings["repositories"]) + 1):
            names = host.listed(repository)
            found |= dict.fromkeys(missing(names, timeline, history, starts.get(repository, ""), segment_bytes))
        return list(found)

    pushed = []
    for name in lacking():
        if host.file(name).exists() and not host.waits(name):
            host.push(name)
            pushed.append(name)
    left = lacking()
    waiting = [name for name in left if host.waits(name)]
    gaps = [name for name in left if name not in waiting]
    found = {"looked": now, "gaps": wal.ranges(gaps, segment_bytes)}
    if pushed:
        found["pushed"] = {"time": now, "segments": wal.ranges(pushed, segment_bytes)}
    behind = [name for name in waiting if int(name[:8], 16) < timeline]
    return found if behind else {**found, "filled": timeline}


# -- the program ------------------------------------------------------------------------------------------------------


def read(path: str | Path) -> dict[str, Any]:
    """The state of the last turn; empty where there is none that can be read, since all of it is found anew."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and found.get("version") == 1 else {}


def write(path: str | Path, state: Mapping[str, Any]) -> None:
    """Replace the state in one piece."""
    new = Path(f"{path}.new")
    new.write_text(json.dumps(state) + "\n", encoding="utf-8")
    os.chmod(new, 0o644)
    os.replace(new, path)


def main(settings: Mapping[str, Any], run: Run, get: Callable[[str], Any] | None = None) -> str:
    """One turn with the state on disk; returns what is wrong, empty where nothing is."""
    state = read(settings["state"])
    try:
        new = turn(Host(settings, run, get), state, time.time())
    except (ArchiveError, wal.WalError, OSError) as error:
        new = {**state, "version": 1, "time": time.time(), "error": str(error)}
    if new is None:
        return ""
    write(settings["state"], new)
    return new["error"]
