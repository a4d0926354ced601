# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The repository's end of pgBackRest, and which repository is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from role_templates import ROLES, render, topology
from role_vars import evaluated

THREE = ["node1", "node2", "node3"]
GROUPS = {**{group: THREE for group in ("loadbalancer", "etcd", "postgresql")}, "backup": ["backup1"]}
HA = topology(GROUPS, "backup1", hosts={"backup1": "10.0.1.31"})
FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
INFO = json.loads((FIXTURES / "postgresql" / "archive_pgbackrest_2.45.json").read_text())["before"]["info"]
IDENTIFIER = str(INFO[0]["db"][0]["system-id"])


def lines():
    members = {name: {"postgresql_data_directory": f"/srv/{name}"} for name in THREE}
    secrets = {"backup_passphrase": "a-passphrase"}
    return render("backup", "pgbackrest.conf.j2", HA, ha_secrets=secrets, backup_members_settings=members).splitlines()


def test_the_repository_is_encrypted_and_deletes_nothing_by_itself():
    assert {
        "repo1-path=/var/backups/utmstack/pgbackrest",
        "repo1-cipher-type=aes-256-cbc",
        "repo1-cipher-pass=a-passphrase",
        "expire-auto=n",
        "archive-timeout=600",
    } <= set(lines())


def test_every_member_is_reached_by_its_name_and_let_in_for_this_cluster_only():
    text = lines()
    for number, name in enumerate(THREE, 1):
        own = {
            f"pg{number}-host={name}",
            f"pg{number}-host-type=tls",
            f"pg{number}-host-port=8433",
            f"pg{number}-path=/srv/{name}",
        }
        assert own <= set(text)
    assert [line for line in text if line.startswith("tls-server-auth")] == [
        f"tls-server-auth={name}=utmstack" for name in THREE
    ]
    assert {"tls-server-address=10.0.1.31", "tls-server-port=8432"} <= set(text)


def tasks():
    found = yaml.safe_load((ROLES / "backup/tasks/postgresql_stanza.yml").read_text())
    return {task["name"]: task for task in found}


def seen(info, leader, identifier):
    members = [{"name": "node1", "system_identifier": identifier}, {"name": "node2", "system_identifier": "9"}]
    found = {
        "ha": HA, "inventory_hostname": "backup1", "backup_stanza_info": {"stdout": json.dumps(info)},
        "backup_postgresql_cluster": {"leader": leader, "members": members},
    }  # fmt: skip
    task = tasks()["Report the repository of another cluster"]
    return found | {name: evaluated(value, **found) for name, value in task["vars"].items()}


@pytest.mark.parametrize(
    ("info", "leader", "identifier", "told", "created"),
    [
        pytest.param(INFO, "node1", IDENTIFIER, False, False, id="it is this cluster's"),
        pytest.param(INFO, "node1", "7", True, False, id="another cluster's"),
        pytest.param(INFO, None, "7", False, False, id="nobody leads"),
        pytest.param([], "node1", "7", False, True, id="a new one"),
        pytest.param([], None, "7", False, False, id="a new one, and nobody leads"),
    ],
)
def test_a_stanza_is_made_for_a_leader_and_another_clusters_repository_is_left_alone(
    info, leader, identifier, told, created
):
    known = seen(info, leader, identifier)
    report, create = list(tasks().values())[2:4]
    assert evaluated("{{ " + report["when"] + " }}", **known) is told
    assert evaluated("{{ " + create["when"] + " }}", **known) is created
    if told:
        said = evaluated(report["ansible.builtin.debug"]["msg"], **known)
        assert IDENTIFIER in said and "restore_postgresql.yml" in said and "ha_cluster_name" in said


def test_a_lock_of_another_backup_host_is_waited_for():
    create = tasks()["Create the stanza"]
    assert (create["until"], create["retries"], create["delay"]) == ("backup_stanza_created.rc not in [50, 56]", 3, 20)
