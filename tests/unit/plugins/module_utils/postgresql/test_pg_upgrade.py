# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The work of a major upgrade on one host: real directories, with PostgreSQL's programs doubled."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from pathlib import Path

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql import pg_upgrade
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql.pg_upgrade import Side, Upgrade, UpgradeError

# As PostgreSQL 15.20 answers it, for a cluster that role postgresql has made.
FACTS = {
    "standby": False,
    "superuser": "postgres",
    "checksums": True,
    "segment_mb": 16,
    "encoding": "UTF8",
    "template": {"datname": "template0", "datcollate": "C.UTF-8", "datctype": "C.UTF-8", "daticulocale": None, "datlocprovider": "c"},
    "tablespaces": [],
    "slots": [],
    "prepared": [],
    "long": [],
}  # fmt: skip


class Programs:
    """PostgreSQL's programs as they act on files. dies: where pg_upgrade is killed; refuses: what pg_upgrade --check says."""

    def __init__(self, tmp_path, facts=None, refuses="", unknown=(), dies=""):
        self.old, self.new = tmp_path / "15", tmp_path / "17"
        self.facts, self.refuses, self.unknown, self.dies, self.said = facts or FACTS, refuses, unknown, dies, []
        make(self.old, "old")
        self.upgrade = Upgrade(
            self.run, Side("15", str(self.old)), Side("17", str(self.new)), 5432, {"wal_level": "replica", "fancy": "on", "gone": None}
        )  # fmt: skip

    def run(self, command, cwd=None, **_options):
        self.said.append([Path(command[0]).name, *command[1:]])
        return getattr(self, Path(command[0]).name)(command, cwd)

    def psql(self, _command, _cwd):
        return 0, json.dumps(self.facts), ""

    def initdb(self, command, _cwd):
        make(Path(command[1].partition("=")[2]), "empty")
        return 0, "", ""

    def pg_controldata(self, command, _cwd):
        crashed = (Path(command[1]) / "crashed").exists()
        return 0, f"Database cluster state:               {'in production' if crashed else 'shut down'}\n", ""

    def postgres(self, command, _cwd):
        name = command[-1].partition("=")[0]
        wrong = name in self.unknown
        return int(wrong), "", f'FATAL: unrecognized configuration parameter "{name}"' if wrong else ""

    def cp(self, command, _cwd):
        shutil.copytree(command[-2], command[-1])
        return 0, "", ""

    def pg_upgrade(self, command, cwd):
        assert Path(cwd) == self.upgrade.places.work
        data = Path(next(one for one in command if one.startswith("--new-datadir=")).partition("=")[2])
        if "--check" in command:
            if self.refuses:
                report = data / "pg_upgrade_output.d" / "20261126T021246.413" / "loadable_libraries.txt"
                report.parent.mkdir(parents=True)
                report.write_text('could not load library "$libdir/fancy"\n')
            return int(bool(self.refuses)), self.refuses, ""
        if self.dies == "before linking":
            raise KeyboardInterrupt
        (self.old / "global" / "pg_control").rename(self.old / "global" / "pg_control.old")
        if self.dies == "linking":
            raise KeyboardInterrupt
        (data / "content").write_text("upgraded")
        return 0, "Upgrade Complete", ""

    def times(self, program, *arguments):
        return len([one for one in self.said if one[0] == program and set(arguments) <= set(one)])


def make(directory, content):
    (directory / "global").mkdir(parents=True)
    (directory / "global" / "pg_control").write_bytes(b"\x01")
    (directory / "content").write_text(content)


@pytest.fixture
def programs(tmp_path):
    return Programs(tmp_path)


def test_empty_data_are_made_once_and_judged_each_time(programs):
    assert programs.upgrade.check() == {"changed": True}
    assert programs.upgrade.check() == {"changed": False}
    assert (programs.times("initdb"), programs.times("pg_upgrade", "--check", "--link")) == (1, 2)
    assert not programs.new.exists()


def test_the_new_directory_appears_when_pg_upgrade_has_finished(programs):
    programs.upgrade.check()
    assert programs.upgrade.upgrade()["changed"]
    assert (programs.new / "content").read_text() == "upgraded"
    assert programs.upgrade.upgrade()["changed"] is False
    assert not (programs.old / "global" / "pg_control").exists()


@pytest.mark.parametrize("moment", ["before linking", "linking"])
def test_what_an_interrupted_pg_upgrade_left_is_made_anew(programs, moment):
    programs.upgrade.check()
    programs.dies = moment
    with pytest.raises(KeyboardInterrupt):
        programs.upgrade.upgrade()
    assert not programs.new.exists()
    assert programs.upgrade.places.data.exists()
    programs.dies = ""
    assert programs.upgrade.upgrade()["changed"]
    assert (programs.new / "content").read_text() == "upgraded"


def test_an_initdb_that_was_interrupted_is_made_anew(programs):
    make(programs.upgrade.places.work / "part", "half")
    programs.upgrade.check()
    assert (programs.upgrade.places.empty / "content").read_text() == "empty"


def test_a_judgement_that_was_interrupted_is_made_on_new_empty_data(programs):
    programs.upgrade.check()
    (programs.upgrade.places.empty / "crashed").touch()
    assert programs.upgrade.check() == {"changed": True}
    assert programs.times("initdb") == 2


def test_nothing_is_upgraded_that_was_not_checked(programs):
    with pytest.raises(UpgradeError, match="the check has to come first"):
        programs.upgrade.upgrade()


def test_statements_that_update_extensions_are_returned(programs):
    programs.upgrade.check()
    (programs.upgrade.places.work / "update_extensions.sql").write_text("ALTER EXTENSION fancy UPDATE;\n")
    assert programs.upgrade.upgrade()["extensions"] == "ALTER EXTENSION fancy UPDATE;\n"


def test_all_that_speaks_against_it_is_told_at_once(tmp_path):
    facts = FACTS | {
        "tablespaces": ["fast"],
        "slots": ["warehouse"],
        "prepared": ["t1 in database utmstack"],
        "long": ["process 711, user utmstack, database utmstack"],
    }
    programs = Programs(
        tmp_path, facts, refuses="Your installation references loadable libraries that are missing", unknown=("fancy",)
    )
    with pytest.raises(UpgradeError) as caught:
        programs.upgrade.check()
    assert len(caught.value.facts["faults"]) == 6
    for part in (
        "tablespaces (fast)",
        "slots (warehouse)",
        "ROLLBACK PREPARED",
        "process 711",
        "does not take fancy = on",
        "$libdir/fancy",
    ):
        assert part in str(caught.value)
    assert programs.times("postgres", "wal_level=replica") == 1


@pytest.mark.parametrize(
    ("template", "version", "options"),
    [
        ({}, 17, {"--lc-collate=C.UTF-8", "--lc-ctype=C.UTF-8", "--locale-provider=libc", "--encoding=UTF8", "--data-checksums"}),
        ({"datlocprovider": "i", "daticulocale": "de-DE"}, 17, {"--locale-provider=icu", "--icu-locale=de-DE"}),
        ({"datlocprovider": "b", "datlocale": "C.UTF-8"}, 18, {"--locale-provider=builtin", "--builtin-locale=C.UTF-8"}),
        ({}, 17, {"--wal-segsize=16", "--username=postgres", "--auth-local=peer", "--auth-host=reject"}),
    ],
)  # fmt: skip
def test_empty_data_are_like_the_old_ones(template, version, options):
    facts = FACTS | {"template": FACTS["template"] | template}
    assert options <= set(pg_upgrade.initdb_options(facts, version))


def test_data_without_checksums_stay_so_where_the_new_version_would_make_them():
    facts = FACTS | {"checksums": False}
    assert "--no-data-checksums" in pg_upgrade.initdb_options(facts, 18)
    assert not [option for option in pg_upgrade.initdb_options(facts, 17) if "checksums" in option]


def test_settings_that_the_content_needs_while_it_is_loaded_are_carried_over():
    sides = Side("15", "/old"), Side("17", "/new")
    wanted = {
        "shared_preload_libraries": "pg_stat_statements, timescaledb",
        "max_locks_per_transaction": 256,
        "work_mem": "4MB",
    }
    line = pg_upgrade.command(*sides, Path("/work"), wanted)
    assert (
        "--new-options=-c max_locks_per_transaction=256 -c shared_preload_libraries=pg_stat_statements,timescaledb"
        in line
    )
    assert not [one for one in pg_upgrade.command(*sides, Path("/work"), {}) if one.startswith("--new-options")]
    assert "evil" not in str(pg_upgrade.command(*sides, Path("/work"), {"shared_preload_libraries": "a; evil"}))


class Clock:
    def __init__(self):
        self.time = 0.0

    def now(self):
        return self.time

    def sleep(self, seconds):
        self.time += seconds


def stop(replayed, after="0/5000028"):
    """Stop a standby that has replayed these locations, one after the other; what was run."""
    clock, said, answers = Clock(), [], iter(replayed)

    def run(command, **_options):
        said.append(Path(command[0]).name)
        return (0, next(answers), "") if said[-1] == "psql" else (0, "", "")

    pg_upgrade.stop(run, Side("15", "/old"), after, 5432, 1, clock.now, clock.sleep)
    return said


def test_a_standby_is_stopped_when_it_has_replayed_the_primarys_last_record():
    assert stop(["0/4FFFFFF\n", "0/5000028\n", "0/50000A0\n"]) == ["psql"] * 3 + ["pg_ctl"]
    assert stop([], after="") == ["pg_ctl"]


def test_a_standby_that_does_not_get_it_is_not_stopped():
    with pytest.raises(
        UpgradeError, match="has not replayed 0/5000028, the primary's last record, in 1 s, but: 0/4FFFFFF"
    ):
        stop(["0/4FFFFFF\n"] * 10)


def test_a_server_that_ended_by_itself_meanwhile_is_stopped(tmp_path):
    clock = Clock()
    pg_upgrade.stop(
        lambda _command, **_options: (1, "", "pg_ctl: PID file does not exist"),
        Side("15", str(tmp_path)), "", 5432, 1, clock.now, clock.sleep,
    )  # fmt: skip


def test_only_one_works_at_a_time(programs):
    with programs.upgrade.alone():
        handle = os.open(programs.upgrade.places.work, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(handle)
