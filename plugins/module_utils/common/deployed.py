# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is deployed of a component on a host: read by deployed.py of its folder from the files and data that the roles have left there.

Only what belongs to data counts: a host without data of a layer has nothing deployed of it, whatever its files say. Files that this
collection did not write say nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class Files:
    """A host's files below `root`. What can't be read is empty."""

    def __init__(self, root: str | Path = "/"):
        self.root = Path(root)

    def path(self, name: str) -> Path:
        return self.root / name.lstrip("/")

    def text(self, name: str) -> str:
        try:
            return self.path(name).read_text(encoding="utf-8")
        except (OSError, ValueError):
            return ""

    def ours(self, unit: str) -> bool:
        """Whether a role has written its part of a unit's settings."""
        return self.path(f"/etc/systemd/system/{unit}.d/utmstack-ha.conf").exists()


@dataclass(frozen=True)
class Host:
    """Where a component looks. given: the options of module deployed_info. run: AnsibleModule.run_command."""

    files: Files
    given: Mapping[str, Any]
    run: Callable[..., tuple[int, str, str]]


@dataclass(frozen=True)
class Deployed:
    """What a component tells.

    layers: what is known of each that has data here. passwords: whether each that could be compared is the deployed one, by its name.
    copies: the same of another component's password, by what a file here has of it; it counts where that component tells nothing.
    rotating: passwords that can change and that something here does not have alone. noted: passwords of which the host has a note, by
    which the next one can be told.
    """

    layers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    passwords: Mapping[str, bool] = field(default_factory=dict)
    copies: Mapping[str, bool] = field(default_factory=dict)
    rotating: tuple[str, ...] = ()
    noted: tuple[str, ...] = ()


def place(configured: str, wanted: str, has_data: Callable[[str], bool]) -> str:
    """Where the data are: in the wanted directory, in the one of the settings on disk, or nowhere."""
    return next((one for one in (wanted, configured) if one and has_data(one)), "")


def endpoint(url: str) -> tuple[str, int | None]:
    """Address and port of https://ADDRESS:PORT, or ADDRESS:PORT."""
    address, colon, port = url.partition("://")[2 if "://" in url else 0].rpartition(":")
    return address.strip("[]"), int(port) if colon and port.isdigit() else None


def plain(text: str) -> Any:
    """What a text means as JSON; the text where it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return text
