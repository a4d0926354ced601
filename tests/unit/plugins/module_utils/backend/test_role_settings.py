# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.backend import role_settings

GOOD = {
    "replicas": "", "hosts": 3, "image_archive": "", "archive_found": False, "secret_environment": "file", "entrypoint": [],
    "manager": "node1",
}  # fmt: skip
ARCHIVE = {"image_archive": "/srv/backend.tar", "archive_found": True}


def faults(**settings):
    return role_settings.faults(**GOOD | settings)


@pytest.mark.parametrize("settings", [
    {}, {"replicas": 3}, {"replicas": "2"}, {"replicas": None}, ARCHIVE, ARCHIVE | {"secret_environment": "environment"},
    {"secret_environment": "environment", "entrypoint": ["java"]},
])  # fmt: skip
def test_settings_that_hold_have_no_fault(settings):
    assert faults(**settings) == []


@pytest.mark.parametrize("settings, words", [
    ({"replicas": 4}, "backend_replicas is 4, but each of the 3 hosts takes one replica at most. Set it to 3"),
    ({"replicas": "4"}, "backend_replicas is 4"),
    (ARCHIVE | {"archive_found": False}, "backend_image_archive is /srv/backend.tar, which is no file on the controller"),
    ({"secret_environment": "environment"}, "Set backend_entrypoint and backend_command"),
    ({"manager": ""}, "Run without --limit, or with a host of swarm_managers."),
])  # fmt: skip
def test_what_cannot_hold_is_told_with_its_remedy(settings, words):
    (found,) = faults(**settings)
    assert words in found


def test_all_faults_are_told_at_once():
    assert len(faults(replicas=4, image_archive="away.tar", manager="")) == 3
