# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which folder of module_utils may know which: the arrows of its imports go down, and in no circle."""

from __future__ import annotations

from graphlib import TopologicalSorter

from import_graph import ARROWS, FILES, FLOORS, UTILS, folder, imported


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
