# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Parameters and pg_hba lines that are refused before any server has them."""

from __future__ import annotations

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.patroni import rules


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("max_connections", "postgresql_max_connections, by which the pools are sized"),
        ("Max_Connections", "postgresql_max_connections"),
        ("wal_keep_size", "postgresql_wal_keep_size"),
        ("port", "ha_ports.postgresql"),
        ("hba_file", "postgresql_hba_extra"),
        ("primary_conninfo", "set by this collection"),
        ("ssl", "set by this collection"),
    ],
)
def test_a_parameter_that_another_setting_is_for_is_refused_with_that_setting(name, remedy):
    (fault,) = rules.owned_faults({name: 1, "work_mem": "7MB"})
    assert fault.startswith(f"{name} ")
    assert remedy in fault


@pytest.mark.parametrize(
    ("parameters", "fault"),
    [
        ({"max_wal_senders": 3}, "max_wal_senders is 3, but has to be at least 4 here."),
        ({"max_worker_processes": "1"}, "max_worker_processes is 1"),
        ({"max_locks_per_transaction": 10}, "at least 32"),
        ({"max_replication_slots": 0}, "at least 4"),
        ({"wal_keep_size": "1MB"}, "at least 16MB"),
        ({"wal_keep_size": 8}, "wal_keep_size is 8"),
        ({"min_wal_size": "16MB"}, "at least 32MB"),
        ({"wal_level": "minimal"}, "only replica or logical"),
        ({"max_connections": 20}, "at least 25"),
        ({"max_connections": 30, "superuser_reserved_connections": 30}, "leave nothing of 30"),
        ({"max_connections": 30, "reserved_connections": 27}, "leave nothing"),
        ({"max_connections": 262143}, "PostgreSQL allows"),
        ({"shared_buffers": "1TB"}, "the host has 3072 MB"),
        ({"shared_preload_libraries": ["a", "b"]}, "is a list"),
    ],
)
def test_what_no_server_could_run_with_is_a_fault(parameters, fault):
    (told,) = rules.parameter_faults(parameters, members=3, memory_mb=3072)
    assert fault in told


@pytest.mark.parametrize(
    "parameters",
    [
        {"max_wal_senders": 10, "max_replication_slots": 10, "wal_level": "logical", "wal_keep_size": "1GB"},
        {"max_connections": 200, "shared_buffers": "512MB", "min_wal_size": "80MB"},
        {"max_connections": "banana"},  # The program says it better.
        {"work_mem": None},
    ],
)
def test_what_can_run_is_none(parameters):
    assert rules.parameter_faults(parameters, members=3, memory_mb=3072) == []


def test_where_the_memory_is_not_known_nothing_is_said_of_it():
    assert rules.parameter_faults({"shared_buffers": "1TB"}) == []


SENT = {"archive_command": 'pgbackrest --stanza=utmstack --io-timeout=5 archive-push "%p"', "wal_keep_size": "1GB"}


@pytest.mark.parametrize(
    ("parameters", "users", "faults"),
    [
        (SENT, {"work_mem": "7MB"}, 0),
        (SENT, {"Archive_Mode": "always", "archive_command": "cp %p /srv"}, 2),
        (SENT | {"wal_keep_size": "256MB"}, {}, 1),
        (SENT | {"wal_keep_size": 512}, {}, 0),
        ({"archive_command": "cp %p /srv", "wal_keep_size": "16MB"}, {"archive_command": "cp %p /srv"}, 0),
        ({}, {}, 0),
    ],
)
def test_what_would_keep_wal_from_the_backup_hosts_is_a_fault_where_there_are_some(parameters, users, faults):
    assert len(rules.archive_faults(parameters, users)) == faults


@pytest.mark.parametrize(
    "config",
    [
        {"ttl": "soon"},
        {"maximum_lag_on_failover": "1MB"},
        {"synchronous_node_count": 0},
        {"primary_start_timeout": True},
    ],
)
def test_what_patroni_would_not_take_is_a_fault(config):
    (fault,) = rules.configuration_faults(config)
    assert fault.startswith(f"{next(iter(config))} is ")


def test_what_patroni_takes_is_none():
    assert (
        rules.configuration_faults({"ttl": 20, "loop_wait": 3, "retry_timeout": 5, "maximum_lag_on_failover": "5"})
        == []
    )


def test_what_patroni_takes_from_its_store_alone_can_not_be_tried():
    assert rules.tried(["wal_level", "max_connections", "port", "work_mem", "io_method", "Huge_Pages", "a.b"]) == {
        "io_method",
        "Huge_Pages",
        "a.b",
    }


@pytest.mark.parametrize(
    "line",
    [
        "hostssl all all 10.0.9.0/24 scram-sha-256",
        "hostssl utmstack,other +group 10.0.9.7/32 cert map=x",
        'host "all the world", a all 10.0.9.7 255.255.255.255 scram-sha-256',
        "host all all fe80::/10 reject",
        "host all all .example.com scram-sha-256",
        "host all /^x$ samenet md5",
        "local all all peer # comment",
        "# comment",
        "",
        "include /etc/postgresql/more.conf",
    ],
)
def test_a_line_that_pg_hba_may_have_is_no_fault(line):
    assert rules.hba_faults([line]) == []


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("nonsense", "'nonsense' is none of local, host"),
        ("host all all scram-sha-256", "the method is missing"),
        ("hostssl all all 10.0.9.7 scram-sha-256", "lacks its prefix length, such as 10.0.9.7/32"),
        ("hostssl all all 10.0.9.0/24 scram", "'scram' is no method"),
        ("hostssl all all 10.0.9.0/24", "the method is missing"),
        ("host all", "have to follow"),
        ("local all all", "the method is missing"),
        ("hostssl all all 10.0.9.0/24 cert clientname", "no option of the form"),
        ("host all all 10.0.9.0_24 md5", "is no address"),
    ],
)
def test_a_line_that_keeps_a_server_from_starting_is_a_fault(line, why):
    (fault,) = rules.hba_faults([line])
    assert line in fault
    assert why in fault


class Program:
    """postgres 17.12, as it answers `-C`."""

    SAYS = {
        "work_mem=banana": '2026-11-29 08:08:13 GMT [1] FATAL:  invalid value for parameter "work_mem": "banana"\n',
        "wrk_mem=3": '2026-11-29 08:08:13 GMT [1] FATAL:  unrecognized configuration parameter "wrk_mem"\n',
        "huge_pages=maybe": (
            '2026-11-29 08:08:13 GMT [1] FATAL:  invalid value for parameter "huge_pages": "maybe"\n'
            "2026-11-29 08:08:13 GMT [1] HINT:  Available values: off, on, try.\n"
        ),
    }

    def __init__(self):
        self.asked = []

    def run(self, command):
        self.asked.append(command)
        for word in command:
            if word in self.SAYS:
                return 1, "", self.SAYS[word]
        return 0, "17.12\n", "LOG:  skipping missing configuration file\n"


def test_the_installed_program_is_asked_once_where_all_is_well():
    program = Program()
    assert rules.program_faults(program.run, "postgres", {"work_mem": "7MB", "ssl": True, "gone": None}) == []
    (command,) = program.asked
    assert "ssl=on" in command
    assert "gone=None" not in command
    assert command[1] == "-C", "as root it judges only as the first word"


def test_all_that_the_program_does_not_take_is_told_with_its_words():
    program = Program()
    wrong = {"work_mem": "banana", "wrk_mem": 3, "huge_pages": "maybe", "ssl": True}
    assert rules.program_faults(program.run, "postgres", wrong) == [
        'PostgreSQL does not take work_mem = banana: invalid value for parameter "work_mem": "banana".',
        'PostgreSQL does not take wrk_mem = 3: unrecognized configuration parameter "wrk_mem".',
        'PostgreSQL does not take huge_pages = maybe: invalid value for parameter "huge_pages": "maybe". Available values: off, on, try.',
    ]
