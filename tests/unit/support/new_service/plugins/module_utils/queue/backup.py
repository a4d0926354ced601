# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a broker's directory has, copied: the first broker that has messages."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..common.backup import BackupError, checksums, directory_bytes


def take(settings: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """Copy the messages of a broker."""
    for name in settings["brokers"]:
        messages = Path(settings["home"], name, "messages")
        if messages.is_file():
            shutil.copy(messages, directory / "messages")
            return {"source": name, **inspect(directory)}
    raise BackupError("no broker has messages")


def verify(settings: Mapping[str, Any], directory: Path, scratch: Path) -> dict[str, Any]:
    """Read them in the scratch directory, and compare their number with the record's."""
    shutil.copy(directory / "messages", scratch / "messages")
    found = inspect(scratch)
    wanted = settings["record"]["manifest"]["messages"]
    if found["manifest"]["messages"] != wanted:
        raise BackupError(f"{found['manifest']['messages']} messages, where {wanted} were taken")
    return {"checks": {"messages": f"{wanted} messages"}, "point": found["point"]}


def inspect(directory: Path) -> dict[str, Any]:
    """What a copy has. Each line is a time and a message."""
    lines = (directory / "messages").read_text(encoding="utf-8").splitlines()
    return {
        "point": {"time": int(lines[-1].split()[0])},
        "bytes": directory_bytes(directory),
        "files": checksums(directory),
        "needs": [],
        "manifest": {"messages": len(lines)},
        "software": {"queue": os.uname().sysname},
    }
