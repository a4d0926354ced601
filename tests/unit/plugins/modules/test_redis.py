# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the modules change on a server, against what real servers replied."""

from __future__ import annotations

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.redis import client as redis_client
from ansible_collections.utmstack.ha.plugins.module_utils.redis.client import RedisError
from ansible_collections.utmstack.ha.plugins.modules import redis_acl_load, redis_config, redis_sentinel_monitor
from redis_network import SERVERS, Connection, recording


class Server:
    """A data node: its settings, and what it was told. `refuse` maps the name of a setting to the error for it."""

    def __init__(self, server, refuse=None):
        self.settings = redis_client.pairs(recording(server)["config"])
        self.refuse, self.log = refuse or {}, []
        self.connection = Connection(self.answer)

    def answer(self, words):
        if words[:2] == ["CONFIG", "GET"]:
            return [word for name in words[2:] if name in self.settings for word in (name, self.settings[name])]
        self.log.append(words)
        if words[:2] == ["CONFIG", "SET"]:
            changes = redis_client.pairs(words[2:])
            for name in changes:
                if name in self.refuse:
                    return self.refuse[name]
            self.settings |= changes
        if words[:2] == ["ACL", "LOAD"] and "ACL" in self.refuse:
            return self.refuse["ACL"]
        return "OK"


def error(server, name):
    return RedisError(recording(server)["errors"][name]["error"], answered=True)


def reconcile(server, settings, secrets=None, check=False):
    return redis_config.reconcile(server.connection, {"settings": settings, "secret_settings": secrets or {}}, check)


@pytest.mark.parametrize("name", SERVERS)
def test_only_what_differs_is_set_and_all_of_it_at_once(name):
    server = Server(name)
    found = reconcile(server, {"appendonly": "yes", "maxmemory": "104857600", "tcp-keepalive": 60})
    assert server.log == [["CONFIG", "SET", "maxmemory", "104857600", "tcp-keepalive", "60"]]
    assert found["changed_settings"] == ["maxmemory", "tcp-keepalive"]
    assert found["diff"] == {
        "before": "maxmemory 0\ntcp-keepalive 300\n",
        "after": "maxmemory 104857600\ntcp-keepalive 60\n",
    }
    assert reconcile(server, {"maxmemory": "100mb", "tcp-keepalive": 60})["changed_settings"] == []


@pytest.mark.parametrize("name", SERVERS)
def test_a_dry_run_sets_nothing_and_tells_the_same(name):
    server = Server(name)
    found = reconcile(server, {"maxmemory": "100mb", "databases": 32}, check=True)
    assert server.log == []
    assert found["changed_settings"] == ["maxmemory"]


@pytest.mark.parametrize("name", SERVERS)
def test_what_only_a_start_reads_is_told_also_where_the_server_has_to_say_so(name):
    server = Server(name, refuse={"masteruser": error(name, "immutable")})
    server.refuse["masteruser"] = RedisError(
        str(error(name, "immutable")).replace("databases", "masteruser"), answered=True
    )
    found = reconcile(server, {"io-threads": 4, "masteruser": "other", "maxmemory": "5"})
    assert found["restart"] == ["io-threads", "masteruser"]
    assert found["changed_settings"] == ["maxmemory"]


@pytest.mark.parametrize("name", SERVERS)
def test_a_bad_value_changes_nothing_and_is_told_in_the_servers_words(name):
    server = Server(name, refuse={"maxmemory": error(name, "bad_value")})
    with pytest.raises(RedisError, match="maxmemory.* argument must be a memory value"):
        reconcile(server, {"maxmemory": "blah", "tcp-keepalive": 60})
    assert server.settings["tcp-keepalive"] == "300"


def test_a_secret_changes_without_being_shown():
    server = Server("redis_8.0.2")
    found = reconcile(server, {}, {"masterauth": "new-secret"})
    assert server.settings["masterauth"] == "new-secret"
    assert found["changed_settings"] == ["masterauth"]
    assert "new-secret" not in str(found)
    assert "pw-replication" not in str(found)


def test_certificates_are_read_again_and_the_stamp_says_so(tmp_path):
    server = Server("redis_8.0.2")
    server.settings |= {"tls-cert-file": "/c", "tls-key-file": "/k"}
    redis_config.reload(server.connection, str(tmp_path / "run" / "stamp"))
    assert server.log == [
        ["ACL", "LOAD"],
        ["CONFIG", "SET", "tls-cert-file", "/c", "tls-key-file", "/k", "tls-ca-cert-file", "/x/tls/ca.crt"],
    ]
    assert (tmp_path / "run" / "stamp").exists()


def test_a_reload_that_is_refused_leaves_no_stamp(tmp_path):
    server = Server("redis_8.0.2", refuse={"ACL": RedisError("ERR bad file", answered=True)})
    with pytest.raises(RedisError, match="bad file"):
        redis_config.reload(server.connection, str(tmp_path / "stamp"))
    assert not (tmp_path / "stamp").exists()


class Sentinel:
    """A sentinel that may watch the master already."""

    def __init__(self, name, watches=True):
        recorded = recording(name)
        self.unknown = RedisError(recorded["errors"]["unknown_master"]["error"], answered=True)
        self.fields = redis_client.pairs(recorded["healthy"]["sentinel"]["127.0.0.11"])
        self.watches, self.log = watches, []
        self.connection = Connection(self.answer)

    def answer(self, words):
        if words[:2] == ["SENTINEL", "MASTER"]:
            return [word for pair in self.fields.items() for word in pair] if self.watches else self.unknown
        self.log.append(words)
        if words[1] == "MONITOR":
            self.watches = True
        return "OK"


def monitor(sentinel, check=False, address="127.0.0.13", **settings):
    params = {
        "master_name": "utmstack-redis",
        "master_address": address,
        "master_port": 6379,
        "quorum": 2,
        "settings": {name.replace("_", "-"): value for name, value in settings.items()},
    }
    return redis_sentinel_monitor.reconcile(sentinel.connection, params, check)


@pytest.mark.parametrize("name", SERVERS)
def test_a_master_that_is_watched_is_never_moved(name):
    sentinel = Sentinel(name)
    found = monitor(sentinel, down_after_milliseconds=1500, parallel_syncs=1)
    assert found == {"changed": False, "master_address": "127.0.0.11", "diff": {"before": "", "after": ""}}
    assert sentinel.log == []


@pytest.mark.parametrize("name", SERVERS)
def test_settings_that_differ_are_set_with_a_diff(name):
    sentinel = Sentinel(name)
    found = monitor(sentinel, down_after_milliseconds=3000, parallel_syncs=1)
    assert sentinel.log == [["SENTINEL", "SET", "utmstack-redis", "down-after-milliseconds", "3000"]]
    assert found["diff"] == {"before": "down-after-milliseconds 1500\n", "after": "down-after-milliseconds 3000\n"}


@pytest.mark.parametrize("check", [True, False])
def test_a_sentinel_without_memory_watches_the_master_it_is_told(check):
    sentinel = Sentinel("redis_8.0.2", watches=False)
    found = monitor(sentinel, check=check, down_after_milliseconds=3000)
    assert found["changed"]
    assert "watches 127.0.0.13 6379" in found["diff"]["after"]
    assert sentinel.log == (
        []
        if check
        else [
            ["SENTINEL", "MONITOR", "utmstack-redis", "127.0.0.13", "6379", "2"],
            ["SENTINEL", "SET", "utmstack-redis", "down-after-milliseconds", "3000"],
        ]
    )


def test_a_setting_that_sentinel_does_not_know_is_told():
    with pytest.raises(RedisError, match="no setting patience"):
        monitor(Sentinel("redis_8.0.2"), patience=1)


class Door:
    """What opens networks: a server that accepts some passwords, or does not run where there are none."""

    def __init__(self, *accepted):
        self.accepted, self.tried = accepted, []

    def __call__(self, ca_path, username, password, timeout):
        self.tried.append(password)
        refused = RedisError("WRONGPASS", answered=True) if self.accepted else RedisError("no route to host")
        return self if password in self.accepted else Closed(refused)

    def connect(self, address, port):
        return Connection(lambda words: "OK")


class Closed:
    def __init__(self, error):
        self.error = error

    def connect(self, address, port):
        raise self.error


@pytest.mark.parametrize(
    ("accepted", "noted", "tried"),
    [(["new"], "old", ["new"]), (["old"], "old", ["new", "old"]), ([], "old", ["new"])],
)
def test_a_server_is_told_a_new_password_by_the_noted_one_and_one_that_does_not_run_is_left(
    tmp_path, accepted, noted, tried
):
    (tmp_path / "noted").write_text(noted)
    params = {"ca_path": None, "username": "admin", "password": "new", "timeout": 1.0, "address": "10.0.1.11", "port": 6379,
              "former_password_file": str(tmp_path / "noted")}  # fmt: skip
    door = Door(*accepted)
    connection = redis_acl_load.log_in(params, door)
    assert (connection is None) == (not accepted)
    assert door.tried == tried


def test_a_password_that_neither_is_nor_was_is_an_error(tmp_path):
    params = {"ca_path": None, "username": "admin", "password": "new", "timeout": 1.0, "address": "10.0.1.11", "port": 6379,
              "former_password_file": str(tmp_path / "nothing")}  # fmt: skip
    with pytest.raises(RedisError, match="WRONGPASS"):
        redis_acl_load.log_in(params, Door("another"))
