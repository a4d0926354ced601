# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""pgBackRest on a backup host: its commands, each with a limit of its own, and what they print as plain values.

Many of its commands end with 0 whatever they found, so an exit code alone is never believed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..common.backup import FAILED, UNVERIFIED, BackupError
from ..common.command import CommandError, Result, run
from . import wal

CONFIG = "/etc/pgbackrest/pgbackrest.conf"
ACCOUNT = "postgres"
# Seconds. A host that is away costs 3 x io-timeout of pgBackRest's; `check` and `info` ask several.
QUESTION_LIMIT = 300
# What exit codes mean, of pgBackRest's src/common/error.auto.c.
FILE_MISSING, HOST_CONNECT, LOCK_ACQUIRE, DB_MISSING, DB_CONNECT, NO_SPACE, ARCHIVE_TIMEOUT = 55, 49, 50, 56, 57, 64, 82
_CODES = {
    27: "it does not find what it needs of the server's data",
    29: "what the repository has is damaged",
    41: "a file can't be opened",
    42: "a file can't be read",
    HOST_CONNECT: "a PostgreSQL host does not answer",
    LOCK_ACQUIRE: "another run of pgBackRest is at work on this stanza",
    FILE_MISSING: "a file is missing",
    DB_MISSING: "no primary was found, or no standby",
    DB_CONNECT: "the server that was backed up has gone away",
    NO_SPACE: "a file could not be written; the repository may be full",
    ARCHIVE_TIMEOUT: "WAL of the backup did not reach the repository in time",
    103: "the repository is another cluster's (system identifier or version)",
}
_ERROR = re.compile(r"ERROR: \[\d+\]: (.*)")
_WARNING = re.compile(r"WARN: (.*)")
_NUMBERS = re.compile(r"([a-zA-Z][a-zA-Z ]*): (\d+)")
_BACKUP = re.compile(r"^  backup: (\S+), status: ([\w-]+)")
_ARCHIVE = re.compile(r"^  archiveId: (\S+), total WAL checked: (\d+), total valid WAL: (\d+)")


class Repository:
    """The repository of this backup host.

    settings: stanza; config, the file of its settings; account that it runs as; environment, further settings of pgBackRest.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.stanza = str(settings["stanza"])
        self.config = str(settings.get("config") or CONFIG)
        self.account = settings.get("account", ACCOUNT)
        self.environment = dict(settings.get("environment") or {})

    def call(self, command: str, *arguments: str, limit_s: float = QUESTION_LIMIT) -> Result:
        """Run a command of pgBackRest's. Raises BackupError where it can't be started or does not end in time."""
        options = [word for word in arguments if word.startswith("--")]
        what = [word for word in arguments if not word.startswith("--")]
        words = ["pgbackrest", f"--config={self.config}", f"--stanza={self.stanza}", *options, command, *what]
        try:
            return run(words, limit_s, environment=self.environment, user=self.account)
        except CommandError as error:
            raise BackupError(f"pgbackrest {command}: {error.reason}") from error

    def answer(self, command: str, *arguments: str, limit_s: float = QUESTION_LIMIT) -> str:
        """The same, of a command that must end with 0; returns what it printed."""
        done = self.call(command, *arguments, limit_s=limit_s)
        if done.rc:
            raise BackupError(failure(command, done))
        return done.stdout

    def info(self) -> dict[str, Any]:
        """What `info` says of the stanza, judged by judge()."""
        return judge(self.answer("info", "--output=json"), self.stanza)

    def names(self, path: str) -> dict[str, dict[str, Any]]:
        """The files below a path of the repository, name to {type, size, time}."""
        text = self.answer("repo-ls", "--recurse", "--output=json", path)
        try:
            return {name: entry for name, entry in json.loads(text).items() if entry["type"] == "file"}
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise BackupError(f"pgbackrest repo-ls {path} printed no list of files: {error}", UNVERIFIED) from error

    def archive(self, archive_id: str) -> tuple[list[str], dict[int, str]]:
        """The segments of an archive and the histories of its timelines, as wal.gaps() takes them."""
        place = f"archive/{self.stanza}/{archive_id}"
        segments, timelines = wal.listed(self.names(place))
        return segments, {
            timeline: self.answer("repo-get", f"{place}/{timeline:08X}.history") for timeline in timelines
        }


def judge(text: str, stanza: str) -> dict[str, Any]:
    """What `info --output=json` says of a stanza; it ends with 0 whatever that is.

    Returns {backups, oldest first, each as pgBackRest gives it; archives: by the number of the server's version in the repository, what its
    archive is called; version and system_identifier of the newest of these}. Raises BackupError where the repository can't be read (a wrong
    passphrase, no stanza, no directory).
    """
    try:
        # With a wrong passphrase, it tells of what could not be decrypted as it is, control characters and all.
        found = next(one for one in json.loads(text, strict=False) if one["name"] == stanza)
        code, message = found["status"]["code"], _status(found)
    except (ValueError, KeyError, TypeError, StopIteration) as error:
        raise BackupError(f"pgbackrest info printed nothing of stanza {stanza}", FAILED) from error
    # 2: no valid backups yet. That is for the caller to judge.
    if code not in (0, 2):
        raise BackupError(f"the repository can't be read: {message} (status code {code})")
    databases = sorted(found["db"], key=lambda one: one["id"])
    newest = databases[-1] if databases else {}
    return {
        "backups": sorted(found["backup"], key=lambda one: one["timestamp"]["stop"]),
        "archives": {one["database"]["id"]: one["id"] for one in found["archive"]},
        "version": newest.get("version", ""),
        "system_identifier": str(newest.get("system-id", "")),
    }


def _status(found) -> str:
    """The first line of what is wrong: that of the repository, which says more. It may hold what could not be decrypted."""
    texts = [repository["status"]["message"] for repository in found.get("repo", [])] + [found["status"]["message"]]
    return texts[0].splitlines()[0].rstrip(":") if texts[0] else "nothing said"


def failure(command: str, done: Result) -> str:
    """Why a command failed: the exit code, what it means, the first error that was printed, and warnings."""
    lines = (done.stderr + "\n" + done.stdout).splitlines()
    told = [found[1] for found in map(_ERROR.search, lines) if found][:1] or [done.said]
    # Why no host was usable is only a warning.
    told += [found[1] for found in map(_WARNING.search, lines) if found][:3]
    words = [_CODES.get(done.rc, ""), *dict.fromkeys(told)]
    return f"pgbackrest {command} ended with {done.rc}" + "".join(f": {text}" for text in words if text)


def faults(text: str) -> list[str]:
    """What is damaged, of what `verify --output=text --verbose` printed. Every number besides those of what is valid must be 0.

    An unfinished backup (in-progress) is neither a backup nor a damage. Raises BackupError (could not verify) for a text of another form.
    """
    found, where, stated, seen = [], "", "", 0
    for line in text.splitlines():
        archive, backup = _ARCHIVE.match(line), _BACKUP.match(line)
        if line.startswith("status: "):
            stated = line.removeprefix("status: ").strip()
        elif archive:
            seen, where = seen + 1, f"WAL of {archive[1]}"
            if archive[2] != archive[3]:
                found.append(f"{where}: {archive[3]} of {archive[2]} segments are valid")
        elif backup:
            seen, where = seen + 1, f"backup {backup[1]}"
            checked, valid = (int(number) for number in re.findall(r"total \w*\s*files\w*(?: checked)?: (\d+)", line))
            if backup[2] not in ("valid", "in-progress"):
                found.append(f"{where} is {backup[2]}, {valid} of {checked} files are valid")
        elif line.startswith("    "):
            bad = [f"{name.strip()} {number}" for name, number in _NUMBERS.findall(line) if int(number)]
            if bad:
                found.append(f"{where}: {', '.join(bad)}")
        elif line.strip() and not line.startswith("stanza: "):
            found.append(line.strip())
    if not stated or not (seen or found):
        raise BackupError("pgbackrest verify printed nothing that tells of damage", UNVERIFIED)
    if stated != "ok" and not found:
        found.append(f"pgbackrest verify says {stated}")
    return found


def verified(text: str) -> list[str]:
    """The labels of the backups that `verify` found valid."""
    return [found[1] for found in map(_BACKUP.match, text.splitlines()) if found and found[2] == "valid"]


def tuned(config: str | Path) -> str:
    """The settings of a repository without those of any server, for commands that work on a directory of this host.

    pgBackRest refuses `restore` and `archive-get` where its configuration says that the server is another host's.
    """
    lines = Path(config).read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if not re.match(r"\s*pg\d+-", line)) + "\n"
