# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One plan for all stores."""

from __future__ import annotations

from ansible_collections.utmstack.ha.plugins.module_utils.backup import restore_all

POSTGRESQL = {"faults": [], "lines": ["PostgreSQL", "  from       20261130-010002F"], "moment": 1796039126.25}
SEARCH = {"refusals": [], "lines": ["Search engine"], "time": 1796000000}
REDIS = {"refusals": [], "lines": ["Redis"], "time": 1796038000}


def test_the_moment_of_each_store_comes_first():
    found = restore_all.together({"postgresql": POSTGRESQL, "elasticsearch": SEARCH, "redis": REDIS})
    assert found["refusals"] == []
    assert found["lines"][0] == "Everything is there up to"
    assert "2026-11-30 11:45:26 UTC" in found["lines"][1]
    assert "2026-11-30 00:53:20 UTC" in found["lines"][2]
    assert found["lines"][2].startswith("  The search engine")
    assert found["lines"][-1] == "Redis"


def test_all_that_stands_in_the_way_of_any_store_is_in_one_list():
    found = restore_all.together(
        {"postgresql": {**POSTGRESQL, "faults": ["no room."]}, "redis": {**REDIS, "refusals": ["no backup."]}}
    )
    assert [said.partition(": ")[2] for said in found["refusals"]] == ["no room.", "no backup."]


def test_without_any_store_nothing_begins():
    assert restore_all.together({})["refusals"]


def test_a_moment_that_is_not_known_is_said():
    assert restore_all.together({"redis": {"lines": [], "time": 0}})["lines"][1].endswith("unknown")


def test_backups_of_a_platform_made_anew_are_told_by_postgresqls_last_moment():
    assert restore_all.before({"redis": REDIS, "postgresql": POSTGRESQL}) == str(1796039126 + restore_all.SLACK_S)
    assert restore_all.before({"postgresql": {"moment": None}, "redis": REDIS}) == restore_all.before({}) == ""
