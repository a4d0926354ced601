# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import json

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.search import security as search_security
from ansible_collections.utmstack.ha.plugins.modules import elasticsearch_user as module
from search_network import ENGINES, Network, run, superuser

ROLE = {
    "name": "utmstack",
    "cluster": ["monitor", "manage_index_templates", "manage_snapshots"],
    "indices": [
        {"names": ["v11-*", "log-*"], "privileges": ["read", "write", "create_index", "view_index_metadata"]},
    ],
}
USER = {"name": "utmstack", "password": "Long-enough-1x", "roles": ["utmstack"]}
OTHER = {**USER, "password": "Long-enough-2y", "roles": []}
GONE = {"users": [{"name": "utmstack", "state": "absent"}], "roles": [{"name": "utmstack", "state": "absent"}]}


@pytest.fixture(params=ENGINES)
def declare(request, monkeypatch, capsys):
    """Run elasticsearch_user on a recorded scene; returns its answer and the network."""

    def call(scene, check=False, **options):
        network = Network(request.param, scene)
        return run(module, network, monkeypatch, capsys, check, **options), network

    call.admin = superuser(request.param)
    call.opensearch = request.param.startswith("opensearch")
    return call


def own(declare, password="Long-enough-3z"):
    return {"name": declare.admin, "password": password}


def test_roles_are_made_before_the_users_that_hold_them(declare):
    answer, network = declare("users first", roles=[ROLE], users=[USER, own(declare)])
    assert (answer["changed"], answer["steps"]) == (True, ["role utmstack", "user utmstack"])
    assert len(network.changes) == 2
    assert "Long-enough" not in json.dumps(answer)


def test_a_second_run_changes_nothing(declare):
    answer, network = declare("users again", roles=[ROLE], users=[USER, own(declare)])
    assert (answer["changed"], answer["steps"], network.changes) == (False, [], [])
    assert f"{superuser(network.fixture)}:Long-enough-3z" in network.users
    assert "utmstack:Long-enough-1x" in network.users


def test_a_password_that_does_not_work_is_set_and_roles_are_taken_away(declare):
    answer, _network = declare("users with another password and no role", users=[OTHER])
    assert answer["steps"] == ["user utmstack", "password of utmstack"]
    assert '"another one"' in answer["diff"]["before"]
    assert "Long-enough" not in json.dumps(answer)


def test_a_user_that_is_there_keeps_its_password_where_that_is_wanted(declare):
    kept = {**OTHER, "update_password": "on_create"}
    answer, _network = declare("users with another password and no role", users=[kept])
    assert answer["steps"] == ["user utmstack"]


def test_the_own_password_is_changed_last_and_used_from_then_on(declare):
    answer, network = declare("users rotating the own password", users=[own(declare, "Long-enough-4w"), OTHER])
    assert answer["steps"] == [f"password of {declare.admin}"]
    assert len(network.changes) == 1


def test_a_rotation_that_was_done_before_is_noticed(declare):
    answer, _network = declare("users rotated before", users=[own(declare, "Long-enough-4w")])
    assert (answer["changed"], answer["steps"]) == (False, [])


def test_check_mode_tells_all_and_sends_nothing(declare):
    answer, network = declare("users first", check=True, roles=[ROLE], users=[USER, own(declare)])
    assert (answer["changed"], len(answer["steps"]), network.changes) == (True, 2, [])


def test_users_and_roles_go_in_the_order_in_which_nobody_holds_a_missing_role(declare):
    answer, _network = declare("users gone", **GONE)
    assert answer["steps"] == ["delete user utmstack", "delete role utmstack"]
    assert declare("users gone again", **GONE)[0]["changed"] is False


def test_a_weak_password_is_refused_with_the_servers_words_and_a_remedy(declare):
    answer, _network = declare("users with a weak password", users=[{"name": "weak", "password": "abc"}])
    assert answer["failed"] is True
    assert answer["msg"].startswith("Setting user weak failed: ")
    assert answer["msg"].endswith("Choose a longer one, of letters, digits and signs that are no word.")


def test_a_refused_own_password_is_told_with_the_likely_reasons(declare):
    answer, _network = declare("users with a wrong own password", password="wrong-password", users=[USER])
    assert answer["failed"] is True
    assert f"Is it the password of {declare.admin}?" in answer["msg"]


def test_what_the_server_does_not_know_is_told_in_its_words(declare):
    odd = [{"name": "odd", "password": "Long-enough-9v", "roles": ["odd"]}]
    if declare.opensearch:
        answer, _network = declare("users with an unknown role", users=odd)
        assert "role 'odd' not found." in answer["msg"]
    else:
        roles = [{"name": "odd", "cluster": ["bogus"]}]
        answer, _network = declare("users with an unknown privilege", roles=roles, users=odd)
        assert "unknown cluster privilege [bogus]" in answer["msg"]


def test_a_password_that_only_the_keystores_have_is_put_into_the_cluster(monkeypatch, capsys):
    only = {"password": "elasticpw", "users": [{"name": "elastic", "password": "elasticpw"}]}
    scene = "users of which the superuser is in the keystore only"
    answer = run(module, Network("elasticsearch-9.2.0", scene), monkeypatch, capsys, **only)
    assert answer["steps"] == ["password of elastic"]
    assert "in the keystores only" in answer["diff"]["before"]
    assert (
        run(module, Network("elasticsearch-9.2.0", f"{scene}, again"), monkeypatch, capsys, **only)["changed"] is False
    )


def test_a_server_that_keeps_no_users_is_told(monkeypatch, capsys):
    network = Network("opensearch-3.3.0", "users without the security plugin")
    answer = run(module, network, monkeypatch, capsys, users=[USER])
    assert "no handler found for uri" in answer["msg"]
    assert "or OpenSearch's plugin for it installed?" in answer["msg"]


@pytest.mark.parametrize(
    ("cluster", "indices", "permissions"),
    [
        (["monitor"], [], ["cluster_monitor"]),
        (["all"], [], ["cluster_all"]),
        ([], [(["a"], ["read"])], ["cluster_composite_ops_ro"]),
        ([], [(["a"], ["read", "monitor"]), (["b"], ["write"])], ["cluster_composite_ops"]),
        (["cluster:admin/x", "manage_snapshots"], [], ["cluster:admin/x", "manage_snapshots"]),
    ],
)
def test_cluster_privileges_are_translated_for_opensearch(cluster, indices, permissions):
    role = {"cluster": cluster, "indices": [{"names": names, "privileges": given} for names, given in indices]}
    assert search_security.role_body(role, opensearch=True)["cluster_permissions"] == permissions


def test_what_a_role_has_beyond_the_declared_is_a_difference_and_the_order_is_none():
    present = {
        "cluster": ["monitor"],
        "indices": [{"names": ["b", "a"], "privileges": ["write", "read"], "allow_restricted_indices": False}],
        "applications": [],
        "run_as": [],
        "metadata": {"x": 1},
        "transient_metadata": {"enabled": True},
    }
    wanted = {"cluster": ["monitor"], "indices": [{"names": ["a", "b"], "privileges": ["read", "write"]}]}
    assert search_security.reduced(present) == search_security.role_body(wanted, opensearch=False)
    present["run_as"] = ["someone"]
    assert search_security.reduced(present) != search_security.role_body(wanted, opensearch=False)


def test_a_disabled_user_is_enabled_again():
    wanted = {"name": "u", "password": "p", "roles": None, "state": "present"}
    present = search_security.User({"r"}, enabled=False, password_ok=False)
    steps = search_security.Elasticsearch().user_steps(wanted, present)
    assert [step.body for step in steps] == [{"roles": ["r"], "enabled": True}, {"password": "p"}]
