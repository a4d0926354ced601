# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.redis import acl as redis_acl
from ansible_collections.utmstack.ha.plugins.module_utils.redis import client as redis_client
from ansible_collections.utmstack.ha.plugins.module_utils.redis import settings as redis_settings
from redis_network import SERVERS, recording

# As role redis and its users write them; each server of the recordings ran with these.
WRITTEN = {
    "port": 0,
    "tls-port": 6379,
    "tls-auth-clients": "optional",
    "tls-replication": True,
    "appendonly": "YES",
    "appendfsync": "everysec",
    "save": "3600 1 300 100",
    "maxmemory": "0mb",
    "maxmemory-policy": "noeviction",
    "min-replicas-to-write": 1,
    "masterauth": "pw-replication",
    "logfile": None,
}


@pytest.mark.parametrize("server", SERVERS)
def test_settings_that_a_server_runs_with_are_no_change(server):
    present = redis_client.pairs(recording(server)["config"])
    assert redis_settings.plan(WRITTEN, present) == redis_settings.Plan()


@pytest.mark.parametrize("server", SERVERS)
def test_changes_are_told_apart_from_those_that_wait_for_a_restart(server):
    present = redis_client.pairs(recording(server)["config"])
    wanted = {**WRITTEN, "maxmemory": "100mb", "io-threads": 4, "loadmodule": "/usr/lib/x.so", "save": '""'}
    found = redis_settings.plan(wanted, present)
    assert found.change == {"maxmemory": "100mb", "save": ""}
    assert found.restart == {"io-threads": "4"}
    assert found.unknown == ["loadmodule"]


@pytest.mark.parametrize(
    ("name", "one", "other", "equal"),
    [
        ("maxmemory", "1gb", "1073741824", True),
        ("maxmemory", "1g", "1000000000", True),
        ("maxmemory", "1gb", "1000000000", False),
        ("tcp-keepalive", "060", "60", True),
        ("appendfsync", "always", "everysec", False),
        ("client-output-buffer-limit", "replica 512mb 128mb 60", "normal 0 0 0 slave 536870912 134217728 60", True),
        ("client-output-buffer-limit", "replica 512mb 128mb 90", "normal 0 0 0 slave 536870912 134217728 60", False),
        ("notify-keyspace-events", "KEx", "xKE", True),
        ("notify-keyspace-events", "KEA", "AKE", True),
        ("notify-keyspace-events", "KEx", "KE", False),
        ("logfile", "", "", True),
    ],
)
def test_two_spellings_of_one_value_are_the_same(name, one, other, equal):
    assert redis_settings.same(name, one, other) is equal


def test_lines_are_written_as_redis_reads_them():
    written = redis_settings.lines(
        {"appendonly": True, "save": "", "x": None, "loadmodule": ["/a.so", "/b.so b"], "port": 0}
    )
    assert written == 'appendonly yes\nsave ""\nloadmodule /a.so\nloadmodule /b.so b\nport 0\n'


@pytest.mark.parametrize(
    ("ram_mb", "share", "maxmemory", "backlog"),
    [
        (16384, 0.1, "768mb", "48mb"),
        (16000, 0.1, "768mb", "48mb"),
        (65536, 1.0, "32768mb", "512mb"),
        (2048, 0.08, "80mb", "16mb"),
    ],
)
def test_memory_follows_the_hosts_ram(ram_mb, share, maxmemory, backlog):
    assert redis_settings.memory(ram_mb, share) == {"maxmemory": maxmemory, "repl-backlog-size": backlog}


@pytest.mark.parametrize(("ram_mb", "share"), [(512, 0.1), (1024, 0), (1024, 1.5)])
def test_too_little_memory_is_refused(ram_mb, share):
    with pytest.raises(ValueError, match="share"):
        redis_settings.memory(ram_mb, share)


USER = {"name": "utmstack", "password": "a-long-password", "rules": "~* +@read"}


def test_an_acl_file_has_hashes_only_and_no_open_door():
    text = redis_acl.acl_file([USER], [{"name": "reports", "password": "another-password", "rules": " ~r:*\n+@read "}])
    assert text.splitlines()[0] == "user default off"
    assert "password" not in text
    # printf %s a-long-password | sha256sum
    assert (
        text.splitlines()[1]
        == "user utmstack on #05659b9c139ca08da5dab519fa526d6286fd71104a1d763a7acd945ce42b4957 ~* +@read"
    )
    assert text.splitlines()[2].startswith("user reports on #")
    assert text.splitlines()[2].endswith(" ~r:* +@read")


def test_passwords_that_the_present_file_accepts_stay_valid_beside_new_ones():
    present = redis_acl.acl_file([USER])
    new = redis_acl.acl_file([USER | {"password": "another-password"}], former=present)
    assert redis_acl.hashes(new) == {
        "utmstack": [redis_acl.hashed("another-password"), redis_acl.hashed("a-long-password")]
    }
    assert new.endswith(" ~* +@read\n")
    assert redis_acl.acl_file([USER], former=present) == present


@pytest.mark.parametrize(
    ("user", "fault"),
    [
        ({"name": "reports", "rules": "+@read"}, r"users\[0\] \(reports\): has no password, so anyone could log in"),
        (
            {"name": "reports", "password": "short", "rules": "+@read"},
            "the password has 5 characters; give it one of 12",
        ),
        ({"name": "utmstack", "password": "a-long-password", "rules": "+@read"}, "there is such a user already"),
        ({"name": "default", "password": "a-long-password", "rules": "+@read"}, "there is such a user already"),
        ({"name": "two words", "password": "a-long-password", "rules": "+@read"}, "a name is letters"),
        ({"name": "reports", "password": "a-long-password"}, "has no rules"),
        ({"name": "reports", "password": "a-long-password", "rules": "nopass +@all"}, "nopass is no rule"),
        ({"name": "reports", "password": "a-long-password", "rules": ">secret +@all"}, ">… is no rule"),
        ({}, r"users\[0\] \(no name\)"),
    ],
)
def test_a_user_that_would_be_a_hole_is_refused_with_the_remedy(user, fault):
    with pytest.raises(ValueError, match=fault):
        redis_acl.acl_file([USER], [user])


def test_all_faulty_users_are_told_at_once_and_no_password_is():
    with pytest.raises(ValueError, match="users") as caught:
        redis_acl.acl_file([], [{"name": "a", "password": "hunter2", "rules": "+get"}, {"name": "b", "rules": "+get"}])
    assert "users[0]" in str(caught.value)
    assert "users[1]" in str(caught.value)
    assert "hunter2" not in str(caught.value)
