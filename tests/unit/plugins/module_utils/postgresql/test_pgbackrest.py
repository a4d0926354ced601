# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What pgBackRest 2.45 printed of a repository that was whole, and of ones that were damaged on purpose."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.common.backup import FAILED, UNVERIFIED, BackupError
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql import pgbackrest
from program_replay import Replay

FIXTURES = Path(__file__).parents[3] / "fixtures" / "postgresql" / "pgbackrest_2.45"
HISTORY = "1\t0/5000120\tno recovery target specified\n"


def recorded(name):
    return (FIXTURES / name).read_text()


@pytest.fixture
def program(tmp_path, monkeypatch):
    return Replay(tmp_path, monkeypatch, "pgbackrest")


@pytest.fixture
def repository():
    return pgbackrest.Repository({"stanza": "demo", "config": "/etc/demo.conf", "account": None})


def test_info_tells_backups_oldest_first():
    found = pgbackrest.judge(recorded("info.json"), "demo")
    assert [one["label"] for one in found["backups"]] == ["20261130-185436F", "20261130-185436F_20261130-185442D"]
    assert found["archives"] == {1: "15-1"}
    assert (found["version"], found["system_identifier"]) == ("15", "7714039628423273303")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("info_wrong_key.json", r"\[FormatError\] unable to load info file .* \(status code 99\)$"),
        ("info_no_stanza.json", r"missing stanza path \(status code 1\)$"),
    ],
)
def test_a_repository_that_cannot_be_read_is_a_failure_though_info_ends_with_0(name, reason):
    with pytest.raises(BackupError, match=reason) as told:
        pgbackrest.judge(recorded(name), "demo")
    assert told.value.code == FAILED
    assert "\n" not in told.value.reason and told.value.reason.isprintable()


@pytest.mark.parametrize("text", ["", "[]", '[{"name": "demo"}]', "ERROR"])
def test_an_answer_without_the_stanza_is_a_failure(text):
    with pytest.raises(BackupError, match="printed nothing of stanza demo"):
        pgbackrest.judge(text, "demo")


def test_a_stanza_without_backups_can_be_read():
    found = json.loads(recorded("info.json"))
    found[0] |= {"backup": [], "status": {"code": 2, "message": "no valid backups"}}
    assert pgbackrest.judge(json.dumps(found), "demo")["backups"] == []


FULL, DIFF = "backup 20261130-185436F", "backup 20261130-185436F_20261130-185442D"


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("verify.txt", []),
        # An unfinished backup is no damage.
        ("verify_progress.txt", []),
        (
            "verify_flipped.txt",
            [
                f"{FULL} is invalid, 1267 of 1268 files are valid",
                f"{FULL}: checksum invalid 1",
                f"{DIFF} is invalid, 1267 of 1268 files are valid",
                f"{DIFF}: checksum invalid 1",
            ],
        ),
        ("verify_cutwal.txt", ["WAL of 15-1: 7 of 8 segments are valid", "WAL of 15-1: other 1"]),
        ("verify_flippedwal.txt", ["WAL of 15-1: 7 of 8 segments are valid", "WAL of 15-1: checksum invalid 1"]),
        (
            "verify_nobundle.txt",
            [
                f"{FULL} is invalid, 979 of 1268 files are valid",
                f"{FULL}: missing 289",
                f"{DIFF} is invalid, 982 of 1268 files are valid",
                f"{DIFF}: missing 286",
            ],
        ),
        ("verify_manifests.txt", [f"{FULL} is invalid, 0 of 0 files are valid"]),
        ("verify_wrong_key.txt", ["No usable backup.info file", "No usable archive.info file"]),
    ],
)
def test_what_verify_found_is_read_though_it_ends_with_0(name, found):
    assert pgbackrest.faults(recorded(name)) == found


def test_a_status_that_is_not_ok_is_a_fault_by_itself():
    assert pgbackrest.faults(recorded("verify.txt").replace("status: ok", "status: error")) == [
        "pgbackrest verify says error"
    ]


@pytest.mark.parametrize("text", ["", "stanza: demo\n", "stanza: demo\nstatus: ok\n"])
def test_a_verify_that_says_nothing_proves_nothing(text):
    with pytest.raises(BackupError) as told:
        pgbackrest.faults(text)
    assert told.value.code == UNVERIFIED


def test_only_valid_backups_are_called_verified():
    assert pgbackrest.verified(recorded("verify_progress.txt")) == [
        "20261130-185436F",
        "20261130-185436F_20261130-185442D",
    ]
    assert pgbackrest.verified(recorded("verify_flipped.txt")) == []


def test_an_archive_is_read_with_the_histories_of_its_timelines(program, repository):
    listed = json.loads(recorded("repo_ls_archive.json"))["15-1/0000000100000000"]
    assert listed == {"type": "path"}
    names = {
        name.removeprefix("15-1/"): entry for name, entry in json.loads(recorded("repo_ls_archive.json")).items()
    } | {"00000002.history": {"type": "file", "size": 42, "time": 1796064909}}
    program.reply("repo-ls archive/demo/15-1", json.dumps(names)).reply("00000002.history", HISTORY)
    segments, histories = repository.archive("15-1")
    assert segments == [f"0000000100000000{number:08X}" for number in range(1, 8)]
    assert histories == {2: HISTORY}
    assert program.calls[0] == [
        "--config=/etc/demo.conf",
        "--stanza=demo",
        "--recurse",
        "--output=json",
        "repo-ls",
        "archive/demo/15-1",
    ]


def test_a_command_that_fails_says_why(program, repository):
    said = (
        "WARN: unable to check pg2: [CryptoError] unable to verify certificate presented by 'node2:8433'\n"
        "2026-11-30 19:19:32.138 P00  ERROR: [056]: unable to find primary cluster - cannot proceed\n"
        "       HINT: are all available clusters in recovery?\n"
    )
    program.reply("backup", rc=56, err=said)
    with pytest.raises(BackupError) as told:
        repository.answer("backup")
    assert told.value.reason == (
        "pgbackrest backup ended with 56: no primary was found, or no standby: unable to find primary cluster - cannot proceed: "
        "unable to check pg2: [CryptoError] unable to verify certificate presented by 'node2:8433'"
    )


def test_a_command_that_does_not_end_is_ended(program, repository, tmp_path):
    (tmp_path / "programs" / "pgbackrest").write_text("#!/bin/sh\nsleep 60\n")
    with pytest.raises(BackupError, match=r"did not end within 0\.2 s"):
        repository.answer("check", limit_s=0.2)


def test_a_trial_knows_the_repository_and_no_server(tmp_path):
    (tmp_path / "pgbackrest.conf").write_text(
        "[global]\nrepo1-path=/repository\nrepo1-cipher-pass=secret\n[demo]\npg1-host=node1\npg1-path=/data\n pg12-host=node12\nprocess-max=1\n"
    )
    assert pgbackrest.tuned(tmp_path / "pgbackrest.conf") == (
        "[global]\nrepo1-path=/repository\nrepo1-cipher-pass=secret\n[demo]\nprocess-max=1\n"
    )
