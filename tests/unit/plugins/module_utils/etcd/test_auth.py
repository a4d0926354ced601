# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import base64
import json

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.etcd import auth as etcd_auth
from ansible_collections.utmstack.ha.plugins.modules import etcd_auth as module
from etcd_replay import VERSIONS, Server, run

ROOT = {"name": "root", "password": "rootpw"}
PATRONI = {"name": "patroni", "password": "patronipw", "roles": ["patroni"]}
DECLARED = {
    "roles": [{"name": "patroni", "permissions": [{"prefix": "/service/"}]}],
    "users": [ROOT, PATRONI],
}
WRITES = [
    f"/v3/auth/{path}"
    for path in (
        "role/add",
        "role/grant",
        "role/revoke",
        "user/add",
        "user/changepw",
        "user/grant",
        "user/revoke",
        "enable",
    )
]


@pytest.fixture(params=VERSIONS)
def declare(request, monkeypatch, capsys):
    """Run etcd_auth on a recorded scene; returns its answer and the server."""

    def call(scene, check=False, **options):
        server = Server(request.param, scene)
        return run(module, server, monkeypatch, capsys, check, **{**DECLARED, **options}), server

    return call


def test_a_new_cluster_gets_roles_then_users_and_is_locked_last(declare):
    answer, server = declare("auth_first")
    assert answer["changed"] is True
    assert answer["steps"] == [
        "role/add patroni",
        "role/grant patroni",
        "role/add root",
        "user/add root",
        "user/grant root",
        "user/add patroni",
        "user/grant patroni",
        "enable",
    ]
    assert len(server.sent(*WRITES)) == 8
    (grant,) = server.sent("/v3/auth/role/grant")
    assert base64.b64decode(grant["perm"]["key"]) == b"/service/"
    assert base64.b64decode(grant["perm"]["range_end"]) == b"/service0"


def test_a_second_run_changes_nothing(declare):
    answer, server = declare("auth_again")
    assert (answer["changed"], answer["steps"], server.sent(*WRITES)) == (False, [], [])


def test_a_password_that_does_not_work_is_set_and_never_shown(declare):
    answer, server = declare("auth_other_password", users=[ROOT, {**PATRONI, "password": "new"}])
    assert answer["steps"] == ["user/changepw patroni"]
    assert server.sent("/v3/auth/user/changepw") == [{"name": "patroni", "password": "new"}]
    assert '"another one"' in answer["diff"]["before"]
    assert "rootpw" not in json.dumps(answer)
    assert "patronipw" not in json.dumps(answer)


def test_check_mode_tells_all_and_sends_nothing(declare):
    answer, server = declare("auth_first", check=True)
    assert (answer["changed"], len(answer["steps"]), server.sent(*WRITES)) == (True, 8, [])


def test_a_refused_root_password_is_told_with_the_likely_reason(declare):
    answer, _server = declare(
        "auth_root_password_refused", password="wrong", users=[{"name": "root", "password": "wrong"}]
    )
    assert answer["failed"] is True
    assert answer["msg"].endswith("authentication failed, invalid user ID or password. Is it the password of root?")


@pytest.mark.parametrize(
    ("scene", "steps"), [("auth_root_rotation", ["user/changepw root"]), ("auth_root_rotation_again", [])]
)
def test_root_password_is_rotated_with_the_old_one_also_when_that_was_done_before(declare, scene, steps):
    answer, _server = declare(scene, users=[{"name": "root", "password": "rootnew"}])
    assert answer["steps"] == steps


def test_without_a_leader_it_says_who_is_missing(declare):
    answer, _server = declare("no_quorum_auth")
    assert answer["failed"] is True
    assert "the cluster has no leader (https://127.0.0.11:2379: Connection refused" in answer["msg"]


def test_authentication_without_root_is_refused_before_anything_is_asked():
    with pytest.raises(ValueError, match="user root"):
        etcd_auth.wanted_state({"enabled": True, "roles": [], "users": [PATRONI], "username": None})


@pytest.mark.parametrize(
    ("prefix", "key", "first", "end", "shown"),
    [
        ("/service/", None, b"/service/", b"/service0", "/service/*"),
        (None, "/one", b"/one", b"", "/one"),
        ("", None, b"\0", b"\0", "*"),
        ("aÿ", None, "aÿ".encode(), b"a\xc3\xc0", "aÿ*"),
    ],
)
def test_a_prefix_covers_all_keys_that_begin_with_it(prefix, key, first, end, shown):
    covered = etcd_auth.key_range(prefix, key)
    assert tuple(base64.b64decode(part) for part in covered) == (first, end)
    assert etcd_auth.describe(covered) == shown


def test_a_half_done_run_is_completed_and_what_is_not_declared_stays():
    covered = etcd_auth.key_range("/service/", None)
    stale = etcd_auth.key_range("/old/", None)
    current = etcd_auth.State(
        enabled=False,
        users={"root": etcd_auth.User(set()), "someone": etcd_auth.User({"his"})},
        roles={"patroni": {stale: "READWRITE", covered: "READ"}, "his": {}},
    )
    wanted, passwords = etcd_auth.wanted_state(
        {
            "enabled": True,
            "username": "root",
            "roles": [
                {"name": "patroni", "permissions": [{"prefix": "/service/", "key": None, "access": "readwrite"}]}
            ],
            "users": [{**ROOT, "roles": None}, PATRONI],
        }
    )
    steps = [
        (step.path.removeprefix("/v3/auth/"), step.body.get("name") or step.body.get("role") or step.body.get("user"))
        for step in etcd_auth.plan(current, wanted, passwords)
    ]
    assert steps == [
        ("role/revoke", "patroni"),
        ("role/grant", "patroni"),
        ("role/add", "root"),
        ("user/changepw", "root"),
        ("user/grant", "root"),
        ("user/add", "patroni"),
        ("user/grant", "patroni"),
        ("enable", None),
    ]
    after = etcd_auth.shown(etcd_auth.applied(current, wanted), passwords)
    assert after["users"]["someone"] == {"roles": ["his"]}
    assert after["roles"]["patroni"] == ["readwrite /service/*"]


def test_authentication_that_stays_off_leaves_passwords_that_cannot_be_tried_alone():
    current = etcd_auth.State(enabled=False, users={"root": etcd_auth.User({"root"})}, roles={"root": {}})
    wanted = etcd_auth.State(enabled=False, users={"root": etcd_auth.User({"root"}, True)}, roles={"root": {}})
    assert etcd_auth.plan(current, wanted, {"root": "rootpw"}) == []
