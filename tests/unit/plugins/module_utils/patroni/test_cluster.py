# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is made of the answers of real Patroni members, without a network."""

from __future__ import annotations

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.patroni import cluster as patroni
from ansible_collections.utmstack.ha.plugins.module_utils.patroni import operations as patroni_operations
from patroni_network import Network, replies

VERSIONS = ("3.0.2", "4.0.7")


def status(name, expected=(), change=None, **options):
    answers = replies(name)
    if change:
        change(answers)
    return patroni_operations.read_status(Network(answers).client(), expected, **options)


def members(found):
    return {member["name"]: member for member in found["members"]}


@pytest.mark.parametrize("version", [*VERSIONS, "4.1.5"])
def test_a_whole_cluster_is_healthy(version):
    found = status(f"{version}-healthy", ["node1", "node2", "node3"])
    assert found["problems"] == []
    assert found["healthy"] is True
    assert sorted(member["role"] for member in found["members"]) == ["leader", "replica", "sync_standby"]
    assert {member["patroni_version"] for member in found["members"]} == {version}
    assert {member["postgresql_version"] for member in found["members"]} == {"15.18"}
    assert found["synchronous_mode"] == "on"
    assert found["failsafe_mode"] is True
    assert found["scope"] == "utmstack"


def test_debian_13_as_this_collection_sets_it_up_is_healthy_and_needs_no_change():
    found = status("4.0.7-debian13", ["node1", "node2", "node3"])
    assert found["problems"] == []
    assert found["synchronous_mode"] == "strict"
    assert {member["postgresql_version"] for member in found["members"]} == {"17.12"}
    wanted = {
        "ttl": "20",
        "synchronous_mode": "on",
        "postgresql": {"parameters": {"wal_receiver_timeout": "3s", "wal_keep_size": 1024, "hot_standby": True}},
    }
    assert patroni.plan_config(found["config"], wanted) == {}


@pytest.mark.parametrize("version", VERSIONS)
def test_standbys_stream_with_a_lag_and_from_the_leader(version):
    found = status(f"{version}-healthy")
    for member in found["members"]:
        standby = member["name"] != found["leader"]
        assert member["replication_state"] == ("streaming" if standby else None)
        assert member["replicates_from"] == (found["leader"] if standby else None)
        assert member["lag_bytes"] == (0 if standby else None)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_pending_restart_is_told_but_is_no_problem(version):
    found = status(f"{version}-pending-raised")
    assert found["pending_restart"] == ["node1", "node2", "node3"]
    assert found["healthy"] is True
    reason = {"max_connections": {"old_value": "50", "new_value": "60"}}
    assert members(found)["node1"]["pending_restart_reason"] == ({} if version == "3.0.2" else reason)


def test_a_restart_that_would_change_nothing_is_not_pending():
    """As Patroni 4.0.7 tells it once a value is taken back that no server has started with."""

    def taken_back(answers):
        for reply in answers.values():
            reply["GET /patroni"]["body"].update(
                pending_restart=True, pending_restart_reason={"huge_pages": {"old_value": "try", "new_value": "try"}}
            )

    assert status("4.0.7-healthy", change=taken_back)["pending_restart"] == []


@pytest.mark.parametrize("version", VERSIONS)
def test_maintenance_mode_is_a_problem(version):
    found = status(f"{version}-paused")
    assert found["paused"] is True
    assert found["problems"] == ["The cluster is paused (maintenance mode): there is no automatic failover."]


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_scheduled_is_told(version):
    assert status(f"{version}-scheduled-switchover")["scheduled_switchover"]["at"] == "2099-01-01T00:00:00+00:00"
    scheduled = {m["scheduled_restart"] for m in status(f"{version}-scheduled-restart")["members"]}
    assert scheduled == {None, "2099-01-01T00:00:00+00:00"}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_cluster_in_the_making_has_no_leader_and_no_configuration(version):
    found = status(f"{version}-bootstrapping")
    assert found["leader"] is None
    assert found["config"] == {}
    assert "No member holds the leader lock." in found["problems"]
    assert "node3 is in state 'stopped', not running." in found["problems"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_standby_that_is_copied_anew_is_a_problem_by_name(version):
    found = status(f"{version}-reinitializing")
    broken = next(member["name"] for member in found["members"] if member["state"] != "running")
    assert [problem.split()[0] for problem in found["problems"]] == [broken]


def test_quorum_standbys_are_synchronous_standbys():
    found = status("4.0.7-quorum")
    assert found["synchronous_mode"] == "quorum"
    assert found["synchronous_standbys"] == ["node2", "node3"]
    assert found["healthy"] is True


def test_a_killed_member_is_noticed_before_its_key_expires():
    found = status("4.0.7-member-killed")
    assert members(found)["node2"]["reachable"] is False
    assert found["problems"] == [
        "node2 does not answer at https://10.0.1.12:8008: <urlopen error [Errno 111] Connection refused>."
    ]


def test_a_member_that_has_gone_is_missed_only_where_it_is_expected():
    assert status("4.0.7-member-gone")["problems"] == []
    found = status("4.0.7-member-gone", ["node1", "node2", "node3"])
    assert found["problems"] == ["node2 is not a member of the cluster."]


def test_the_faults_of_a_host_that_is_known_to_be_away_do_not_count():
    names = ["node1", "node2", "node3"]
    assert status("4.0.7-member-gone", names, without=["node2"])["healthy"]
    assert status("4.0.7-member-killed", names, without=["node2"])["healthy"]
    assert not status("4.0.7-member-killed", names, without=["node3"])["healthy"]


def test_without_the_dcs_the_members_are_asked_themselves():
    found = status("4.0.7-dcs-down")
    assert found["dcs_reachable"] is False
    assert found["failsafe_active"] is True
    assert found["leader"] == "node1"
    assert sorted(members(found)) == ["node1", "node2", "node3"]
    assert "No member can read the cluster's state in the DCS." in found["problems"]
    assert "No member is a synchronous standby" not in " ".join(found["problems"])


def answer(path, **values):
    def change(answers):
        body = answers[f"https://10.0.1.1{path[-1]}:8008"]["GET /patroni"]["body"]
        for key, value in values.items():
            body[key] = {**body[key], **value} if isinstance(value, dict) and isinstance(body.get(key), dict) else value
            if value is None:
                del body[key]

    return change


# In 4.0.7-healthy, node2 leads and node3 is the synchronous standby.
FAULTS = [
    ("node1", {"state": "starting"}, "node1 is in state 'starting', not running."),
    ("node1", {"timeline": 7}, "node1 is on timeline 7, the leader on 1."),
    (
        "node1",
        {"replication_state": "in archive recovery"},
        "node1 does not stream (replication state: in archive recovery).",
    ),
    ("node1", {"xlog": {"paused": True}}, "node1 has its WAL replay paused."),
    (
        "node1",
        {"xlog": {"received_location": 80000000, "replayed_location": 80000000}},
        "node1 lags by 3886176 bytes, more than 1048576.",
    ),
    ("node1", {"watchdog_failed": True}, "node1 cannot use its watchdog."),
    (
        "node1",
        {"database_system_identifier": "1"},
        "node1 has the database of another cluster (its system identifier differs from the leader's).",
    ),
    ("node1", {"role": "primary"}, "node1 runs as primary without the leader lock."),
    ("node2", {"state": "stopping"}, "node2 is in state 'stopping', not running."),
    ("node2", {"role": "replica"}, "node2 holds the leader lock, but its PostgreSQL is not primary."),
    (
        "node3",
        {"failsafe_mode_is_active": True},
        "Failsafe mode is active: the primary goes on without the DCS, and there is no failover.",
    ),
]


@pytest.mark.parametrize(("member", "values", "sentence"), FAULTS)
def test_each_fault_of_a_member_is_a_sentence(member, values, sentence):
    found = status("4.0.7-healthy", change=answer(member, **values))
    assert sentence in found["problems"]
    assert found["healthy"] is False


def test_two_primaries_are_a_problem_of_their_own():
    found = status("4.0.7-healthy", change=answer("node1", role="primary"))
    assert "node1 and node2 all run as primary." in found["problems"]


def test_a_lag_counts_from_where_the_caller_says():
    change = answer("node1", xlog={"received_location": 80000000, "replayed_location": 80000000})
    assert status("4.0.7-healthy", change=change, maximum_lag=4000000)["healthy"] is True


def test_synchronous_mode_without_a_synchronous_standby_is_a_problem():
    def change(answers):
        for url in answers:
            for member in answers[url]["GET /cluster"]["body"]["members"]:
                member["role"] = {"sync_standby": "replica"}.get(member["role"], member["role"])

    found = status("4.0.7-healthy", change=change)
    assert found["problems"] == ["synchronous_mode is on, but no member is a synchronous standby."]


@pytest.mark.parametrize(
    ("config", "mode"),
    [
        ({}, "off"),
        ({"synchronous_mode": False, "synchronous_mode_strict": True}, "off"),
        ({"synchronous_mode": "on"}, "on"),
        ({"synchronous_mode": True, "synchronous_mode_strict": "true"}, "strict"),
        ({"synchronous_mode": "quorum", "synchronous_mode_strict": True}, "quorum"),
    ],
)
def test_the_synchronous_mode_is_one_word(config, mode):
    assert patroni.synchronous_mode(config) == mode


# -- dynamic configuration ------------------------------------------------------------------------------------------

CURRENT = {
    "ttl": 20,
    "failsafe_mode": True,
    "postgresql": {
        "parameters": {"max_connections": 50, "shared_buffers": "16MB", "wal_log_hints": "on"},
        "pg_hba": ["local all all trust"],
    },
}


def parameter(**values):
    return {"postgresql": {"parameters": values}}


@pytest.mark.parametrize(
    ("wanted", "patch"),
    [
        ({}, {}),
        ({"ttl": 20}, {}),
        ({"ttl": "20"}, {}),
        ({"ttl": "30"}, {"ttl": 30}),
        ({"failsafe_mode": "on"}, {}),
        ({"failsafe_mode": False}, {"failsafe_mode": False}),
        ({"loop_wait": 3}, {"loop_wait": 3}),
        ({"ttl": None}, {"ttl": None}),
        ({"not there": None}, {}),
        (parameter(shared_buffers=2048), {}),
        (parameter(shared_buffers="16384kB"), {}),
        (parameter(shared_buffers="32MB"), parameter(shared_buffers="32MB")),
        (parameter(wal_log_hints=True), {}),
        (parameter(max_connections="50"), {}),
        (parameter(max_connections=None, work_mem=None), parameter(max_connections=None)),
        ({"postgresql": {"pg_hba": ["local all all trust"]}}, {}),
        ({"postgresql": {"pg_hba": []}}, {"postgresql": {"pg_hba": []}}),
        ({"slots": {"audit": {"type": "physical", "x": None}}}, {"slots": {"audit": {"type": "physical"}}}),
        ({"slots": {}}, {"slots": {}}),
        ({"postgresql": {"parameters": {}}}, {}),
    ],
)
def test_only_what_differs_in_meaning_is_patched(wanted, patch):
    planned = patroni.plan_config(CURRENT, wanted)
    assert planned == patch
    assert patroni.plan_config(patroni.merge(CURRENT, planned), wanted) == {}


def test_a_patch_makes_exactly_what_is_wanted():
    current, wanted = {"a": 1, "b": {"c": 1, "d": 2}, "e": {"f": 1}}, {"b": {"c": "1", "g": 3}, "e": [1]}
    patch = patroni.merge_patch(current, wanted)
    assert patch == {"a": None, "b": {"d": None, "c": "1", "g": 3}, "e": [1]}
    assert patroni.merge(current, patch) == wanted


def test_merging_leaves_the_original_alone():
    patroni.merge(CURRENT, parameter(max_connections=60))
    assert CURRENT["postgresql"]["parameters"]["max_connections"] == 50


@pytest.mark.parametrize(
    ("config", "patch", "versions", "fault"),
    [
        ({"ttl": 20, "loop_wait": 3, "retry_timeout": 5}, {"ttl": 20}, (), None),
        ({"ttl": 19, "loop_wait": 3, "retry_timeout": 5}, {"ttl": 19}, (), "ttl is 19, but Patroni takes"),
        ({"ttl": 20, "loop_wait": "often"}, {"loop_wait": "often"}, (), "loop_wait is 'often', but Patroni takes"),
        (
            {"ttl": 20, "loop_wait": 11, "retry_timeout": 5},
            {"loop_wait": 11},
            (),
            "11 + 2 * 5 = 21, more than ttl (20)",
        ),
        ({"ttl": 19}, {"failsafe_mode": True}, (), None),
        ({"synchronous_mode": "quorum"}, {"synchronous_mode": "quorum"}, ("4.0.7", None), None),
        ({"synchronous_mode": "quorum"}, {"synchronous_mode": "quorum"}, ("4.0.7", "3.0.2"), "needs Patroni 4"),
    ],
)
def test_a_configuration_that_patroni_would_quietly_change_is_refused(config, patch, versions, fault):
    faults = patroni.config_faults(config, patch, versions)
    assert [fault in one for one in faults] == ([] if fault is None else [True])


def test_the_effect_of_a_change_names_restarts_and_directions():
    after = patroni.merge(CURRENT, parameter(max_connections=40, max_wal_senders=20, work_mem="8MB"))
    assert patroni.config_change(CURRENT, after) == {
        "restart_parameters": ["max_connections", "max_wal_senders"],
        "lowered": ["max_connections"],
        "raised": ["max_wal_senders"],
    }


def test_removing_a_parameter_goes_back_to_patronis_default():
    after = patroni.merge(CURRENT, parameter(max_connections=None))
    assert patroni.config_change(CURRENT, after)["raised"] == ["max_connections"]


# -- the order of restarts ------------------------------------------------------------------------------------------


def member(name, role, pending=True, **reason):
    values = {name: {"old_value": str(old), "new_value": str(new)} for name, (old, new) in reason.items()}
    return {"name": name, "role": role, "pending_restart": pending, "pending_restart_reason": values}


THREE = [member("a", "leader"), member("b", "sync_standby"), member("c", "replica")]


@pytest.mark.parametrize(
    ("arguments", "order"),
    [
        ({}, ["c", "b", "a"]),
        ({"raised": ["max_connections"]}, ["c", "b", "a"]),
        ({"lowered": ["max_connections"]}, ["a", "c", "b"]),
        ({"lowered": ["max_connections"], "raised": ["max_wal_senders"]}, ["c", "b", "a", "c", "b"]),
    ],
)
def test_standbys_restart_first_unless_a_shared_memory_parameter_goes_down(arguments, order):
    assert patroni.restart_order(THREE, **arguments) == order


def test_the_members_own_reasons_give_the_order_to_a_later_run():
    lowered = [member("a", "leader", max_connections=(60, 40)), member("b", "replica", max_connections=(60, 40))]
    assert patroni.restart_order(lowered) == ["a", "b"]
    raised = [member("a", "leader", max_connections=(40, 60)), member("b", "replica", max_connections=(40, 60))]
    assert patroni.restart_order(raised) == ["b", "a"]


def test_only_those_that_wait_are_restarted_when_asked_for():
    some = [member("a", "leader"), member("b", "replica", pending=False), member("c", "replica")]
    assert patroni.restart_order(some, only_pending=True) == ["c", "a"]
    assert patroni.restart_order([], only_pending=True) == []


def test_only_members_of_the_run_are_restarted_and_no_leader_before_a_standby_that_it_must_not_outgrow():
    here = ["a", "b"]
    assert patroni.restart_order(THREE, present=here) == ["b", "a"]
    assert patroni.restart_order(THREE, lowered=["max_connections"], present=here) == ["a", "b"]
    assert patroni.restart_order(THREE, raised=["max_connections"], present=here) == ["b"]
    away = [*THREE[:2], THREE[2] | {"reachable": False}]
    assert patroni.restart_order(away, raised=["max_connections"], present=here) == ["b", "a"]


def test_the_real_reasons_of_patroni_4_are_understood():
    lowered = status("4.0.7-pending-lowered")
    assert patroni.restart_order(lowered["members"])[0] == lowered["leader"]
    raised = status("4.0.7-pending-raised")
    assert patroni.restart_order(raised["members"])[-1] == raised["leader"]


STREAMS = [
    {"name": "a", "role": "leader", "tags": {}},
    {"name": "b", "role": "replica", "tags": {"replicatefrom": "c"}},
    {"name": "c", "role": "replica", "tags": {"nofailover": True, "replicatefrom": "a"}},
]


@pytest.mark.parametrize("given, hosts, found", [
    ({}, ["a", "b", "c"], ["b", "c"]),
    ({"b": {"replicatefrom": "a"}, "c": {"nofailover": True}}, ["a", "b", "c"], ["c"]),
    ({}, ["a", "c"], ["c"]),
    ({}, ["a"], []),
], ids=["a run has left two", "one is the user's", "one host is not in this run", "neither is"])  # fmt: skip
def test_a_member_that_a_run_has_left_streaming_from_another_is_found(given, hosts, found):
    assert patroni.strays(STREAMS, given, hosts) == found
