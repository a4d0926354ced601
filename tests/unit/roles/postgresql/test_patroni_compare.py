# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether a leader of Patroni 3.0.2 takes another's leader key. What is doubled: Patroni's class, as far as it is used, and etcd's
transactions; tests/testinfra/test_converge.py asks the real ones on Debian 12."""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

PROGRAM = Path(__file__).resolve().parents[4] / "roles" / "postgresql" / "files" / "patroni_compare.py"
KEY = "/service/utmstack/leader"


@pytest.fixture(scope="module")
def program():
    spec = importlib.util.spec_from_file_location("patroni_compare", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Etcd3Client:
    """An etcd of one key: (value, lease), or None."""

    def __init__(self, stored):
        self.stored, self.logins = stored, 0

    @staticmethod
    def _handle_auth_errors(func):
        def wrapper(self, *args, **kwargs):
            self.logins += 1
            return func(self, *args, **kwargs)

        return wrapper

    def txn(self, compare, success, retry=None):
        assert compare["key"] == f"b64:{KEY}" and retry is not None
        if compare["target"] == "VALUE":
            met = self.stored is not None and self.stored[0] == compare["value"]
        else:
            met = compare["create_revision"] == "0" and self.stored is None
        if met:
            self.stored = (success["request_put"]["value"], success["request_put"]["lease"])
        return met or None


class Retry:
    def __init__(self, left):
        self.left, self.stoptime = left, time.time() + left

    def copy(self):
        return Retry(self.left)

    def __call__(self, method, *args, **kwargs):
        return method(*args, **kwargs)


class Etcd3:
    """A member node1 whose session is `lease`; `seen` is the session of the leader key as it has read it last."""

    leader_path, _name = KEY, "node1"

    def __init__(self, stored, seen, lease="new", left=10.0):
        self._client, self._lease, self._retry = Etcd3Client(stored), lease, Retry(left)
        self.cluster = SimpleNamespace(leader=SimpleNamespace(session=seen) if seen else None)

    def _do_refresh_lease(self, force, retry):
        assert force

    def _run_and_handle_exceptions(self, method, *args, retry):
        return retry(method, *args)


@pytest.fixture
def module(program):
    class Etcd3Error(Exception):
        pass

    module = SimpleNamespace(
        Etcd3=Etcd3,
        Etcd3Client=Etcd3Client,
        Etcd3Error=Etcd3Error,
        base64_encode=lambda text: f"b64:{text}",
        catch_return_false_exception=lambda method: method,
        time=time,
    )
    program.repair(module)
    return module


@pytest.mark.parametrize(
    ("stored", "seen", "leads"),
    [
        (("b64:node1", "new"), "new", True),
        (("b64:node1", "old"), "old", True),
        (("b64:node1", "old"), None, True),
        (None, "old", True),
        (("b64:node2", "theirs"), "old", False),
        (("b64:node2", "theirs"), None, False),
        (("b64:node2", "theirs"), "theirs", False),
    ],
)
def test_the_leader_key_is_written_where_it_is_the_members_own_or_missing(module, stored, seen, leads):
    member = Etcd3(stored, seen)
    assert member._update_leader() is leads
    assert member._client.stored == (("b64:node1", "new") if leads else stored)


def test_a_lease_that_the_key_has_already_is_not_written_again(module):
    member = Etcd3(("b64:node1", "new"), "new")
    assert member._update_leader()
    assert member._client.logins == 0


def test_every_transaction_logs_in_again_where_etcd_has_forgotten_the_token(module):
    member = Etcd3(("b64:node2", "theirs"), "old")
    member._update_leader()
    assert member._client.logins == 2


def test_without_a_session_nobody_leads(module):
    member = Etcd3(None, "old", lease=None)
    assert not member._update_leader()
    assert member._client.stored is None


def test_with_less_than_a_second_left_it_is_not_tried(module):
    member = Etcd3(("b64:node1", "old"), "old", left=0.5)
    with pytest.raises(module.Etcd3Error):
        member._update_leader()
    assert member._client.stored == ("b64:node1", "old")


@pytest.mark.parametrize(
    ("version", "does"), [("3.0.2", False), ("3.0.3", True), ("3.1.0", True), ("4.0.7", True), ("2.1.7", False)]
)
def test_a_patroni_that_compares_is_left_alone(program, version, does):
    assert program.compares(version) is does
