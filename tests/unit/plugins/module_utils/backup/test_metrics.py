# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Metrics as node_exporter reads them."""

from __future__ import annotations

import re

from ansible_collections.utmstack.ha.plugins.module_utils.backup import metrics

ROW = {
    "kind": "queue", "point": 1796039126, "verified": None, "bytes": 2819040, "seconds": 2.7, "verify_seconds": None, "take": "ok", "verify": "unknown",
}  # fmt: skip
LINE = re.compile(r'utmstack_backup_\w+(\{(\w+="[^"]*",?)+\})? [-+.e\d]+')


def test_each_line_is_one_that_the_collector_takes_and_unknown_times_are_left_out():
    lines = metrics.text([ROW], 10**12, {"wal_seconds": {'{host="node1"}': 5.5}}).splitlines()
    values = [line for line in lines if line[0] != "#"]
    assert all(LINE.fullmatch(line) for line in values)
    assert 'utmstack_backup_last_success_timestamp_seconds{kind="queue"} 1796039126' in values
    assert 'utmstack_backup_verdict{kind="queue",act="verify"} 2' in values
    assert 'utmstack_backup_wal_seconds{host="node1"} 5.5' in values
    assert "utmstack_backup_repository_free_bytes 1000000000000" in values
    assert not any("last_verified" in line for line in lines)
    assert len([line for line in lines if line.startswith("# TYPE")]) == len(
        {line.split("{")[0].split()[0] for line in values}
    )


def test_a_repository_that_cannot_be_looked_at_is_down_and_says_nothing_good():
    assert [line for line in metrics.text([], None).splitlines() if line[0] != "#"] == ["utmstack_backup_up 0"]


def test_the_file_is_replaced_whole_and_only_where_the_collector_is(tmp_path):
    assert metrics.write(tmp_path / "none", "a\n") is False
    assert metrics.write("", "a\n") is False
    for text in ("a\n", "b\n"):
        assert metrics.write(tmp_path, text) is True
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("utmstack_backup.prom", "b\n")]
