# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files that belong together: all are compared, then judged as a whole, then written, each in one piece."""

from __future__ import annotations

import grp
import os
import pwd
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass

from ..common import directories


@dataclass(frozen=True)
class Entry:
    """A file, or with content None a directory, as it should be. `mode` is a number, as in 0o644."""

    path: str
    content: bytes | None = None
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"
    secret: bool = False


@dataclass(frozen=True)
class Found:
    """What is at a path now; a missing path has no mode."""

    content: bytes | None = None
    mode: int | None = None
    owner: str = ""
    group: str = ""


def mode_of(text: str | int) -> int:
    """Return the number of a mode such as "0644". Raises ValueError for anything but an octal number up to 7777."""
    mode = int(str(text), 8)
    if not 0 <= mode <= 0o7777:
        raise ValueError(f"{text!r} is no file mode")
    return mode


def look(path: str) -> Found:
    """Return what is at path. A directory has no content."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return Found()
    content = None
    if not stat.S_ISDIR(status.st_mode):
        with open(path, "rb") as file:
            content = file.read()
    return Found(content, stat.S_IMODE(status.st_mode), _user(status.st_uid), _group(status.st_gid))


def differs(wanted: Entry, found: Found) -> bool:
    """Return whether path must be touched at all."""
    now = (found.content, found.mode, found.owner, found.group)
    return now != (wanted.content, wanted.mode, wanted.owner, wanted.group)


def difference(wanted: Entry, found: Found) -> dict[str, str]:
    """Return what `--diff` shows for an entry that differs. A secret's content is never part of it."""
    attributes = [
        f"{name}: {before or 'absent'} -> {after}"
        for name, before, after in (
            ("mode", None if found.mode is None else f"{found.mode:04o}", f"{wanted.mode:04o}"),
            ("owner", found.owner, wanted.owner),
            ("group", found.group, wanted.group),
        )
        if before != after
    ]
    shown = {
        "before_header": wanted.path,
        "after_header": wanted.path + (f" ({', '.join(attributes)})" if attributes else ""),
    }
    if wanted.content is None or wanted.content == found.content:
        return {"prepared": f"{wanted.path} ({', '.join(attributes)})\n"}
    if wanted.secret:
        return {"prepared": f"{shown['after_header']}: the content changes, and is secret\n"}
    return {
        **shown,
        "before": (found.content or b"").decode("utf-8", "replace"),
        "after": wanted.content.decode("utf-8", "replace"),
    }


def tolerable(output: str, patterns: Iterable[str]) -> bool:
    """Return whether a failed command has said something, and nothing but what one of the patterns matches, line by line."""
    lines = [line for line in output.splitlines() if line.strip()]
    return bool(lines) and all(any(re.match(pattern, line) for pattern in patterns) for line in lines)


def stage(entries: Iterable[Entry], directory: str) -> dict[str, str]:
    """Write the new files into a private directory. Returns their final paths, each with the path of the new version."""
    staged = {}
    for number, entry in enumerate(entries):
        place = os.path.join(directory, str(number))
        os.mkdir(place, 0o700)
        staged[entry.path] = os.path.join(place, os.path.basename(entry.path))
        with open(os.open(staged[entry.path], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(entry.content or b"")
        os.chmod(staged[entry.path], entry.mode & 0o700)
    return staged


def install(entry: Entry) -> None:
    """Make the path as it should be. A file is complete under its name or not there at all, also after a power loss."""
    path = os.path.realpath(entry.path)
    owner, group = pwd.getpwnam(entry.owner).pw_uid, grp.getgrnam(entry.group).gr_gid
    if entry.content is None:
        directories.make(path)
        os.chown(path, owner, group)
        os.chmod(path, entry.mode)
        return
    directory = os.path.dirname(path)
    directories.make(directory)
    handle, temporary = tempfile.mkstemp(prefix=".ansible-", dir=directory)
    try:
        with open(handle, "wb") as file:
            file.write(entry.content)
            file.flush()
            os.fchown(handle, owner, group)
            os.fchmod(handle, entry.mode)
            os.fsync(handle)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def remove(path: str) -> None:
    """Remove a file, a link, or a directory with all that is in it."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
