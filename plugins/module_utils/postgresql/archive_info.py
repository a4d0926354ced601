# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How far a PostgreSQL host's WAL has got into the repositories, what waits, and for how long the disk lasts for it."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..common.command import Result
from ..common.info import Question, Unanswered
from ..common.text import size, span
from . import archive, wal

DAY_S = 86400
# A turn of archive.py comes every ten seconds, and may take minutes where WAL is pushed.
SILENT_S = 900


def disk(data: str | Path, spool: str | Path, now: float) -> dict[str, Any]:
    """What lies on the disk: WAL, what of it waits for the archive and since when, free bytes, and errors of pgBackRest's last tries."""
    wal_directory = Path(data, "pg_wal")
    waiting, oldest, total = 0, None, 0
    for entry in os.scandir(wal_directory):
        if entry.is_file():
            total += entry.stat().st_size
    for entry in os.scandir(wal_directory / "archive_status"):
        if entry.name.endswith(".ready"):
            waiting += 1
            changed = entry.stat().st_mtime
            oldest = changed if oldest is None else min(oldest, changed)
    return {
        "waiting": waiting,
        "oldest_waiting_s": None if oldest is None else max(0, round(now - oldest)),
        "wal_bytes": total,
        "free_bytes": shutil.disk_usage(wal_directory).free,
        "spool_errors": spool_errors(spool),
    }


def spool_errors(spool: str | Path) -> list[str]:
    """What pgBackRest's asynchronous push says in its spool of segments that it could not send, each text once."""
    found: dict[str, None] = {}
    for path in sorted(Path(spool).glob("*.error")):
        try:
            lines = [line.strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
        except OSError:
            continue  # sent meanwhile
        # The first line is the exit code.
        found |= dict.fromkeys([" ".join(line for line in lines[1:] if line)[:300]])
    return [text for text in found if text]


def rate(samples: list[list[float]]) -> float | None:
    """Bytes of WAL a second over the samples (time, position); None where they span less than five minutes."""
    if len(samples) < 2 or samples[-1][0] - samples[0][0] < 300:
        return None
    return max(0.0, (samples[-1][1] - samples[0][1]) / (samples[-1][0] - samples[0][0]))


def behind_s(seen: Mapping[str, Any], found: Mapping[str, Any], timeout_s: int, now: float) -> int | None:
    """For how long at most the oldest write that no repository has is there, in seconds; None where nothing was archived yet.

    A segment is closed when it is full, or archive_timeout after its first write. So what waits was begun at most that long before
    the oldest of it was closed; and where nothing waits, what the archive lacks is younger than its last segment and than that time.
    """
    if found["waiting"]:
        return found["oldest_waiting_s"] + timeout_s
    archiver = seen["archiver"]
    if not archiver["archived_at"]:
        return None
    last = wal.segment(archiver["archived"] or "", seen["segment_bytes"])
    if last and wal.position(seen["position"]) <= (last.number + 1) * seen["segment_bytes"]:
        return 0
    return min(timeout_s, max(0, round(now - archiver["archived_at"])))


def fails(archiver: Mapping[str, Any]) -> bool:
    """Whether the last try to archive has failed."""
    return bool(archiver["failed_at"]) and archiver["failed_at"] > (archiver["archived_at"] or 0)


def judge(answer: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    """What is wrong, each with its remedy, as sentences."""
    limit, behind, full = settings["rpo_limit_s"], answer["behind_s"], answer["full_in_s"]
    hosts = ", ".join(settings["repositories"])
    look = f"See `journalctl -u pgbackrest` on {hosts}, and whether these hosts answer"
    found = []
    if not answer["archiving"]:
        return ["PostgreSQL does not archive its WAL. Run site.yml, or end a restart that is pending"]
    if answer["state_s"] is None or answer["state_s"] > SILENT_S:
        found.append(
            "postgresql-archive.timer has not looked after the archive for a quarter of an hour. "
            "See `journalctl -u postgresql-archive` there"
        )
    elif answer["error"]:
        found.append(f"the archive can't be looked after ({answer['error'].rstrip('.')}). {look}")
    slot = answer["slot"]
    if slot and slot["status"] == "lost":
        found.append(
            "its slot for WAL that is not archived was given up by postgresql_max_slot_wal_keep_size. Have WAL archived "
            "again; until then a lost primary may leave a gap"
        )
    if not answer["primary"]:
        return found
    if behind is None:
        found.append(f"no WAL was archived yet{_because(answer)}. {look}")
    elif behind > limit:
        found.append(
            f"the newest writes are in no repository: WAL of the last {behind} s is missing (accepted: {limit} s, "
            f"backup_rpo_limit_s){_because(answer)}. {look}"
        )
    # While WAL is archived, its disk does not fill.
    if answer["failing"] and full is not None and full < DAY_S:
        found.append(
            f"WAL fills the disk in {span(full)} at the present rate ({size(answer['free_bytes'])} free), and then PostgreSQL "
            "stops. Have it archived again, or give the data's volume more room"
        )
    if answer["gaps"]:
        found.append(
            f"WAL is missing in a repository, and no member has it any more ({'; '.join(answer['gaps'][:3])}). No restore passes "
            "it. Run playbooks/backup.yml -e kind=postgresql, which takes a full backup then"
        )
    return found


def _because(answer: Mapping[str, Any]) -> str:
    errors = answer["spool_errors"]
    return f" ({errors[0].rstrip('.')})" if errors else ""


def assemble(
    seen: Mapping[str, Any], found: Mapping[str, Any], state: Mapping[str, Any], settings: Mapping[str, Any], now: float
) -> dict[str, Any]:
    """What the module returns, of what the server (archive.LOOK), the disk and the last turn of archive.py say."""
    archiver, per_second = seen["archiver"], rate(state.get("samples", []))
    answer = {
        "archiving": seen["archiving"],
        "primary": not seen["recovery"],
        "archived": archiver["archived"] or "",
        "archived_at": archiver["archived_at"],
        "failing": fails(archiver),
        "slot": seen["slot"],
        **found,
        "rate_bytes_s": None if per_second is None else round(per_second, 1),
        "full_in_s": None if not per_second else round(found["free_bytes"] / per_second),
        "behind_s": None if seen["recovery"] else behind_s(seen, found, settings["archive_timeout_s"], now),
        "gaps": list(state.get("gaps", [])) if not seen["recovery"] else [],
        "state_s": round(now - state["time"]) if "time" in state else None,
        "error": state.get("error", ""),
    }
    problems = judge(answer, settings)
    return {**answer, "problems": problems, "healthy": not problems}


def ask(module, given: dict) -> dict:
    try:
        settings = json.loads(Path(given["settings"]).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Unanswered(f"WAL archiving is not set up on this host ({error})") from error

    def run(arguments, limit_s, environment=None):
        code, out, errors = module.run_command(
            ["runuser", "-u", "postgres", "--", *arguments], environ_update=environment or {}, cwd="/"
        )
        return Result(code, out, errors, 0.0)

    now = time.time()
    host = archive.Host(settings, run, get=lambda _url: {})
    try:
        text = host.psql(archive.LOOK)
        if not text:
            raise Unanswered("PostgreSQL does not answer")
        found = disk(settings["data"], Path(settings["spool"], "archive", settings["stanza"], "out"), now)
    except (archive.ArchiveError, OSError) as error:
        raise Unanswered(str(error)) from error
    return assemble(json.loads(text), found, archive.read(settings["state"]), settings, now)


QUESTION = Question({"settings": {"type": "path", "default": "/etc/utmstack-ha/postgresql-archive.json"}}, ask)
