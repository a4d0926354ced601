# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Kinds of backups as plain data: what the program is told, and the timers."""

from __future__ import annotations

from ansible_collections.utmstack.ha.plugins.module_utils.backup.kinds import KINDS
from ansible_collections.utmstack.ha.plugins.module_utils.services import backup
from ansible_collections.utmstack.ha.plugins.module_utils.services.registry import backups

TIMES = {"queue": {"take": ["hourly", "Sun 01:00"], "verify": [], "retention_days": 3}}


def test_every_kind_has_its_code():
    """Others come with the code only; a kind that nobody can take must not be offered."""
    assert set(backups()) == set(KINDS)
    for kind, module in KINDS.items():
        wanted = {"take", "verify", "inspect"} | ({"expire"} if not backups()[kind].files else set())
        assert {name for name in wanted if not callable(getattr(module, name, None))} == set(), kind


def test_a_kind_without_verification_has_one_timer_and_the_former_one_is_named():
    (timer,) = backup.timers(TIMES, "10min")
    assert timer["path"] == "/etc/systemd/system/utmstack-backup@queue.timer"
    lines = timer["content"].splitlines()
    assert "OnCalendar=hourly" in lines and "OnCalendar=Sun 01:00" in lines and "RandomizedDelaySec=10min" in lines
    assert backup.former_timers(TIMES, ["queue", "other"]) == [
        "/etc/systemd/system/utmstack-backup-verify@queue.timer",
        "/etc/systemd/system/utmstack-backup@other.timer",
        "/etc/systemd/system/utmstack-backup-verify@other.timer",
        backup.COPY_TIMER,
    ]


def test_a_remote_has_one_timer_for_all_kinds():
    copy = backup.timers(TIMES, "10min", "*-*-* 08:00")[-1]
    assert copy["path"] == backup.COPY_TIMER and "OnCalendar=*-*-* 08:00" in copy["content"].splitlines()
    assert backup.COPY_TIMER not in backup.former_timers(TIMES, [], "*-*-* 08:00")


def test_the_program_is_told_what_a_kind_needs():
    kind = backup.Backup(
        "queue", "Queue", "restore_queue", lambda ha, secrets: {"password": secrets["x"], "hosts": ha["hosts"]}
    )
    ha = {"backup": {"times": {"backup1": TIMES}}, "hosts": ["node1"]}
    assert backup.program_kinds({"queue": kind}, ha, {"x": "secret"}, "backup1") == {
        "queue": {
            "title": "Queue", "account": "utmstack-backup", "limit_s": 21600, "stale_s": 129600, "verify_stale_s": 259200, "retention_days": 3,
            "verified": False, "settings": {"password": "secret", "hosts": ["node1"]},
        }
    }  # fmt: skip


def test_what_backups_need_is_what_their_records_say():
    assert backup.needs([{"needs": ["a"]}, {}, {"needs": ["b", "a"]}]) == {"a", "b"}
