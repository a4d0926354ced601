# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which folder of module_utils may know which: the arrows of its imports go down, and in no circle."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
UTILS = ROOT / "plugins" / "module_utils"
# From top to bottom. Folders of one floor may know each other, in no circle.
FLOORS = (
    {"drill/report", "drill/scenario"},
    {"drill/fault", "drill/ledger", "operation"},
    {"backend", "etcd", "haproxy", "host", "patroni", "postgresql", "redis", "search", "swarm", "vip"},
    {"topology"},
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


def test_every_file_is_in_the_folder_of_a_component():
    assert [path.name for path in UTILS.iterdir() if path.is_file()] == []
    assert {folder(path) for path in FILES} == set().union(*FLOORS)


def test_every_import_finds_its_file():
    missing = {(str(path), str(other)) for path in FILES for other in imported(path) if not other.is_file()}
    assert not missing


def test_no_folder_knows_one_above_it():
    floor = {name: number for number, names in enumerate(FLOORS) for name in names}
    assert not {(one, other) for one, other in ARROWS if floor[one] > floor[other]}


def test_no_folders_know_each_other_in_a_circle():
    graph: dict[str, set[str]] = {}
    for one, other in ARROWS:
        graph.setdefault(one, set()).add(other)
    TopologicalSorter(graph).prepare()


def test_utilities_name_each_other_by_relative_imports():
    """A folder that is copied to a host has another parent there."""
    for path in FILES:
        assert "ansible_collections" not in path.read_text(), path
