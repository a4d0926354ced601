# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The Python that programs on hosts import: folders of module_utils, shipped whole, below one parent package.

Without the parent, `etcd` or `patroni` would hide Debian's modules of these names. Shipped folders import relatively, so they do not
know what their parent is called, and never Ansible, which a host need not have.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

HOME = "/usr/local/lib/utmstack-ha/python"
PACKAGE = f"{HOME}/utmstack_ha"
UTILS = Path(__file__).resolve().parents[1]
# `from ..common.info import …`: two dots are the folder above, each further one that above it.
_OTHER_FOLDER = re.compile(r"^from \.(\.+)([\w.]+) import ", re.MULTILINE)


def folders(program: str) -> list[str]:
    """Return the folder that a program is in, with all folders that it imports from. Raises KeyError where there is no such folder."""
    found, new = set(), {program}
    while new:
        folder = new.pop()
        found.add(folder)
        new |= _imports(folder) - found
    return sorted(found)


def _imports(folder: str) -> set[str]:
    place = UTILS / folder
    if not any(place.glob("*.py")):
        raise KeyError(folder)
    found = set()
    for path in place.glob("*.py"):
        for dots, name in _OTHER_FOLDER.findall(path.read_text(encoding="utf-8")):
            other = path.parents[len(dots)].joinpath(*name.split("."))
            found.add(str((other if other.is_dir() else other.parent).relative_to(UTILS)))
    return found


def files(program: str) -> list[dict[str, str]]:
    """Return the files of what a program imports, each with its path on a host and its content. Raises KeyError as folders() does."""
    return [{"path": f"{PACKAGE}/{name}", "content": content} for name, content in _files(program)]


@cache
def _files(program):
    paths = [path for folder in folders(program) for path in sorted((UTILS / folder).glob("*.py"))]
    return [(path.relative_to(UTILS), path.read_text(encoding="utf-8")) for path in paths]
