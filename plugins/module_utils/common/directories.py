# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Directories with the modes that they are meant to have, whatever umask root, sudo or a unit has.

os.mkdir and os.makedirs take the umask's bits away, so what they make under 027 or 077 keeps out the accounts that services run as.
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager

OPEN = 0o755


def make(path: str | os.PathLike, mode: int = OPEN) -> None:
    """Have the directory and its parents; those that were missing get the mode, those that were there keep theirs."""
    path = os.path.abspath(path)
    missing = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for one in reversed(missing):
        try:
            os.mkdir(one)
        except FileExistsError:
            continue  # another process has just made it
        os.chmod(one, mode)


def is_open(path: str) -> bool:
    """Whether everyone may enter and list a directory, which must exist."""
    return os.stat(path).st_mode & 0o005 == 0o005


def open_tree(top: str) -> None:
    """Let everyone read what lies below a directory, and execute what its owner may execute."""
    for directory, _names, files in os.walk(top):
        os.chmod(directory, stat.S_IMODE(os.stat(directory).st_mode) | OPEN)
        for name in files:
            path = os.path.join(directory, name)
            if not os.path.islink(path):
                mode = stat.S_IMODE(os.stat(path).st_mode)
                os.chmod(path, mode | (0o555 if mode & 0o100 else 0o444))


@contextmanager
def acting_as(user):
    """Act as a user, as far as files are concerned; root comes back afterwards."""
    if os.geteuid() == user.pw_uid:
        yield
        return
    groups = os.getgroups()
    os.setgroups(os.getgrouplist(user.pw_name, user.pw_gid))
    os.setegid(user.pw_gid)
    os.seteuid(user.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)
