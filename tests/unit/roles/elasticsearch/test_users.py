# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the user of snapshots may do: more only where there are backup hosts."""

from __future__ import annotations

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.search import backup as search_backup
from ansible_collections.utmstack.ha.plugins.module_utils.services import elasticsearch as service
from role_vars import variable

EVERY = {"names": ["*"], "privileges": ["monitor", "view_index_metadata", "indices:admin/settings/update"]}


def rights(members):
    roles = variable(
        "elasticsearch",
        "elasticsearch_base_roles",
        ha={"backup": {"members": members}},
        elasticsearch_application_indices=[],
    )
    return next(role for role in roles if role["name"] == service.SNAPSHOT_USER)["indices"]


def test_without_backup_hosts_the_rights_are_those_of_the_timer():
    assert rights([]) == [EVERY]


def test_backup_hosts_may_restore_under_the_names_of_a_check_only():
    assert rights([{"name": "backup1"}]) == [EVERY, {"names": [f"{search_backup.CHECKED}*"], "privileges": ["all"]}]


def test_the_program_is_told_the_nodes_by_their_names():
    ha = {
        "elasticsearch": {"members": [{"name": "node1", "url": "https://10.0.1.11:9200"}]},
        "tls": {"ca": "/etc/utmstack-ha/tls/ca.crt"},
    }
    told = service.backup_settings(ha, {"elasticsearch_snapshot_password": "s"})
    assert told["urls"] == ["https://10.0.1.11:9200"]
    assert told["names"] == {"https://10.0.1.11:9200": "node1"}
    assert (told["username"], told["password"]) == ("utmstack-snapshots", "s")


@pytest.mark.parametrize(
    ("hosts", "refused"),
    [
        ({"node1": {}, "node2": {"elasticsearch_snapshot_policies": []}}, True),
        ({"node1": {"elasticsearch_snapshot_policies": [{"name": "daily"}]}}, False),
    ],
)
def test_without_a_policy_there_is_nothing_to_record(hosts, refused):
    found = service.backup_refused(hosts)
    assert bool(found) == refused
    if refused:
        assert "elasticsearch_snapshot_policies" in found[0] and "backup_kinds" in found[1]
