# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.search import role_settings as elasticsearch_settings

REPOSITORY = {"name": "backup", "type": "fs", "settings": {"location": "/mnt/snapshots/search"}}
POLICY = {"name": "daily", "schedule": "0 0 1 * * ?", "repository": "backup"}
GOOD = {
    "data_nodes": 3,
    "recover_after": "",
    "replicas": "",
    "directories": ["/mnt/snapshots"],
    "repositories": [REPOSITORY],
    "policies": [{**POLICY, "retention": {"expire_after": "30d", "min_count": 7, "max_count": 30}}],
    "keystore": {"s3.client.default.secret_key": "geheim"},
}


def faults(**settings):
    return elasticsearch_settings.faults(**GOOD | settings)


def test_settings_that_hold_have_no_fault():
    assert faults() == []
    assert faults(recover_after=2, replicas=1) == []
    assert faults(recover_after="3", replicas="0") == []


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"recover_after": 4}, "there are 3 data nodes"),
        ({"recover_after": 0}, "Set 1 to 3"),
        ({"recover_after": "half"}, "elasticsearch_recover_after_data_nodes is half"),
        ({"replicas": 3}, "room for at most 2"),
        ({"directories": ["snapshots"]}, "Name absolute directories"),
        ({"directories": []}, "outside of elasticsearch_repository_directories (none)"),
        ({"directories": ["/mnt/snap"]}, "outside of elasticsearch_repository_directories (/mnt/snap)"),
        ({"repositories": [{**REPOSITORY, "settings": {"location": "/mnt/snapshots/../x"}}]}, "outside of"),
        ({"repositories": [{**REPOSITORY, "settings": {}}]}, "Give settings.location"),
        ({"repositories": [REPOSITORY, REPOSITORY]}, "backup more than once"),
        ({"repositories": [{**REPOSITORY, "path": "x"}]}, "has path, which is not known"),
        ({"repositories": []}, "wants the repository backup, which is not in"),
        ({"policies": [{"name": "daily", "repository": "backup"}]}, "daily has no schedule"),
        ({"policies": [{**POLICY, "retention": {"min_count": 8, "max_count": 7}}]}, "at least 8 and at most 7"),
        ({"policies": [{**POLICY, "retention": {"max_age": "7d"}}]}, "retention.max_age, which is none"),
        ({"policies": [{**POLICY, "retention": {"max_count": "many"}}]}, "no whole number"),
        ({"keystore": {"a": ""}}, "elasticsearch_keystore: The entry a has no value"),
        ({"keystore": {"a": "geheim\nx"}}, "more than one line"),
    ],
)
def test_what_cannot_hold_is_told_with_its_remedy(settings, words):
    found = faults(**settings)
    assert any(words in one for one in found), found
    assert "geheim" not in " ".join(found)


def test_all_faults_are_told_at_once():
    assert len(faults(recover_after=9, replicas=9, directories=["x"], repositories=[], keystore={"A": "b"})) == 5
