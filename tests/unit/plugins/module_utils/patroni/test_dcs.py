# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What Patroni keeps in etcd, changed while it does not run; etcd's gateway is doubled, with its replies as 3.4.23 gives them."""

from __future__ import annotations

import base64
import io
import json
import urllib.error

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.etcd.client import Client, EtcdError
from ansible_collections.utmstack.ha.plugins.module_utils.patroni import dcs as patroni_dcs

PREFIX = "/service/utmstack/"
KEYS = {
    "config": '{"ttl":20,"pause":true,"postgresql":{"parameters":{"max_connections":100}}}',
    "initialize": "7712295033673263039",
    "leader": "node2",
    "members/node1": "{}",
    "sync": '{"leader":"node2","sync_standby":"node1"}',
}
NEW = "7712297380187730904"
RESUMED = '{"ttl":20,"postgresql":{"parameters":{"max_connections":100}}}'


def wire(text):
    return base64.b64encode(text.encode()).decode()


class Etcd:
    """One member that answers and one that does not. meanwhile: somebody else changes the configuration before the transaction."""

    def __init__(self, keys, meanwhile=False):
        self.keys, self.meanwhile, self.revision = {PREFIX + name: text for name, text in keys.items()}, meanwhile, 7
        self.client = Client(["https://10.0.1.11:2379", "https://10.0.1.12:2379"], self.open)

    def open(self, request, _timeout):
        if "10.0.1.11" in request.full_url:
            raise urllib.error.URLError(OSError(111, "Connection refused"))
        answer = getattr(self, request.selector.rpartition("/")[2])(json.loads(request.data))
        return io.BytesIO(json.dumps(answer).encode())

    def range(self, body):
        assert (body["key"], body["range_end"]) == (wire(PREFIX), wire("/service/utmstack0"))
        found = [
            {"key": wire(key), "value": wire(text), "mod_revision": str(self.revision), "version": "1"}
            for key, text in self.keys.items()
        ]
        return {"header": {}, **({"kvs": found, "count": str(len(found))} if found else {})}

    def txn(self, body):
        (compare,) = body["compare"]
        assert (compare["key"], compare["target"]) == (wire(PREFIX + "config"), "MOD")
        self.revision += self.meanwhile
        if compare["mod_revision"] != str(self.revision):
            return {"header": {}}
        for action in body["success"]:
            ((kind, fields),) = action.items()
            key = base64.b64decode(fields["key"]).decode()
            if kind == "request_put":
                self.keys[key] = base64.b64decode(fields["value"]).decode()
            else:
                del self.keys[key]
        return {"header": {}, "succeeded": True}


def test_a_reset_leaves_the_configuration_not_paused_and_the_number_of_the_new_data():
    etcd = Etcd(KEYS)
    result = patroni_dcs.change(etcd.client, PREFIX, NEW)
    assert result == {"changed": True, "deleted": ["leader", "members/node1", "sync"], "resumed": True}
    assert etcd.keys == {PREFIX + "config": RESUMED, PREFIX + "initialize": NEW}
    assert not patroni_dcs.change(etcd.client, PREFIX, NEW)["changed"]


def test_a_pause_is_ended_without_anything_being_forgotten():
    etcd = Etcd(KEYS)
    assert patroni_dcs.change(etcd.client, PREFIX) == {"changed": True, "deleted": [], "resumed": True}
    assert etcd.keys == {PREFIX + name: text for name, text in (KEYS | {"config": RESUMED}).items()}


def test_a_dry_run_only_tells():
    etcd = Etcd(KEYS)
    assert patroni_dcs.change(etcd.client, PREFIX, NEW, check_mode=True)["changed"]
    assert len(etcd.keys) == len(KEYS)


def test_somebody_elses_change_is_not_overwritten():
    etcd = Etcd(KEYS, meanwhile=True)
    with pytest.raises(EtcdError, match="changed by somebody else"):
        patroni_dcs.change(etcd.client, PREFIX, NEW)
    assert len(etcd.keys) == len(KEYS)


def test_a_scope_without_a_configuration_is_no_cluster():
    with pytest.raises(EtcdError, match="Is this the right scope"):
        patroni_dcs.change(Etcd({}).client, PREFIX, NEW)


def test_it_is_said_what_each_member_answered():
    etcd = Etcd(KEYS)
    etcd.client.endpoints = etcd.client.endpoints[:1]
    with pytest.raises(EtcdError, match="https://10.0.1.11:2379: Connection refused"):
        patroni_dcs.change(etcd.client, PREFIX, NEW)
