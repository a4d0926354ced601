# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tags of the command line: those that choose nothing are refused."""

from __future__ import annotations

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.topology import role_specs
from ansible_collections.utmstack.ha.plugins.module_utils.topology.faults import Findings
from ansible_collections.utmstack.ha.plugins.module_utils.topology.tags import check_tags


def faults(tags=(), skipped=(), ours=True):
    found = Findings()
    check_tags({"--tags": tags, "--skip-tags": skipped}, role_specs.tags(), ours, found)
    return [str(fault) for fault in found.faults]


def test_the_tags_are_those_of_the_whole_platform():
    assert role_specs.tags() >= {"base", "etcd", "postgresql", "redis", "loadbalancer", "backend"}


@pytest.mark.parametrize("tags", [["all"], ["etcd", "redis"], ["always", "tagged", "untagged", "never"], []])
def test_tags_that_exist_are_taken(tags):
    assert faults(tags, tags) == []


def test_others_are_refused_with_the_nearest_or_all():
    assert faults(["redsi"]) == [
        "command line: --tags has redsi, which is no tag of this collection. Did you mean redis?"
    ]
    assert faults(skipped=["etdc"]) == [
        "command line: --skip-tags has etdc, which is no tag of this collection. Did you mean etcd?"
    ]
    assert "Known are backend, backup, base, elasticsearch" in faults(["zzz"])[0]
    assert "--tags has ETCD, which is no tag of this collection. Did you mean etcd?" in faults(["ETCD"])[0]
    assert "Did you mean etcd?" in faults(skipped=["ETDC"])[0]


def test_an_empty_word_is_told_as_one():
    assert "--tags has an empty word, which is no tag of this collection. Known are" in faults([""])[0]


def test_a_playbook_of_ones_own_may_have_tags_of_its_own():
    assert faults(["firewall", "web", "monitoring"], ours=False) == []
    assert "Did you mean redis?" in faults(["redsi"], ours=False)[0]


def test_tools_may_skip_tags_of_their_own():
    assert faults(skipped=["molecule-notest", "notest"]) == []
