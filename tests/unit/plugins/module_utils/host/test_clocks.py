# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Clocks: a slow login refuses no good host, and a wrong clock is found, the controller's too."""

from __future__ import annotations

from ansible_collections.utmstack.ha.plugins.module_utils.host.clocks import faults, reading


def seen(ahead, sent=0.0, login=0.1, answer=0.1, synchronised=True):
    """What a host says that is asked at the controller's time `sent`, and whose clock is `ahead`."""
    asked = sent + login
    return {"clock_synchronised": synchronised, "clock": reading(sent, asked + ahead, asked + answer)}


def test_a_slow_login_refuses_no_good_host():
    assert faults({"node1": seen(0), "node2": seen(0.02, login=7), "node3": seen(0, answer=9)}, 5, True) == []


def test_hosts_that_were_asked_one_after_the_other_are_not_compared_by_when_they_answered():
    assert faults({f"node{number}": seen(0, sent=number * 0.6) for number in range(12)}, 5, True) == []


def test_a_clock_that_is_wrong_is_told_with_how_much_and_how_exactly():
    assert faults({"node1": seen(0), "node2": seen(-7), "node3": seen(0)}, 5, True) == [
        "the clock of node2 is 7.0 s (give or take 0.1 s) behind the controller's"
    ]
    assert "node2 is 20.0 s (give or take 0.1 s) ahead of" in faults({"node1": seen(0), "node2": seen(20)}, 5, True)[0]


def test_hosts_that_differ_from_each_other_alone_are_told_so():
    assert faults({"node1": seen(3), "node2": seen(-3), "node3": seen(0)}, 5, True) == [
        "the clocks of node1 and node2 differ by 6.0 s"
    ]


def test_a_controller_whose_clock_is_wrong_is_the_one_that_is_told():
    (told,) = faults({name: seen(-90) for name in ("node1", "node2", "node3")}, 5, True)
    assert told.startswith("the controller's clock differs from those of all hosts: node1 is 90.0 s")


def test_a_difference_that_is_not_certain_is_no_fault():
    assert faults({"node1": seen(6, answer=3)}, 5, True) == []
    assert faults({"node1": seen(9, answer=3)}, 5, True) != []


def test_a_clock_that_nobody_keeps_right_is_a_fault_unless_it_is_only_warned_of():
    hosts = {"node1": seen(0), "node2": seen(0, synchronised=False)}
    assert faults(hosts, 5, True) == ["the clock of node2 is not synchronised"]
    assert faults(hosts, 5, False) == []


def test_a_host_that_was_not_asked_has_no_clock():
    assert faults({"node1": {"unreachable": True}}, 5, True) == []
