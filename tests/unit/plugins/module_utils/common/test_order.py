# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""In which order hosts are taken."""

from __future__ import annotations

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.common.order import order

HOSTS = ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "abcd"),
        ({"leads": {"a": 1}}, "bcda"),
        ({"leads": {"a": 2, "b": 1}}, "cdba"),
        ({"late": {"a": 1, "b": 2}}, "cdab"),
        ({"leads": {"a": 1}, "late": {"b": 1}}, "cdba"),
        ({"ill": ["d"], "leads": {"a": 1}}, "dbca"),
        ({"ill": ["a"], "leads": {"a": 1}}, "abcd"),
    ],
    ids=[
        "equals",
        "the leader",
        "who leads more",
        "what much depends on",
        "leading counts more",
        "the ill",
        "an ill leader",
    ],
)
def test_the_ill_come_first_and_those_that_lead_last(given, expected):
    assert "".join(order(HOSTS, **given)) == expected
