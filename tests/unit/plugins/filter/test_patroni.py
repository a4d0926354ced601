# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the filters of role postgresql refuse, and how."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.utmstack.ha.plugins.filter import patroni as filters


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1024, 0), "share is 0, but must be more than 0 and at most 1"),
        ((1024, 80), "share is 80"),
        ((128, 0.5), "leave 64 MB for PostgreSQL, but it needs at least 128 MB"),
        ((1024, 0.5, 0), "max_connections is 0"),
        (("much",), "could not convert"),
        ((None,), "postgresql_memory"),
    ],
)
def test_impossible_memory_is_refused_with_a_reason(arguments, message):
    with pytest.raises(AnsibleFilterError, match=message):
        filters.postgresql_memory(*arguments)


def test_the_order_filter_takes_the_members_of_patroni_info():
    members = [{"name": "a", "role": "leader"}, {"name": "b", "role": "replica"}]
    order = filters.FilterModule().filters()["patroni_restart_order"]
    assert order(members) == ["b", "a"]
    assert order(members, lowered=["max_connections"]) == ["a", "b"]
    with pytest.raises(AnsibleFilterError, match="utmstack.ha.patroni_info returns"):
        order(["a", "b"])
