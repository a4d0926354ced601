# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The files of a stopped Redis: moved away as a safety copy, and a backup put in their place.

A server with an append-only file reads nothing else, so a backup (RDB) becomes the base of a new one, with a manifest that names it. That is how
Redis 7 and Valkey 8 keep it themselves (the documentation of persistence, "Log rewriting").
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass

COPY = "before-restore-"
FETCHED = "restore"
_TEMPORARY = re.compile(r"temp-.*\.rdb|temp-rewriteaof-.*\.aof")


@dataclass(frozen=True)
class Places:
    """Where a server has its data, in its own words: dir, appendonly, appenddirname, appendfilename, dbfilename."""

    directory: str
    append_only: bool = True
    append_directory: str = "appendonlydir"
    append_file: str = "appendonly.aof"
    database_file: str = "dump.rdb"

    def path(self, *names: str) -> str:
        return os.path.join(self.directory, *names)


def ours(name: str) -> bool:
    """Whether an entry of the data directory belongs to a restore: a safety copy, or what was fetched for one. A server does not read it."""
    return name == FETCHED or name.startswith(COPY)


def copies(directory: str) -> list[str]:
    """The names of the safety copies that lie there, oldest first."""
    return sorted(name for name in _names(directory) if name.startswith(COPY))


def data(places: Places) -> list[str]:
    """What lies there that a server would read, or has left of its writing."""
    known = {places.append_directory, places.database_file, places.append_file}
    return sorted(
        name
        for name in _names(places.directory)
        if not ours(name) and (name in known or name == f"{places.append_directory}.new" or _TEMPORARY.fullmatch(name))
    )


def move_away(places: Places, copy: str, check: bool) -> list[str]:
    """Move the data into the directory `copy` beside them; the names of what was moved. Each is renamed, which needs no room.

    Raises OSError, also where there is such a copy already: no copy is ever added to or written over.
    """
    names = data(places)
    if names and not check:
        target = places.path(copy)
        os.mkdir(target, 0o700)
        for name in names:
            os.rename(places.path(name), os.path.join(target, name))
        _sync(target)
        _sync(places.directory)
    return names


def put(places: Places, source: str, owner: tuple[int, int]) -> str:
    """Put a backup where the server reads it, whole or not at all; return the path. owner: number of the account and its group. Raises OSError."""
    if not places.append_only:
        return _placed(source, places.path(places.database_file), owner)
    fresh = places.path(f"{places.append_directory}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    os.mkdir(fresh)
    os.chmod(fresh, 0o750)
    base = f"{places.append_file}.1.base.rdb"
    _placed(source, os.path.join(fresh, base), owner)
    manifest = os.path.join(fresh, f"{places.append_file}.manifest")
    with open(manifest, "w", encoding="utf-8") as file:
        file.write(f"file {base} seq 1 type b\n")
        os.fchmod(file.fileno(), 0o640)
        os.fchown(file.fileno(), *owner)
        file.flush()
        os.fsync(file.fileno())
    os.chown(fresh, *owner)
    _sync(fresh)
    os.rename(fresh, places.path(places.append_directory))
    _sync(places.directory)
    return places.path(places.append_directory, base)


def _placed(source: str, target: str, owner: tuple[int, int]) -> str:
    """A copy of a file, without room of its own where it lies on the same file system."""
    unfinished = f"{target}.new"
    if os.path.lexists(unfinished):
        os.unlink(unfinished)
    try:
        os.link(source, unfinished)
    except OSError:
        shutil.copyfile(source, unfinished)
    os.chown(unfinished, *owner)
    os.chmod(unfinished, 0o640)
    _sync(unfinished)
    os.rename(unfinished, target)
    return target


def _names(directory: str) -> Iterable[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []


def _sync(path: str) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
