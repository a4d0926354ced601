# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""By real files on this machine: the action plugin runs its module by a local connection."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import IS_CHECKOUT, ROOT

pytestmark = pytest.mark.skipif(not IS_CHECKOUT, reason="ansible-test has a copy without the links of a checkout")
CONTENT = bytes(range(256)) * 80000  # 20 MB: more than one part.


def fetch(tmp_path, files, *options):
    """What the task says of files below tmp_path/source."""
    given = {"path": str(tmp_path / "source"), "files": files, "dest": str(tmp_path / "target")}
    (tmp_path / "target").mkdir(exist_ok=True)
    return subprocess.run(
        [
            str(Path(sys.executable).parent / "ansible"), "localhost", "-c", "local", "-i", "localhost,",
            "-e", f"ansible_python_interpreter={sys.executable}", "-m", "utmstack.ha.backup_fetch", "-a", json.dumps(given), *options,
        ],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture
def source(tmp_path):
    (tmp_path / "source" / "part").mkdir(parents=True)
    (tmp_path / "source" / "dump.rdb").write_bytes(CONTENT)
    (tmp_path / "source" / "part" / "empty").write_bytes(b"")
    return tmp_path


SUMS = {"dump.rdb": hashlib.sha256(CONTENT).hexdigest(), "part/empty": hashlib.sha256(b"").hexdigest()}


def test_files_come_whole_in_several_parts_and_only_their_owner_can_read_them(source):
    done = fetch(source, SUMS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (source / "target" / "dump.rdb").read_bytes() == CONTENT
    assert (source / "target" / "part" / "empty").read_bytes() == b""
    assert oct((source / "target" / "dump.rdb").stat().st_mode)[-3:] == "600"


def test_another_checksum_than_the_records_is_a_failure(source):
    (source / "source" / "dump.rdb").write_bytes(CONTENT[:-1] + b"x")
    done = fetch(source, SUMS)
    assert done.returncode != 0
    assert "this backup is damaged" in done.stdout + done.stderr


@pytest.mark.parametrize("name", ["../elsewhere", "/etc/passwd", "part/../../elsewhere"])
def test_a_name_that_leads_elsewhere_is_refused(source, name):
    done = fetch(source, {name: "0"})
    assert done.returncode != 0
    assert "outside of the backup's directory" in done.stdout + done.stderr
    assert not (source / "elsewhere").exists()


def test_a_dry_run_fetches_nothing(source):
    assert fetch(source, SUMS, "--check").returncode == 0
    assert not (source / "target" / "dump.rdb").exists()
