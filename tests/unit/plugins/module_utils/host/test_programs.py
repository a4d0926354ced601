# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What hosts have of the collection's Python: whole folders, that need nothing but each other and Debian's own Python."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible_collections.utmstack.ha.plugins.module_utils.drill.fault import keeper
from ansible_collections.utmstack.ha.plugins.module_utils.host import programs
from host_programs import ship
from role_templates import role_variables

ROOT = Path(__file__).resolve().parents[5]
# Debian's packages that a program brings along, and what no program on a host imports of a folder that has it.
PACKAGES = {"drill/ledger": {"psycopg"}}
UNUSED = {"common/certificates.py": {"cryptography"}, "search/password_hash.py": {"bcrypt"}}
STARTED = {
    "drill/fault": ["drill.fault.keeper"],
    "drill/ledger": ["drill.ledger.ledger"],
    "redis": ["redis.start", "redis.follow"],
    "search": ["search.replicas", "search.schedule"],
}


@pytest.mark.parametrize(
    ("program", "folders"),
    [
        ("drill/fault", ["drill/fault"]),
        ("drill/ledger", ["common", "drill/ledger", "redis"]),
        ("redis", ["common", "redis"]),
        ("search", ["common", "search"]),
    ],
)
def test_a_program_brings_along_the_folders_that_its_own_imports_from_and_no_more(program, folders):
    assert programs.folders(program) == folders


def test_a_folder_is_shipped_whole_below_one_parent():
    for program in STARTED:
        folders = programs.folders(program)
        paths = [entry["path"] for entry in programs.files(program)]
        there = {path for folder in folders for path in (programs.UTILS / folder).iterdir() if path.suffix}
        assert paths == sorted(set(paths))
        assert {path.removeprefix("/usr/local/lib/utmstack-ha/python/utmstack_ha/") for path in paths} == {
            str(path.relative_to(programs.UTILS)) for path in there
        }


@pytest.mark.parametrize("program", STARTED)
def test_shipped_folders_import_each_other_relatively_and_python_but_never_ansible(program):
    folders = [programs.UTILS / folder for folder in programs.folders(program)]
    for path in (path for folder in folders for path in folder.glob("*.py")):
        name = str(path.relative_to(programs.UTILS))
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                place = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
                homes = {place if (place / f"{one.name}.py").is_file() else place.parent for one in node.names}
                assert homes <= set(folders), f"{name} imports what is not shipped with it"
            elif isinstance(node, ast.Import | ast.ImportFrom):
                modules = [node.module] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names]
                tops = {module.partition(".")[0] for module in modules}
                allowed = PACKAGES.get(program, set()) | UNUSED.get(name, set())
                assert tops - sys.stdlib_module_names <= allowed, name


@pytest.mark.parametrize(("program", "module"), [(key, one) for key, names in STARTED.items() for one in names])
def test_a_program_finds_all_that_it_imports_without_the_collection_and_site_packages(program, module, tmp_path):
    home = ship(program, tmp_path)
    command = [sys.executable, "-S", "-c", f"import utmstack_ha.{module}"]
    done = subprocess.run(command, cwd=home, env={}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_program_that_undoes_a_fault_is_where_its_timer_looks_for_it():
    assert programs.PACKAGE == keeper.PACKAGE
    assert f"{keeper.PACKAGE}/{keeper.PROGRAM.replace('.', '/')}.py" in [
        entry["path"] for entry in programs.files("drill/fault")
    ]


@pytest.mark.parametrize("role", ["redis", "elasticsearch"])
def test_what_a_program_imports_is_written_before_it_and_its_former_place_goes_afterwards(role):
    text = (ROOT / "roles" / role / "tasks" / "configure.yml").read_text()
    (files,) = (task["utmstack.ha.file_set"] for task in yaml.safe_load(text) if "utmstack.ha.file_set" in task)
    listed = " ".join(
        role_variables(role)[name] if name == "elasticsearch_master_files" else name
        for name in re.findall(r"\w+_files", files["files"])
    )
    written = re.findall(rf"{role}_(?:program|server|sentinel|housekeeping)_files", listed)
    assert written[0] == f"{role}_program_files" and len(written) > 1
    assert f"{role}_former_programs" in files["absent"]


def test_no_role_copies_python_of_the_collection_in_another_way():
    found = {str(path.relative_to(ROOT)) for path in ROOT.glob("roles/*/*/**/*.yml") if "plugins/" in path.read_text()}
    # What it runs on the controller, it runs where it lies.
    assert found == {"roles/drill/vars/main/main.yml"}
    assert "lookup('ansible.builtin.file', drill_plugins" not in (ROOT / "roles/drill/vars/main/main.yml").read_text()
