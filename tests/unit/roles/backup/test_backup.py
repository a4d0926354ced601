# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What role backup writes, and that nothing of it is there without group backup."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import defaultdict

import pytest
import yaml
from ansible_collections.utmstack.ha.plugins.module_utils.backup import program
from ansible_collections.utmstack.ha.plugins.module_utils.services.passwords import passwords
from ansible_collections.utmstack.ha.plugins.module_utils.services.questions import questions
from ansible_collections.utmstack.ha.plugins.module_utils.services.software import host_software
from role_templates import ROLES, render, role_variables, topology
from role_vars import evaluated, variable

THREE = ["node1", "node2", "node3"]
GROUPS = {"loadbalancer": THREE, "etcd": THREE, "postgresql": THREE, "redis": THREE}
SECRETS = defaultdict(lambda: "a-password-of-some-kind")
HA = topology({**GROUPS, "backup": ["node4", "node5"]}, "node5")
DEFAULTS = yaml.safe_load((ROLES / "backup/defaults/main.yml").read_text())
KNOWN = {**DEFAULTS, "ha": HA, "ha_secrets": dict.fromkeys(passwords(), "a-password-of-backup")}


def test_the_settings_are_such_as_the_program_takes(tmp_path):
    settings = variable("backup", "backup_program_settings", **KNOWN)
    file = tmp_path / "backup.json"
    file.write_text(json.dumps(settings))
    loaded = program.load(str(file))
    assert loaded["host"] == "node5" and loaded["cluster"] == "utmstack"
    assert set(loaded["kinds"]) == set(HA["backup"]["kinds"])
    own = loaded["kinds"]["redis"]["settings"]
    assert own["password"] == "a-password-of-backup" and [one["name"] for one in own["members"]] == THREE


def test_the_file_with_passwords_is_for_root_alone():
    (entry,) = [entry for entry in role_variables("backup")["backup_files"] if "settings_file" in entry["path"]]
    assert entry["mode"] == "0600" and "secret_content" in entry and "content" not in entry


def test_each_kind_has_its_timers_and_the_target_wants_them_all():
    timers = variable("backup", "backup_timer_files", **KNOWN)
    assert {timer["path"].rpartition("/")[2] for timer in timers} == {
        f"utmstack-backup{'' if act == 'take' else '-verify'}@{kind}.timer"
        for kind, times in HA["backup"]["times"]["node5"].items()
        for act in ("take", "verify")
        if times[act]
    }
    # What the controller brings is taken by no timer.
    assert HA["backup"]["times"]["node5"]["configuration"]["take"] == []
    text = target(timers)
    wanted = [line.partition("=")[2] for line in text.splitlines() if line.startswith("Wants=")]
    assert set(wanted) == {timer["path"].rpartition("/")[2] for timer in timers} | {"utmstack-backup-guard.timer"}
    assert target([{**timers[0], "content": "other"}, *timers[1:]]) != text


def target(timers):
    """By Ansible, which has the filter that makes the checksum."""
    return evaluated((ROLES / "backup/templates/backup.target.j2").read_text(), backup_timer_files=timers)


UNITS = {
    "utmstack-backup@.service": "take.service.j2",
    "utmstack-backup-verify@.service": "verify.service.j2",
    "utmstack-backup-guard.service": "guard.service.j2",
    "utmstack-backup-guard.timer": "guard.timer.j2",
    "utmstack-backup-copy.service": "copy.service.j2",
}


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not here")
def test_systemd_takes_the_units(tmp_path):
    for name, template in UNITS.items():
        text = render("backup", template, HA)
        # The program is not on this machine.
        text = text.replace("/usr/bin/python3 /usr/local/lib/utmstack-ha/backup.py", "/bin/true")
        (tmp_path / name).write_text(text)
    timers = variable("backup", "backup_timer_files", **KNOWN)
    for timer in timers:
        (tmp_path / timer["path"].rpartition("/")[2]).write_text(timer["content"])
    (tmp_path / "utmstack-backup.target").write_text(target(timers))
    files = [str(path) for path in tmp_path.iterdir() if "@." not in path.name]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *files], capture_output=True, text=True, check=False
    )
    assert [line for line in done.stderr.splitlines() if str(tmp_path) in line or "utmstack" in line] == []


def test_verify_and_take_run_the_program_with_their_own_word():
    for act in ("take", "verify"):
        text = render("backup", f"{act}.service.j2", HA)
        assert f"ExecStart=/usr/bin/python3 /usr/local/lib/utmstack-ha/backup.py %i {act}" in text
        assert "TimeoutStartSec=infinity" in text and "password" not in text


def test_a_backup_host_has_the_tools_of_its_kinds_and_others_have_none_of_it():
    assert "redis-tools" in host_software(HA, "node4", {}, "13")["packages"]
    assert "valkey-tools" in host_software(HA, "node4", {"redis_flavor": "valkey"}, "13")["packages"]
    without = host_software(topology(GROUPS, "node1"), "node1", {}, "13")["packages"]
    # By which its WAL gets there.
    assert set(host_software(HA, "node1", {}, "13")["packages"]) - set(without) == {"pgbackrest"}


def test_without_group_backup_no_host_is_asked_and_no_server_knows_the_user():
    without = topology(GROUPS, "node1")
    assert "backup" not in questions(without, SECRETS, "node1")
    assert variable("redis", "redis_backup_users", ha=without, ha_secrets=SECRETS) == []
    (user,) = variable("redis", "redis_backup_users", ha=HA, ha_secrets={"redis_backup_password": "x"})
    assert user == {"name": "backup", "password": "x", "rules": "-@all +sync +psync +replconf +ping +info"}


SFTP = {
    "backup_remote": {"type": "sftp", "host": "far.example.org"}, "backup_remote_secrets": {"pass": "the-secret"}, "backup_remote_path": "copies",
}  # fmt: skip
S3 = {
    "backup_repository": "s3", "backup_s3_endpoint": "s3.example.org", "backup_s3_bucket": "backups", "backup_s3_key": "KEY",
    "backup_s3_secret": "the-secret",
}  # fmt: skip


def of_remote(name, own):
    ha = topology({**GROUPS, "backup": ["node4"]}, "node4", own={"node4": own})
    return variable("backup", name, **{**KNOWN, **own, "ha": ha})


def test_a_remote_is_written_for_rclone_in_a_file_for_root_alone_and_told_to_the_program_without_its_secrets():
    options = of_remote("backup_rclone_options", SFTP)
    text = render("backup", "rclone.conf.j2", HA, backup_rclone_options=options)
    assert text.splitlines()[1:] == ["[remote]", "type = sftp", "host = far.example.org", "pass = the-secret"]
    conf = role_variables("backup")["backup_remote_files"][0]
    assert (conf["path"], conf["mode"]) == ("{{ backup_rclone_file }}", "0600") and "secret_content" in conf
    told = of_remote("backup_program_remote", SFTP)
    assert (told["base"], told["s3"], told["days"]) == ("copies/utmstack/node4", False, 30)
    assert "the-secret" not in str(told) and told["passphrase"] == "a-password-of-backup"


def test_the_bucket_of_a_repository_is_a_remote_of_rclones_that_trusts_the_same_ca():
    options = of_remote("backup_rclone_options", {**S3, "backup_s3_ca_file": "/etc/ssl/site.crt"})
    assert (options["type"], options["endpoint"], options["force_path_style"]) == (
        "s3",
        "https://s3.example.org",
        "true",
    )
    assert (options["access_key_id"], options["secret_access_key"]) == ("KEY", "the-secret")
    told = of_remote("backup_program_remote", {**S3, "backup_s3_ca_file": "/etc/ssl/site.crt"})
    assert (told["base"], told["s3"], told["ca_file"]) == ("backups/utmstack/node4", True, "/etc/ssl/site.crt")


def test_where_the_remote_is_taken_out_its_credentials_go():
    former = variable("backup", "backup_former_files", **KNOWN)
    assert {"/etc/utmstack-ha/rclone.conf", "/etc/systemd/system/utmstack-backup-copy.timer"} <= set(former)
    assert "/etc/utmstack-ha/rclone.conf" not in of_remote("backup_former_files", SFTP)
    assert variable("backup", "backup_program_settings", **KNOWN)["remote"] == {}
