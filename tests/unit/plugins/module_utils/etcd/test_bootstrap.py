# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.etcd.bootstrap import plan_bootstrap

MEMBERS = [{"name": name, "peer_url": f"https://{name}:2380"} for name in "abc"]
INITIAL = "a=https://a:2380,b=https://b:2380,c=https://c:2380"
LISTS = ("form", "start", "restart", "join", "archive", "promote", "roll")


def host(data=True, running=True, forming="", restart=False):
    return {"data": data, "running": running, "forming": forming, "restart": restart}


EMPTY, DOWN, OLD = host(data=False, running=False), host(running=False), host(restart=True)
FORMING, FORMING_DOWN = host(forming=INITIAL), host(running=False, forming=INITIAL)


def listed(name, healthy=True, learner=False, address=None):
    return {"name": name, "peer_urls": [f"https://{address or name}:2380"], "healthy": healthy, "learner": learner}


def cluster(*members, leader="a"):
    return {"members": list(members), "leader": leader}


WHOLE = cluster(listed("a"), listed("b"), listed("c"))
NOBODY = {"members": [], "leader": None}
NO_LEADER = cluster(listed("a"), listed("b"), listed("c"), leader=None)


@pytest.mark.parametrize(
    ("situation", "facts", "seen", "expected"),
    [
        ("all run: nothing", (host(), host(), host()), WHOLE, {}),
        ("nothing anywhere: all form", (EMPTY, EMPTY, EMPTY), NOBODY, {"form": "abc"}),
        ("a cluster: the empty host joins, though it runs", (host(), host(), host(data=False)), WHOLE, {"join": "c"}),
        ("a cluster: two empty hosts join", (host(), EMPTY, EMPTY), cluster(listed("a")), {"join": "bc"}),
        ("a member is down with data: it starts", (host(), DOWN, host()), WHOLE, {"start": "b"}),
        ("all are down with data: all start", (DOWN, DOWN, DOWN), NOBODY, {"start": "abc"}),
        ("power loss, one disk lost: those with data start first", (DOWN, DOWN, EMPTY), NOBODY, {"start": "ab"}),
        ("settings changed: the leader last", (OLD, OLD, OLD), WHOLE, {"roll": "bca"}),
        (
            "settings changed and one is ill: that one first",
            (OLD, OLD, OLD),
            cluster(listed("a"), listed("b"), listed("c", healthy=False)),
            {"roll": "cba"},
        ),
        ("nobody leads and settings changed: all at once", (OLD, OLD, host()), NO_LEADER, {"restart": "ab"}),
        ("a run died after one had started: the others form", (FORMING, EMPTY, EMPTY), NOBODY, {"form": "bc"}),
        (
            "a run died after one had started, and its host rebooted",
            (FORMING_DOWN, EMPTY, EMPTY),
            NOBODY,
            {"start": "a", "form": "bc"},
        ),
        (
            "a run died after two had formed: the third, who never voted, completes it",
            (host(), FORMING, EMPTY),
            cluster(listed("a"), listed("b"), listed("", address="c", healthy=False)),
            {"form": "c"},
        ),
        (
            "the same, but nobody forms any more: it joins",
            (host(), host(), EMPTY),
            cluster(listed("a"), listed("b"), listed("", address="c", healthy=False)),
            {"join": "c"},
        ),
        (
            "a run died before a learner was promoted",
            (host(), host(), host()),
            cluster(listed("a"), listed("b"), listed("c", learner=True, healthy=False)),
            {"promote": "c"},
        ),
        (
            "the learner is down as well",
            (host(), host(), DOWN),
            cluster(listed("a"), listed("b"), listed("c", learner=True, healthy=False)),
            {"start": "c", "promote": "c"},
        ),
        (
            "a run died between announcing and starting",
            (host(), host(), EMPTY),
            cluster(listed("a"), listed("b"), listed("", address="c", learner=True, healthy=False)),
            {"join": "c"},
        ),
        (
            "removed while it was away: its data is moved aside and it joins",
            (host(), host(), DOWN),
            cluster(listed("a"), listed("b")),
            {"join": "c", "archive": "c"},
        ),
        ("a host outside the run is left alone", (host(), DOWN, None), WHOLE, {"start": "b"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_host_does_what_the_situation_needs(situation, facts, seen, expected):
    plan = plan_bootstrap(MEMBERS, {name: fact for name, fact in zip("abc", facts, strict=True) if fact}, seen)
    assert {key: "".join(plan[key]) for key in LISTS if plan[key]} == expected
    assert plan["refusal"] == ""
    assert plan["initial_cluster"] == INITIAL
    assert plan["needed"] is bool(expected.keys() - {"roll"})


@pytest.mark.parametrize(
    ("situation", "facts", "seen", "words"),
    [
        ("all empty, but one host can't be looked at", (EMPTY, EMPTY, None), NOBODY, "c cannot be looked at"),
        ("the quorum's data is gone", (host(), EMPTY, EMPTY), NO_LEADER, "there is no data on b, c"),
        ("the quorum's hosts are away", (host(), None, None), NO_LEADER, "nothing is known of b, c"),
        ("all run and still nobody leads", (host(), host(), host()), NO_LEADER, "etcd has no leader"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_could_lose_data_is_refused_with_a_remedy(situation, facts, seen, words):
    plan = plan_bootstrap(MEMBERS, {name: fact for name, fact in zip("abc", facts, strict=True) if fact}, seen)
    assert words in plan["refusal"]
    assert not any(plan[key] for key in LISTS)
    assert plan["needed"] is True


def test_a_cluster_that_grew_while_it_formed_is_completed_as_it_was_begun():
    begun = "a=https://a:2380,b=https://b:2380"
    facts = {"a": host(forming=begun), "b": EMPTY, "c": EMPTY}
    plan = plan_bootstrap(MEMBERS, facts, NOBODY)
    assert (plan["form"], plan["initial_cluster"]) == (["b"], begun)


def test_a_member_whose_name_ends_like_anothers_is_not_taken_for_it():
    members = [{"name": name, "peer_url": f"https://{name}:2380"} for name in ("db1", "olddb1")]
    facts = {"db1": EMPTY, "olddb1": host(forming="olddb1=https://olddb1:2380")}
    seen = cluster(listed("olddb1"), listed("", address="db1", healthy=False), leader="olddb1")
    plan = plan_bootstrap(members, facts, seen)
    assert (plan["form"], plan["join"]) == ([], ["db1"])
