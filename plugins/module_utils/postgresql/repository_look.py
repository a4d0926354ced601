# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a backup host's repository of PostgreSQL has for a restore: backups, timelines with their births, WAL with its times, the last commit."""

from __future__ import annotations

import datetime
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..common.backup import BackupError, seconds_per_byte
from ..common.command import CommandError, run
from . import restore_plan, wal
from .pgbackrest import Repository
from .timeline import Tree, births

# What look() returns where nothing is known.
NOTHING: dict[str, Any] = {
    "faults": [], "births": {}, "timeline": 0, "set": "", "bytes": 0, "segment": "", "moment": None, "missing": [], "options": [], "exact": False,
    "seconds": None, "system_identifier": "", "version": "", "archive": "", "backups": [],
}  # fmt: skip
# In how many of the last segments a commit is looked for.
LOOKED_AT = 4
_COMMIT = re.compile(r"desc: COMMIT(?:_PREPARED)?\b[^;]*?(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?) UTC")
_HISTORY = re.compile(r"^([0-9A-F]{8})\.history$")


def tree(
    repository: Repository, archive_id: str, *known: Mapping[int, float]
) -> tuple[Tree, dict[str, float], dict[str, str]]:
    """All timelines of an archive, when it got each segment, and where each is; known: births that others have seen. Raises BackupError."""
    place = f"archive/{repository.stanza}/{archive_id}"
    names = repository.names(place)
    times: dict[str, float] = {}
    paths: dict[str, str] = {}
    born: dict[int, float] = {}
    segments: dict[int, set[int]] = {}
    histories: dict[int, str] = {}
    for name, entry in names.items():
        own, history = wal.segment(name), _HISTORY.match(name.rpartition("/")[2])
        if own:
            times[own.name()], paths[own.name()] = float(entry["time"]), f"{place}/{name}"
            segments.setdefault(own.timeline, set()).add(own.number)
        elif history:
            timeline = int(history[1], 16)
            born[timeline] = float(entry["time"])
            histories[timeline] = repository.answer("repo-get", f"{place}/{name}")
    return Tree(histories, births(born, *known), segments), times, paths


def last_commit(
    repository: Repository, segments: Iterable[str], paths: Mapping[str, str], version: str
) -> float | None:
    """The time of the last commit in these segments, newest first; None where it can't be read. It is all that `latest` brings back."""
    program = Path("/usr/lib/postgresql", version, "bin", "pg_waldump")
    if not program.exists():
        return None
    with tempfile.TemporaryDirectory(prefix="utmstack-wal-") as place:
        for name in segments:
            try:
                found = _commits(repository, paths[name], name, program, Path(place))
            except (BackupError, CommandError, OSError):
                return None
            if found is not None:
                return found
    return None


def _commits(repository, path, name, program, place):
    """The last commit of one segment, as the repository keeps it: decrypted by pgBackRest, and unpacked here."""
    packed = place / path.rpartition("/")[2]
    config = ["pgbackrest", f"--config={repository.config}", f"--stanza={repository.stanza}", "repo-get", path]
    with open(packed, "wb") as file:
        done = run_to(config, file, repository.account)
    if done:
        raise BackupError(f"pgbackrest repo-get {path} ended with {done}")
    unpack = {".gz": ["gzip", "-dc"], ".zst": ["zstd", "-dcq"], ".lz4": ["lz4", "-dcq"], ".bz2": ["bzip2", "-dc"]}.get(
        packed.suffix
    )
    plain = place / name
    if unpack:
        if not shutil.which(unpack[0]):
            raise BackupError(f"{unpack[0]} is not installed")
        with open(plain, "wb") as file:
            if run_to([*unpack, str(packed)], file, None):
                raise BackupError(f"{packed} can't be unpacked")
    else:
        packed.rename(plain)
    # It says that the next segment is not there, and ends with 1.
    told = run([str(program), "--rmgr=Transaction", str(plain)], 300, environment={"TZ": "UTC"}).stdout
    found = _COMMIT.findall(told)
    return parse_time(found[-1]) if found else None


def run_to(words: list[str], file: Any, account: str | None) -> int:
    """Run a command whose output is no text into a file; returns its exit code. Raises CommandError where it does not end."""
    options: dict[str, Any] = {}
    if account and os.geteuid() == 0:
        entry = pwd.getpwnam(account)
        groups = os.getgrouplist(account, entry.pw_gid)
        options = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": groups}
    quiet = {"stdin": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    try:
        return subprocess.run(words, stdout=file, timeout=300, check=False, **quiet, **options).returncode
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"{words[0]} did not end within 300 s") from error


def parse_time(text: str) -> float:
    """A time as pg_waldump prints it in UTC."""
    return datetime.datetime.fromisoformat(text + "+00:00").timestamp()


def look(settings: Mapping[str, Any], records: Iterable[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """The repository's half of a plan. settings: those of Repository, and to, timeline, set, births, kept. Raises BackupError."""
    repository, known = Repository(settings), list(records)
    info = repository.info()
    newest = max(info["archives"], default=0)
    archive_id = info["archives"].get(newest, "")
    backups = [one for one in info["backups"] if one["database"]["id"] == newest]
    result = {
        **NOTHING,
        "system_identifier": info["system_identifier"],
        "version": info["version"],
        "archive": archive_id,
        "backups": [
            {"label": one["label"], "stop": one["timestamp"]["stop"], "size": one["info"]["size"]} for one in backups
        ],
    }
    if not archive_id:
        return {**result, "faults": ["The repository has no WAL. See playbooks/status.yml."]}
    recorded = [{int(number): float(when) for number, when in one.get("births", {}).items()} for one in known]
    given = {int(number): float(when) for number, when in (settings.get("births") or {}).items()}
    forest, times, paths = tree(repository, archive_id, given, *recorded)
    try:
        aim = restore_plan.target(settings["to"])
    except ValueError as error:
        return {**result, "faults": [str(error)]}
    chosen = restore_plan.choose(
        aim, forest, backups, times, settings.get("kept") or (), settings.get("timeline"), settings.get("set") or ""
    )
    result |= chosen
    if chosen["segment"]:
        last = wal.segment(chosen["segment"])
        before = [wal.Segment(last.timeline, last.number - step).name() for step in range(LOOKED_AT)]
        commit = last_commit(repository, [name for name in before if name in paths], paths, info["version"])
        if commit is not None:
            result |= {"moment": commit, "exact": True}
    rate = seconds_per_byte(known)
    result["seconds"] = None if rate is None else rate * result["bytes"]
    result["births"] = {str(number): when for number, when in result["births"].items()}
    return result
