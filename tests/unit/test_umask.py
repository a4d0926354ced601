# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is installed under a strict umask of root or sudo can be read by the accounts that services run as."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import re
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.utmstack.ha.plugins.module_utils.common import directories
from ansible_collections.utmstack.ha.plugins.module_utils.host import file_set
from ansible_collections.utmstack.ha.plugins.module_utils.search import archive
from ansible_collections.utmstack.ha.plugins.modules import (
    elasticsearch_archive,
    postgresql_switchover,
    redis_config,
    shared_directory,
)
from archives import FILES, checksum, make_tar, make_zip

ROOT = Path(__file__).resolve().parents[2]
ME, MY_GROUP = pwd.getpwuid(os.geteuid()), grp.getgrgid(os.getegid()).gr_name
# Makes a directory that only root or the service's own account is to enter, or in a place that was just made with a mode of its own.
PRIVATE = {
    "action/backup_fetch.py",
    "action/secrets.py",
    "module_utils/common/directories.py",
    "module_utils/drill/fault/lock.py",
    "module_utils/drill/ledger/records.py",
    "module_utils/host/configuration.py",
    "module_utils/host/file_set.py",
    "module_utils/postgresql/pg_upgrade.py",
    "module_utils/postgresql/data.py",
    "module_utils/postgresql/restore.py",
    "module_utils/redis/restore.py",
}


@pytest.fixture(params=[0o022, 0o027, 0o077], ids=oct, autouse=True)
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(top: Path) -> dict[str, int]:
    return {str(path.relative_to(top)): path.lstat().st_mode & 0o777 for path in top.rglob("*")}


def closed(top: Path) -> list[str]:
    """What others can't read or enter below a directory."""
    return [name for name, mode in modes(top).items() if not mode & (0o005 if (top / name).is_dir() else 0o004)]


def test_directories_are_open_and_those_that_were_there_stay_as_they_are(tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    mine.chmod(0o700)
    directories.make(mine / "a" / "b")
    directories.make(mine / "a" / "b")
    assert modes(tmp_path) == {"mine": 0o700, "mine/a": 0o755, "mine/a/b": 0o755}


def test_files_of_a_set_and_their_parents_are_what_was_asked_for(tmp_path):
    file_set.install(file_set.Entry(str(tmp_path / "etc/deep/a"), b"", 0o644, ME.pw_name, MY_GROUP))
    file_set.install(file_set.Entry(str(tmp_path / "lib/deep"), None, 0o750, ME.pw_name, MY_GROUP))
    assert modes(tmp_path) == {"etc": 0o755, "etc/deep": 0o755, "etc/deep/a": 0o644, "lib": 0o755, "lib/deep": 0o750}


@pytest.mark.parametrize(("make", "name"), [(make_zip, "a.zip"), (make_tar, "a.tar.gz")])
def test_an_unpacked_server_can_be_read_and_executed(tmp_path, make, name):
    archive.unpack(str(make(tmp_path / name, FILES)), str(tmp_path / "home"))
    archive.write_manifest(str(tmp_path / "home"), {})
    assert closed(tmp_path / "home") == []
    assert modes(tmp_path / "home")["bin/elasticsearch"] == 0o755


def test_a_server_that_an_earlier_run_left_closed_is_opened(tmp_path, capsys):
    source = make_zip(tmp_path / "a.zip", FILES)
    home = tmp_path / "opt" / "elasticsearch-8.19.4"
    directories.make(home.parent)
    archive.unpack(str(source), str(home))
    archive.write_manifest(str(home), {"archive": checksum(source), "plugins": {}})
    (home / "jdk/bin").mkdir(parents=True)
    (home / "jdk/bin/java").touch()
    for path in (home.parent, home, home / "bin", home / "config"):
        path.chmod(0o750)
    (home / "lib/x.jar").chmod(0o640)
    arguments = {
        "version": "8.19.4",
        "url": str(source),
        "checksum": checksum(source),
        "directory": str(tmp_path / "opt"),
        "config_directory": str(tmp_path / "etc"),
        "data_directory": str(tmp_path / "data"),
    }
    said = []
    for _turn in range(2):
        with patch_module_args(arguments), pytest.raises(SystemExit):
            elasticsearch_archive.main()
        said.append('"changed": true' in capsys.readouterr().out)
    assert said == [True, False]
    assert closed(tmp_path / "opt") == []
    assert closed(tmp_path / "etc") == []


def test_places_of_marks_and_stamps_can_be_entered(tmp_path):
    with contextlib.suppress(AttributeError):  # no server answers here; the stamp comes first
        redis_config.reload(None, str(tmp_path / "run" / "redis.loaded"))
    with postgresql_switchover.standing(str(tmp_path / "fast" / "stop")):
        assert closed(tmp_path / "fast") in ([], ["stop"])
    shared_directory.leave_mark(tmp_path / "mnt" / "deep", "a", ME)
    assert modes(tmp_path)["run"] == modes(tmp_path)["fast"] == modes(tmp_path)["mnt"] == 0o755
    assert modes(tmp_path)["mnt/deep"] == 0o750


def test_no_other_code_makes_directories_by_the_umask():
    found = {
        str(path.relative_to(ROOT / "plugins"))
        for path in (ROOT / "plugins").rglob("*.py")
        if re.search(r"\bmakedirs\(|\.mkdir\(", path.read_text())
    }
    assert found <= PRIVATE | {"module_utils/search/archive.py"}, "use module_utils/common/directories.py"
