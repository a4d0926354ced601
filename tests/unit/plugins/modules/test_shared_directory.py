# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import os
import pwd

import pytest
from ansible_collections.utmstack.ha.plugins.modules import shared_directory

ME = pwd.getpwuid(os.geteuid())


def look(path, name, number=ME.pw_uid):
    return shared_directory.look(path, name, ["a", "b"], "elasticsearch", number)


def test_hosts_that_share_a_directory_see_the_marks_of_all(tmp_path):
    shared = tmp_path / "mnt" / "snapshots"
    assert shared_directory.leave_mark(shared, "a", ME) is True
    assert "does not have the marks of b" in look(shared, "a")[0]
    assert shared_directory.leave_mark(shared, "b", ME) is True
    assert look(shared, "a") == look(shared, "b") == []


def test_a_second_run_changes_nothing(tmp_path):
    shared_directory.leave_mark(tmp_path, "a", ME)
    assert shared_directory.leave_mark(tmp_path, "a", ME) is False


def test_a_host_whose_share_is_not_mounted_misses_the_marks_of_the_others(tmp_path):
    for name in "ab":
        shared_directory.leave_mark(tmp_path / "share", name, ME)
    shared_directory.leave_mark(tmp_path / "local", "b", ME)
    doubts = look(tmp_path / "local", "b")
    assert len(doubts) == 1
    assert "marks of a:" in doubts[0]
    assert "Mount the same share" in doubts[0]


def test_accounts_with_different_numbers_are_told(tmp_path):
    for name in "ab":
        shared_directory.leave_mark(tmp_path, name, ME)
    doubts = look(tmp_path, "a", number=ME.pw_uid + 1)
    assert f"number {ME.pw_uid + 1} on a, but {ME.pw_uid} on a, b" in doubts[0]


@pytest.mark.parametrize("path", ["missing", "file"])
def test_what_is_no_directory_has_no_marks(tmp_path, path):
    (tmp_path / "file").write_text("")
    assert "marks of a, b" in look(tmp_path / path, "a")[0]
