# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.search.bootstrap import plan_bootstrap

MEMBERS = [{"name": name, "roles": ["master", "data"]} for name in "abc"]
LISTS = ("form", "start", "restart", "settle", "roll")


def host(data=True, running=True, forming=(), cluster_uuid="U", restart=False):
    return {
        "data": data,
        "running": running,
        "forming": list(forming),
        "cluster_uuid": cluster_uuid,
        "restart": restart,
    }


OK, DOWN, OLD = host(), host(running=False), host(restart=True)
EMPTY = host(data=False, running=False, cluster_uuid="")
WIPED = host(data=False, running=False)
FORMING = host(forming="abc", cluster_uuid="")
FORMING_DOWN = host(forming="abc", cluster_uuid="", running=False)


def cluster(names="abc", master="a", uuid="U"):
    return {"master": master, "cluster_uuid": uuid, "nodes": [{"name": name} for name in names]}


WHOLE = cluster()
NOBODY = {"master": None, "cluster_uuid": None, "nodes": []}


@pytest.mark.parametrize(
    ("situation", "facts", "seen", "expected"),
    [
        ("all run: nothing", (OK, OK, OK), WHOLE, {}),
        ("nothing anywhere: all form", (EMPTY, EMPTY, EMPTY), NOBODY, {"form": "abc"}),
        ("all were wiped: all form anew", (WIPED, WIPED, WIPED), NOBODY, {"form": "abc"}),
        ("a cluster: a new host starts and joins", (OK, OK, EMPTY), cluster("ab"), {"start": "c"}),
        ("a cluster: a host that lost its data joins", (OK, OK, WIPED), cluster("ab"), {"start": "c"}),
        ("a node is down with data: it starts", (OK, DOWN, OK), cluster("ac"), {"start": "b"}),
        ("all are down with data: all start", (DOWN, DOWN, DOWN), NOBODY, {"start": "abc"}),
        ("power loss, one disk lost: all start, none forms", (DOWN, DOWN, WIPED), NOBODY, {"start": "abc"}),
        ("settings changed: the master last", (OLD, OLD, OLD), WHOLE, {"roll": "bca"}),
        (
            "settings changed and one has not joined: that one at once",
            (OLD, OLD, OLD),
            cluster("ac"),
            {"restart": "b", "roll": "ca"},
        ),
        ("nobody is master and settings changed: all at once", (OLD, OLD, OK), NOBODY, {"restart": "ab"}),
        (
            "it has just formed: the options of the first start go",
            (FORMING, FORMING, FORMING),
            WHOLE,
            {"settle": "abc"},
        ),
        ("it was formed by a run that died: likewise", (OK, FORMING, OK), WHOLE, {"settle": "b"}),
        ("a host has joined: it notes so", (OK, OK, host(cluster_uuid="")), WHOLE, {"settle": "c"}),
        ("a run died after one had started: the others form", (FORMING, EMPTY, EMPTY), NOBODY, {"form": "bc"}),
        (
            "a run died after one had started, and its host rebooted",
            (FORMING_DOWN, EMPTY, EMPTY),
            NOBODY,
            {"start": "a", "form": "bc"},
        ),
        (
            "a run died after two had formed: the third joins",
            (FORMING, FORMING, EMPTY),
            cluster("ab"),
            {"settle": "ab", "start": "c"},
        ),
        ("a host outside the run is left alone", (OK, DOWN, None), cluster("ac"), {"start": "b"}),
        ("a limited run does not wait for a host that is away", (OK, OK, None), cluster("ab"), {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_host_does_what_the_situation_needs(situation, facts, seen, expected):
    plan = plan_bootstrap(MEMBERS, {name: fact for name, fact in zip("abc", facts, strict=True) if fact}, seen)
    assert {key: "".join(plan[key]) for key in LISTS if plan[key]} == expected
    assert plan["refusal"] == ""
    assert plan["initial_masters"] == ["a", "b", "c"]
    assert plan["needed"] is bool(expected.keys() - {"roll", "settle"})


@pytest.mark.parametrize(
    ("situation", "facts", "seen", "words"),
    [
        ("all empty, but one host can't be looked at", (EMPTY, EMPTY, None), NOBODY, "c cannot be looked at"),
        ("the quorum's data is gone and all run", (OK, host(data=False), host(data=False)), NOBODY, "no data on b, c"),
        ("the quorum's hosts are away", (OK, None, None), NOBODY, "nothing is known of b, c"),
        ("all run and still nobody is master", (OK, OK, OK), NOBODY, "No master is elected"),
        (
            "a host brings data of another cluster",
            (OK, OK, host(running=False, cluster_uuid="X")),
            cluster("ab"),
            "c of the cluster X",
        ),
        (
            "the same while nothing runs",
            (DOWN, DOWN, host(running=False, cluster_uuid="X")),
            NOBODY,
            "c of the cluster X",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_could_lose_data_is_refused_with_a_remedy(situation, facts, seen, words):
    plan = plan_bootstrap(MEMBERS, {name: fact for name, fact in zip("abc", facts, strict=True) if fact}, seen)
    assert words in plan["refusal"]
    assert not any(plan[key] for key in LISTS)
    assert plan["needed"] is True


def test_nodes_that_cannot_be_master_restart_first_and_form_with_the_others():
    members = [
        {"name": name, "roles": roles}
        for name, roles in zip("abcd", (["master"], ["master"], ["data"], ["master", "data"]))
    ]
    facts = dict.fromkeys("abcd", OLD)
    assert plan_bootstrap(members, facts, cluster("abcd", master="b"))["roll"] == ["c", "a", "d", "b"]
    plan = plan_bootstrap(members, dict.fromkeys("abcd", EMPTY), NOBODY)
    assert (plan["form"], plan["initial_masters"]) == (["a", "b", "c", "d"], ["a", "b", "d"])


def test_a_cluster_that_grew_while_it_formed_is_completed_as_it_was_begun():
    facts = {"a": host(forming="ab", cluster_uuid=""), "b": EMPTY, "c": EMPTY}
    plan = plan_bootstrap(MEMBERS, facts, NOBODY)
    assert (plan["form"], plan["initial_masters"]) == (["b", "c"], ["a", "b"])
