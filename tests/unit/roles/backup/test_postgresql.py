# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The repository's end of pgBackRest, and which repository is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from ansible_collections.utmstack.ha.plugins.module_utils.services.postgresql import backup_settings
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


S3 = {
    "backup_repository": "s3", "backup_s3_endpoint": "s3.example.org:9000", "backup_s3_bucket": "backups", "backup_s3_ca_file": "/etc/ssl/site.crt",
    "backup_s3_key": "KEY", "backup_s3_secret": "the-secret",
}  # fmt: skip


def test_a_repository_in_s3_has_its_place_its_ca_and_its_credentials_and_is_encrypted_all_the_same():
    ha = topology(GROUPS, "backup1", hosts={"backup1": "10.0.1.31"}, own={"backup1": S3})
    members = {name: {"postgresql_data_directory": f"/srv/{name}"} for name in THREE}
    secrets = {"backup_passphrase": "a-passphrase"}
    found = render(
        "backup", "pgbackrest.conf.j2", ha, ha_secrets=secrets, backup_members_settings=members, **S3
    ).splitlines()
    assert [line for line in found if line.startswith(("repo1-type", "repo1-path", "repo1-s3", "repo1-storage"))] == [
        "repo1-type=s3",
        "repo1-path=/utmstack/backup1/pgbackrest",
        "repo1-s3-endpoint=s3.example.org",
        "repo1-storage-port=9000",
        "repo1-s3-bucket=backups",
        "repo1-s3-region=us-east-1",
        "repo1-s3-uri-style=path",
        "repo1-s3-key=KEY",
        "repo1-s3-key-secret=the-secret",
        "repo1-storage-ca-file=/etc/ssl/site.crt",
    ]
    assert "repo1-cipher-type=aes-256-cbc" in found and not [line for line in found if "verify-tls" in line]
    (entry,) = [
        task for task in yaml.safe_load((ROLES / "backup/tasks/postgresql.yml").read_text()) if "Write" in task["name"]
    ]
    conf = entry["utmstack.ha.file_set"]["files"][0]
    assert (conf["owner"], conf["mode"]) == ("postgres", "0600") and "secret_content" in conf


def test_the_program_is_told_of_no_directory_where_the_repository_is_a_bucket():
    ha = topology(GROUPS, "backup1", hosts={"backup1": "10.0.1.31"}, own={"backup1": S3})
    secrets = dict.fromkeys(("postgresql_backup_password",), "x")
    assert backup_settings(ha, secrets)["repository"] == ""
    assert backup_settings(HA, secrets)["repository"] == "/var/backups/utmstack/pgbackrest"


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
