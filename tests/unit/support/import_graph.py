# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which folder of module_utils imports from which, read from the files: for the test of the floors, and for the picture in docs/architecture.md."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

UTILS = Path(__file__).resolve().parents[3] / "plugins" / "module_utils"
# From top to bottom. Folders of one floor may import from each other, in no circle.
FLOORS = (
    {"drill/report", "drill/scenario"},
    {"backup", "drill/fault", "drill/ledger", "operation"},
    {"backend", "etcd", "haproxy", "host", "patroni", "postgresql", "redis", "search", "swarm", "vip"},
    {"topology"},
    {"services"},
    {"common"},
)


def imported(path: Path) -> Iterator[Path]:
    """The files of module_utils that one of them imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            place = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            for name in node.names:
                file = place / f"{name.name}.py"
                yield file if file.is_file() else place.with_suffix(".py")


def folder(path: Path) -> str:
    return str(path.parent.relative_to(UTILS))


FILES = sorted(UTILS.rglob("*.py"))
ARROWS = {(folder(path), folder(other)) for path in FILES for other in imported(path) if folder(path) != folder(other)}
