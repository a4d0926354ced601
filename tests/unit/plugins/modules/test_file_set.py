# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One call writes the files of several services and tells of each whether it runs with them, as a real run of Ansible."""

from __future__ import annotations

import grp
import json
import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import COLLECTIONS, ROOT

# Of systemd, a unit that is there and does not run, and one that is not there.
SYSTEMCTL = """#!/bin/sh
for unit; do :; done
case "$unit" in
  server.service) echo LoadState=loaded; echo ActiveState=inactive; echo UnitFileState=enabled ;;
  *) echo LoadState=not-found; echo ActiveState=inactive ;;
esac
"""


@pytest.fixture
def call(tmp_path):
    """Run a module of the collection on this machine: a function that returns its result."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "systemctl").write_text(SYSTEMCTL)
    (tmp_path / "bin" / "systemctl").chmod(0o755)

    def run(module, **arguments):
        done = subprocess.run(
            [Path(sys.executable).parent / "ansible", "localhost", "-c", "local", "-m", f"utmstack.ha.{module}", "-a", json.dumps(arguments)],
            env=os.environ | {
                "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
                "ANSIBLE_PYTHON_INTERPRETER": sys.executable, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0",
                "ANSIBLE_CALLBACK_RESULT_FORMAT": "json", "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            },
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout[done.stdout.index("{") :])

    return run


def owned(path, content):
    return {
        "path": str(path),
        "content": content,
        "owner": pwd.getpwuid(os.geteuid()).pw_name,
        "group": grp.getgrgid(os.getegid()).gr_name,
    }


def test_what_each_service_runs_with_is_told_when_the_files_of_all_are_written(call, tmp_path):
    server, helper = tmp_path / "server.conf", tmp_path / "helper.conf"
    arguments = {
        "files": [owned(server, "a"), owned(helper, "b")],
        "service": {"unit": "server", "restart_files": [str(server)]},
        # Its file is missing until then, which would be an error.
        "further_services": [{"unit": "helper.timer", "restart_files": [str(helper)]}],
    }
    first = call("file_set", **arguments)
    assert first["changed"] is True
    assert helper.read_text() == "b"
    assert (first["state"], first["enabled"], first["unit"]) == ("stopped", True, "server.service")
    other = first["further_services"]["helper.timer"]
    assert (other["state"], other["enabled"], other["active_state"]) == ("stopped", False, "not installed")
    again = call("file_set", **arguments)
    assert again["changed"] is False
    assert again["further_services"] == first["further_services"]


def test_a_look_at_a_nodes_data_tells_of_its_service_as_well(call, tmp_path):
    found = call(
        "elasticsearch_node_info",
        data_directory=str(tmp_path),
        first_boot_file=str(tmp_path / "first-boot"),
        cluster_file=str(tmp_path / "cluster"),
        service={"unit": "server"},
    )
    assert (found["data"], found["forming"], found["cluster_uuid"]) == (False, [], "")
    assert (found["state"], found["unit"]) == ("stopped", "server.service")
