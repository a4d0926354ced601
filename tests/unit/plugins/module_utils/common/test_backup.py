# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checksums, sizes and room, on real files."""

from __future__ import annotations

import hashlib
import shutil

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.common import backup


def test_checksums_and_sizes_are_those_of_all_files_below(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/b").write_bytes(b"x" * (3 << 20))
    (tmp_path / "c").write_bytes(b"y")
    (tmp_path / "link").symlink_to("/dev/zero")
    digest = hashlib.sha256(b"x" * (3 << 20)).hexdigest()
    assert backup.sha256(tmp_path / "a/b") == digest
    (tmp_path / "link").unlink()
    assert backup.checksums(tmp_path) == {"a/b": digest, "c": hashlib.sha256(b"y").hexdigest()}
    assert backup.directory_bytes(tmp_path) == (3 << 20) + 1


def test_room_that_is_not_there_is_refused_with_its_own_code(tmp_path):
    backup.require_room(tmp_path, 1, "A copy")
    free = shutil.disk_usage(tmp_path).free
    with pytest.raises(backup.BackupError, match="A copy needs .* has .* free") as found:
        backup.require_room(tmp_path, 10 * free, "A copy")
    assert found.value.code == 4


def test_how_long_a_restore_takes_is_told_by_restores_and_only_without_them_by_verifications():
    verify = {"act": "verify", "verdict": "ok", "bytes": 100, "seconds": 50}
    restore = {"act": "restore", "verdict": "ok", "bytes": 100, "seconds": 10}
    assert backup.seconds_per_byte([verify, restore]) == 0.1
    assert backup.seconds_per_byte([verify]) == 0.5
    assert backup.seconds_per_byte([{**restore, "seconds": 0}, {**restore, "verdict": "failed"}]) is None
