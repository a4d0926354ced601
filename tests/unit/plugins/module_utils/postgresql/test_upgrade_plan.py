# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a major upgrade of PostgreSQL has to do, at every moment at which an earlier run can have died."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql import upgrade_plan as postgresql_upgrade
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql.upgrade_plan import plan

OLD, NEW = "/var/lib/postgresql/15/utmstack", "/var/lib/postgresql/17/utmstack"
HOSTS = ("node1", "node2", "node3")
ALL = list(postgresql_upgrade.STEPS)


def data(directory, version, state, control="present", running=False, checkpoint="0/5000028"):
    return {
        "directory": directory,
        "version": version,
        "control": control,
        "state": state,
        "checkpoint": checkpoint,
        "timeline": "1",
        "system_identifier": f"70{version}",
        "running": running,
        "port": 5432 if running else 0,
        "device": 7,
        "size_bytes": 10 * 2**30,
    }


def cluster():
    """Three members that run 15, node2 leads."""
    return {
        host: {
            "config": {"directory": OLD, "version": "15", "closed": False},
            "patroni": True,
            "prepared": False,
            "begun": False,
            "target": {"directory": NEW, "empty": True, "device": 7, "free_bytes": 20 * 2**30},
            "data": [data(OLD, "15", "in production" if host == "node2" else "in archive recovery", running=True)],
        }
        for host in HOSTS
    }


def old(seen, host):
    return next(one for one in seen[host]["data"] if one["version"] == "15")


def prepared(seen):
    seen["node2"]["prepared"] = True


def without_patroni(seen):
    prepared(seen)
    for host in HOSTS:
        seen[host]["patroni"] = False


def primary_stopped(seen):
    without_patroni(seen)
    old(seen, "node2").update(state="shut down", running=False)


def all_stopped(seen):
    primary_stopped(seen)
    for host in ("node1", "node3"):
        old(seen, host).update(state="shut down in recovery", running=False)


def reading(seen):
    """pg_upgrade was killed, and the old server that it had started goes on."""
    all_stopped(seen)
    seen["node2"]["begun"] = True
    old(seen, "node2").update(state="in production", running=True, port=50432, checkpoint="0/50000A0")


def linking(seen):
    all_stopped(seen)
    seen["node2"]["begun"] = True
    old(seen, "node2").update(control="disabled")


def upgraded(seen):
    linking(seen)
    seen["node2"]["data"].append(data(NEW, "17", "shut down", checkpoint="0/7000028"))
    seen["node2"]["target"]["empty"] = False


def configured(seen):
    upgraded(seen)
    seen["node2"]["config"] = {"directory": NEW, "version": "17", "closed": True}


def started(seen):
    configured(seen)
    seen["node2"]["patroni"] = True
    next(one for one in seen["node2"]["data"] if one["version"] == "17").update(state="in production", running=True)


def copying(seen):
    started(seen)
    for host in ("node1", "node3"):
        seen[host]["config"] = {"directory": NEW, "version": "17", "closed": True}
        seen[host]["patroni"] = True
    # Half a base backup: it has no version yet.
    seen["node1"]["target"]["empty"] = False


def copied(seen):
    copying(seen)
    for host in ("node1", "node3"):
        seen[host]["data"].append(data(NEW, "17", "in archive recovery", running=True))


def half_open(seen):
    copied(seen)
    seen["node1"]["config"]["closed"] = False


def opened(seen):
    copied(seen)
    for host in HOSTS:
        seen[host]["config"]["closed"] = False


def at(*moments):
    seen = cluster()
    for moment in moments:
        moment(seen)
    return seen


@pytest.mark.parametrize(
    ("moment", "paused", "steps", "reset"),
    [
        ((), False, ALL, True),
        ((prepared,), False, ALL, True),
        ((prepared,), True, ALL, True),
        ((without_patroni,), False, ALL, True),
        ((primary_stopped,), False, ["hold", "stop", "upgrade", "start", "open", "finish"], True),
        ((all_stopped,), False, ["hold", "stop", "upgrade", "start", "open", "finish"], True),
        ((reading,), False, ["hold", "stop", "upgrade", "start", "open", "finish"], True),
        ((linking,), False, ["hold", "stop", "upgrade", "start", "open", "finish"], True),
        ((upgraded,), False, ["hold", "stop", "start", "open", "finish"], True),
        ((configured,), False, ["hold", "stop", "start", "open", "finish"], True),
        ((started,), False, ["hold", "stop", "start", "open", "finish"], False),
        ((copying,), False, ["hold", "stop", "start", "open", "finish"], False),
        ((copied,), False, ["hold", "stop", "start", "open", "finish"], False),
        ((half_open,), False, ["open", "finish"], False),
        ((opened,), False, ["open", "finish"], False),
    ],
)
def test_a_run_goes_on_where_another_one_died(moment, paused, steps, reset):
    problems = ["postgresql: No member answers."] if moment else []
    planned = plan(at(*moment), "17", problems=problems if moment != (prepared,) or paused else (), paused=paused)
    assert planned["faults"] == []
    assert (planned["steps"], planned["reset"]) == (steps, reset)
    assert planned["host"] == ("" if "hold" not in steps else "node2")
    assert planned["text"].splitlines()[0].startswith("PostgreSQL ")


def test_everything_is_stopped_on_every_host_but_not_where_the_new_version_is_configured():
    assert plan(at(all_stopped), "17")["stop"] == list(HOSTS)
    assert plan(at(started), "17")["stop"] == ["node1", "node3"]
    assert plan(at(copied), "17")["stop"] == []


@pytest.mark.parametrize(
    ("moment", "host", "stop", "reset", "restore", "damaged"),
    [
        ((prepared,), "node2", [], False, False, []),
        ((without_patroni,), "node2", [], False, False, []),
        ((primary_stopped,), "node2", list(HOSTS), True, False, []),
        ((all_stopped,), "node2", list(HOSTS), True, False, []),
        ((reading,), "node2", list(HOSTS), True, False, []),
        ((linking,), "node2", list(HOSTS), True, True, []),
        ((upgraded,), "node1", list(HOSTS), True, False, ["node2"]),
        ((configured,), "node1", list(HOSTS), True, False, ["node2"]),
        ((started,), "node1", list(HOSTS), True, False, ["node2"]),
        ((copying,), "node1", list(HOSTS), True, False, ["node2"]),
        ((copied,), "node1", list(HOSTS), True, False, ["node2"]),
    ],
)
def test_there_is_a_way_back_until_clients_are_let_in(moment, host, stop, reset, restore, damaged):
    planned = plan(at(*moment), "17", "back", paused=True)
    assert planned["faults"] == []
    assert planned["steps"] == ["back"]
    found = (planned["host"], planned["stop"], planned["reset"], planned["restore"], planned["damaged"])
    assert found == (host, stop, reset, restore, damaged)
    assert planned["old"] == {"version": "15", "directory": OLD}


@pytest.mark.parametrize("moment", [half_open, opened])
def test_there_is_none_afterwards(moment):
    planned = plan(at(moment), "17", "back")
    assert planned["steps"] == []
    assert "No rollback is possible any more: clients have been let in to PostgreSQL 17 (node1" in planned["faults"][0]


def without_old_data(seen):
    """The way back died after the upgraded host's old data were made unusable."""
    copied(seen)
    old(seen, "node2").update(control="absent", state="", checkpoint="")


def without_new_data(seen):
    """It died after the new data were removed, too."""
    without_old_data(seen)
    for host in HOSTS:
        seen[host]["data"] = [one for one in seen[host]["data"] if one["version"] == "15"]
        seen[host]["target"]["empty"] = True


def back_on_a_standby(seen):
    """It died after a standby's old data were started, and may have been written to."""
    without_new_data(seen)
    for host in HOSTS:
        seen[host]["config"] = {"directory": OLD, "version": "15", "closed": False}
    old(seen, "node1").update(state="in production", running=True, checkpoint="0/6000028")


@pytest.mark.parametrize(
    ("moment", "reset"), [(without_old_data, True), (without_new_data, True), (back_on_a_standby, False)]
)
def test_a_way_back_that_died_is_finished_by_the_next_run(moment, reset):
    planned = plan(at(moment), "17", "back", paused=False)
    assert (planned["faults"], planned["host"], planned["reset"]) == ([], "node1", reset)
    assert not planned["restore"]


@pytest.mark.parametrize("moment", [without_new_data, back_on_a_standby])
def test_a_way_back_that_died_can_not_be_mistaken_for_an_upgrade_that_goes_on(moment):
    planned = plan(at(moment), "17", problems=["postgresql: node2 does not answer."])
    assert planned["steps"] == [] or planned["faults"]


@pytest.mark.parametrize(
    ("state", "running"), [("in production", True), ("in production", False), ("shut down", False)]
)
def test_an_old_server_that_has_led_again_has_what_the_new_data_lack(state, running):
    seen = at(upgraded)
    old(seen, "node3").update(state=state, running=running, port=5432 * running, checkpoint="0/6000028")
    assert "node3: its PostgreSQL 15 took writes after node2 was upgraded." in plan(seen, "17")["faults"][0]
    planned = plan(seen, "17", "back")
    assert (planned["host"], planned["damaged"], planned["reset"]) == ("node3", ["node2"], not running)


def test_the_way_back_is_by_the_standby_that_has_most():
    seen = at(started)
    old(seen, "node1").update(checkpoint="0/4000028")
    assert plan(seen, "17", "back")["host"] == "node3"
    old(seen, "node3").update(control="absent")
    assert plan(seen, "17", "back")["host"] == "node1"


def test_standbys_are_compared_with_the_primary_until_pg_upgrade_has_started_it_once():
    assert plan(at(all_stopped), "17")["verify"]
    assert not plan(at(linking), "17")["verify"]


def test_a_single_member_has_no_way_back_once_the_new_version_has_run():
    seen = {"node2": at(started)["node2"]}
    assert "No standby has old data" in plan(seen, "17", "back")["faults"][0]


def test_nothing_begun_is_nothing_to_go_back_from():
    assert "nothing to go back from" in plan(cluster(), "17", "back")["faults"][0]


def changed(host, **answers):
    seen = cluster()
    seen[host].update(answers)
    return seen


OFFERED = {"postgresql-17": {"installed": None, "candidate": "17.12-0+deb13u1"}}
TARGET = cluster()["node1"]["target"]


@pytest.mark.parametrize(
    ("seen", "options", "fault"),
    [
        (cluster(), {"version": "15.3"}, "is no major version of PostgreSQL"),
        (cluster(), {"version": "14"}, "runs PostgreSQL 15, and 14 is older"),
        (cluster(), {"version": "17", "way": "up"}, "way=up is not known"),
        (cluster(), {"version": "17", "problems": ["etcd: node3 is away."]}, "etcd: node3 is away. Repair that first"),
        (cluster(), {"version": "17", "offered": {"node2": OFFERED, "node3": {}}}, "node3 is not offered the package postgresql-17"),
        (changed("node1", target={**TARGET, "empty": False}), {"version": "17"}, "node1: /var/lib/postgresql/17/utmstack"),
        (changed("node2", target={**TARGET, "device": 8}), {"version": "17"}, "files can't be linked"),
        (changed("node3", target={**TARGET, "free_bytes": 2**30}), {"version": "17"}, "10.0 GiB, beside the present one, and only 1.0"),
        (changed("node2", target={**TARGET, "directory": OLD, "empty": False}), {"version": "17"}, "Give another one with -e directory="),
        (at(lambda seen: old(seen, "node2").update(running=False)), {"version": "17"}, "was not shut down. Go back first"),
        (at(all_stopped, lambda seen: seen["node2"].update(prepared=False)), {"version": "17"}, "nothing is prepared"),
        (at(lambda seen: old(seen, "node1").update(state="in production")), {"version": "17"}, "both run as primary"),
        ({"node1": {**cluster()["node1"], "data": []}}, {"version": "17"}, "No host has data of a version older than 17"),
    ],
)  # fmt: skip
def test_what_speaks_against_it_is_said_before_anything_is_touched(seen, options, fault):
    faults = plan(seen, **options)["faults"]
    assert any(fault in one for one in faults), faults


def test_a_member_without_patroni_is_no_sign_of_an_earlier_run():
    seen = at(prepared)
    seen["node3"]["patroni"] = False
    assert plan(seen, "17", problems=["postgresql: node3 does not answer."])["faults"]


def test_all_faults_are_told_at_once():
    seen = changed("node1", target={**TARGET, "empty": False, "free_bytes": 0})
    assert len(plan(seen, "17", problems=["postgresql: a.", "etcd: b."], offered={"node2": {}})["faults"]) == 5


def test_a_cluster_of_that_version_needs_nothing():
    seen = at(opened)
    for host in HOSTS:
        seen[host]["data"] = [one for one in seen[host]["data"] if one["version"] == "17"]
        seen[host]["prepared"] = False
    assert (plan(seen, "17")["steps"], plan(seen, "17")["faults"]) == ([], [])


def test_what_an_upgrade_leaves_behind_is_known_only_where_the_new_version_serves():
    assert plan(at(copied), "17")["remove"] == dict.fromkeys(HOSTS, [])
    assert plan(at(opened), "17")["remove"] == dict.fromkeys(HOSTS, [OLD])


def test_the_way_back_removes_only_what_the_upgrade_has_made():
    work = f"{NEW}.upgrade"
    assert plan(at(linking), "17", "back")["discard"] == dict.fromkeys(HOSTS, [work])
    assert plan(at(copying), "17", "back")["discard"] == dict.fromkeys(HOSTS, [NEW, work])


def test_nothing_is_changed_in_what_was_seen():
    seen = at(copied)
    before = copy.deepcopy(seen)
    plan(seen, "17")
    plan(seen, "17", "back")
    assert seen == before
