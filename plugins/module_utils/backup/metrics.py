# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is known of the backups in the text format of Prometheus, for node_exporter's textfile collector."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_VALUES = {"ok": 0, "failed": 1, "unknown": 2}
FILE = "utmstack_backup.prom"
_HELP = {
    "last_success_timestamp_seconds": "Up to when the newest good backup has everything",
    "last_verified_timestamp_seconds": "The same of the newest backup that was restored for a test and found good",
    "verdict": "Of the last run: 0 ok, 1 failed, 2 unknown",
    "size_bytes": "Size of the newest good backup",
    "duration_seconds": "How long the last good run took",
    "repository_free_bytes": "Free room where the backups are",
    "up": "Whether the repository could be looked at",
}


def text(
    rows: Iterable[Mapping[str, Any]],
    free: int | None,
    more: Mapping[str, Mapping[str, float]] | None = None,
    copy: Mapping[str, Any] | None = None,
) -> str:
    """Return the metrics of these kinds.

    copy: how the remote copy stands, empty where there is none. more: what guards of kinds have measured: name to labels (as in `{host="node1"}`) to value.
    """
    found: dict[str, list[tuple[str, float]]] = {name: [] for name in _HELP}
    for row in rows:
        kind = f'kind="{row["kind"]}"'
        for name, key in (
            ("last_success_timestamp_seconds", "point"),
            ("last_verified_timestamp_seconds", "verified"),
            ("size_bytes", "bytes"),
        ):
            if row[key] is not None:
                found[name].append((kind, row[key]))
        for act, key in (("take", "seconds"), ("verify", "verify_seconds")):
            found["verdict"].append((f'{kind},act="{act}"', _VALUES[row[act]]))
            if row[key] is not None:
                found["duration_seconds"].append((f'{kind},act="{act}"', row[key]))
    if copy:
        own = 'kind="copy"'
        found["verdict"].append((f'{own},act="copy"', _VALUES[copy["copy"]]))
        for name, key, labels in (
            ("last_success_timestamp_seconds", "point", own),
            ("size_bytes", "bytes", own),
            ("duration_seconds", "seconds", f'{own},act="copy"'),
        ):
            if copy[key] is not None:
                found[name].append((labels, copy[key]))
    if free is not None:
        found["repository_free_bytes"].append(("", free))
    found["up"].append(("", int(free is not None)))
    lines = []
    for name, values in found.items():
        if values:
            lines += [f"# HELP utmstack_backup_{name} {_HELP[name]}.", f"# TYPE utmstack_backup_{name} gauge"]
        lines += [_line(name, f"{{{labels}}}" if labels else "", value) for labels, value in values]
    for name, measured in (more or {}).items():
        lines.append(f"# TYPE utmstack_backup_{name} gauge")
        lines += [_line(name, labels, value) for labels, value in measured.items()]
    return "".join(f"{line}\n" for line in lines)


def _line(name: str, labels: str, value: float) -> str:
    return f"utmstack_backup_{name}{labels} {value:.15g}"


def write(directory: str | Path, content: str) -> bool:
    """Replace the file of the metrics in one piece, where the collector's directory exists. Returns whether it does. Raises OSError."""
    place = Path(directory)
    if not directory or not place.is_dir():
        return False
    fresh = place / f".{FILE}.{os.getpid()}"
    try:
        fresh.write_text(content, encoding="utf-8")
        fresh.chmod(0o644)
        os.replace(fresh, place / FILE)
    finally:
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()
    return True
