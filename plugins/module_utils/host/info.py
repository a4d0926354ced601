# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a host is: its system, packages, units and files."""

from __future__ import annotations

import os
import time
from pathlib import Path

from ..common.info import Question
from ..postgresql import data as postgresql_data
from . import facts as host
from . import freshness, packages

UNIT_PROPERTIES = "Id,LoadState,ActiveState,ExecMainStartTimestamp"


def read(path: str | Path) -> str:
    """A file's text; empty when it can't be read."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""


def output(module, command: list[str]) -> str:
    """What a command printed; empty when there is no such program. dpkg-query fails for one unknown package among many."""
    program = module.get_bin_path(command[0])
    return module.run_command([program, *command[1:]])[1] if program else ""


def interrupted(module) -> bool:
    """Whether packages are half installed or not set up, dpkg's journal is not empty, or a policy of ours was left behind.

    Only root may see all of it; nobody else installs packages.
    """
    journal = Path("/var/lib/dpkg/updates")
    waiting = journal.is_dir() and os.access(journal, os.R_OK) and any(journal.iterdir())
    return waiting or packages.left_over() or bool(output(module, ["dpkg", "--audit"]).strip())


def kernel_settings(names: list[str]) -> dict[str, str]:
    values = {name: read(Path("/proc/sys") / name.replace(".", "/")).strip() for name in names}
    return {name: " ".join(value.split()) for name, value in values.items() if value}


def public_key(module, path: str | None) -> str:
    if not path or not Path(path).exists():
        return ""
    return output(module, ["openssl", "pkey", "-in", path, "-pubout"])


def answer(module, given: dict) -> dict:
    wanted = given["packages"]
    query = ["dpkg-query", "--show", "--showformat", packages.QUERY_FORMAT, *wanted]
    found = packages.parse_query(output(module, query)) if wanted else {}
    show = ["systemctl", "show", "--timestamp=unix", f"--property={UNIT_PROPERTIES}", *given["units"]]
    system = host.os_release(read("/etc/os-release"))
    return {
        "distribution": system.get("ID", ""),
        "distribution_version": system.get("VERSION_ID", ""),
        "release": given["releases"].get(system.get("VERSION_ID", ""), {}),
        "memory_mb": host.memory_mb(read("/proc/meminfo")),
        "container": Path("/run/systemd/container").exists() or Path("/.dockerenv").exists(),
        "interfaces": host.interfaces(output(module, ["ip", "-json", "address"])),
        "clock_synchronised": host.clock_synchronised(),
        "time": time.time(),
        "interrupted_packages": interrupted(module),
        "missing_packages": host.missing_packages(wanted, found),
        "held_packages": [name for name in wanted if found.get(name, {}).get("held")],
        "kernel_settings": kernel_settings(given["kernel_settings"]),
        "ipv6": Path("/proc/sys/net/ipv6").is_dir(),
        "texts": {path: read(path) for path in given["texts"]},
        "public_key": public_key(module, given["private_key"]),
        "units": host.units(output(module, show)) if given["units"] else {},
        "postgresql_data": postgresql_data.in_use(given["patroni_config"] or os.devnull),
        "booted": host.booted(freshness.Proc()),
    }


QUESTION = Question(
    {
        "packages": {"type": "list", "elements": "str", "default": []},
        "kernel_settings": {"type": "list", "elements": "str", "default": []},
        "texts": {"type": "list", "elements": "path", "default": []},
        "private_key": {"type": "path", "no_log": False},
        "units": {"type": "list", "elements": "str", "default": []},
        "releases": {"type": "dict", "default": {}},
        "patroni_config": {"type": "path"},
    },
    answer,
)
