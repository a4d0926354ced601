# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files of a host below a directory of a test."""

from __future__ import annotations

from pathlib import Path


def write(root: Path, name: str, text: str) -> None:
    path = root / name.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def ours(root: Path, *units: str) -> Path:
    """The directory as a host whose services have our settings."""
    for unit in units:
        write(root, f"/etc/systemd/system/{unit}.service.d/utmstack-ha.conf", "")
    return root
