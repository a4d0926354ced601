# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The keys of a server, and whether they are those of a backup."""

from __future__ import annotations

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.redis import keys as redis_keys

# What Redis 7.0.15 replied to INFO keyspace.
SAID = "# Keyspace\r\ndb0:keys=51,expires=1,avg_ttl=3598249\r\ndb3:keys=1,expires=0,avg_ttl=0\r\n"


def test_keys_are_counted_by_database():
    found = redis_keys.keyspace(SAID)
    assert found == {"db0": {"keys": 51, "expires": 1}, "db3": {"keys": 1, "expires": 0}}
    assert redis_keys.totals(found) == {"keys": 52, "expires": 1}


def test_an_empty_server_has_no_databases():
    assert redis_keys.totals(redis_keys.keyspace("# Keyspace\r\n")) == {"keys": 0, "expires": 0}


@pytest.mark.parametrize(
    ("expected", "there", "said"),
    [
        ({"keys": 52, "expires": 1}, {"keys": 52, "expires": 1}, ""),
        ({"keys": 52, "expires": 1}, {"keys": 51, "expires": 0}, ""),
        (
            {"keys": 52, "expires": 1},
            {"keys": 50, "expires": 0},
            "there are 50 keys, and there were 52, of which 1 may have ended since",
        ),
        ({"keys": 5, "expires": 0}, {"keys": 0, "expires": 0}, "there are 0 keys, and there were 5"),
        # None can have come: nothing writes meanwhile.
        ({"keys": 5, "expires": 0}, {"keys": 6, "expires": 0}, "there are 6 keys, and there were 5"),
    ],
)
def test_only_keys_that_end_may_be_fewer(expected, there, said):
    assert redis_keys.difference(expected, there) == said
