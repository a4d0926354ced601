# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an earlier drill has left: the faults of all hosts, and who could not be asked."""

from __future__ import annotations

from ansible_collections.utmstack.ha.plugins.module_utils.drill.scenario.left import left

SKIPPED = {"skipped": True}


def test_faults_of_the_controller_come_first_and_a_host_that_is_away_is_named():
    faults = {
        "node1": {"undone": [{"id": "02-b", "at": 1.0}]}, "node2": {"unreachable": True, "msg": "x"}, "node3": {"undone": []},
    }  # fmt: skip
    found = left({"undone": [{"id": "01-a", "at": 1.0}]}, faults, dict.fromkeys(faults, SKIPPED))
    assert found == {"undone": ["01-a", "02-b"], "unasked": ["node2"], "holder": None}


def test_the_first_holder_of_a_lock_is_told():
    locks = {"node1": SKIPPED, "node2": {"holder": None}, "node3": {"holder": {"id": "x"}}}
    assert left({"undone": []}, dict.fromkeys(locks, {"undone": []}), locks)["holder"] == {"id": "x"}
