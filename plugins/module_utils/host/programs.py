# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The Python that programs on hosts import: folders of module_utils, shipped whole, below one parent package.

Without the parent, `redis` or `patroni` would hide Debian's modules of these names. Shipped folders import relatively, so they do not
know what their parent is called, and never Ansible, which a host need not have.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

HOME = "/usr/local/lib/utmstack-ha/python"
PACKAGE = f"{HOME}/utmstack_ha"
UTILS = Path(__file__).resolve().parents[1]
# What is run on hosts, with all folders that it imports from.
FOLDERS = {
    "drill_fault": ("drill/fault",),
    "drill_ledger": ("common", "drill/ledger", "redis"),
    "redis": ("common", "redis"),
    "search": ("common", "search"),
}


def files(program: str) -> list[dict[str, str]]:
    """Return the files of what a program imports, each with its path on a host and its content. Raises KeyError."""
    return [{"path": f"{PACKAGE}/{name}", "content": content} for name, content in _files(program)]


@cache
def _files(program):
    paths = [path for folder in FOLDERS[program] for path in sorted((UTILS / folder).glob("*.py"))]
    return [(path.relative_to(UTILS), path.read_text(encoding="utf-8")) for path in paths]
