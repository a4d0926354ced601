# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What role postgresql writes where group backup has hosts, and that it writes nothing of it without."""

from __future__ import annotations

import configparser
from collections import defaultdict

import pytest
import yaml
from ansible_collections.utmstack.ha.plugins.module_utils.services.questions import questions
from ansible_collections.utmstack.ha.plugins.module_utils.services.software import host_software
from role_templates import ROLES, render, topology
from role_vars import variable

THREE = ["node1", "node2", "node3"]
GROUPS = {group: THREE for group in ("loadbalancer", "etcd", "postgresql")}
BACKUP = {"backup1": "10.0.1.31", "backup2": "10.0.1.32"}
SECRETS = defaultdict(lambda: "a-password")
PLAIN = topology(GROUPS, "node1")


def with_backups(*hosts, **settings):
    return topology({**GROUPS, "backup": list(hosts)}, "node1", hosts=BACKUP, **settings)


def dynamic(ha, **given):
    given = {
        "postgresql_parameters": {},
        "postgresql_patroni_dynamic_configuration": {},
        "postgresql_wal_keep_size": "1GB",
        "postgresql_max_slot_wal_keep_size": "10GB",
        **given,
    }
    return variable("postgresql", "postgresql_dynamic_configuration", ha=ha, **given)


def parameters(ha, **given):
    return dynamic(ha, **given)["postgresql"]["parameters"]


def rendered(ha, **given):
    """The text, and its options; of one that stands there more than once, the last."""
    text = render("postgresql", "pgbackrest.conf.j2", ha, **given)
    found = configparser.ConfigParser(interpolation=None, strict=False)
    found.read_string(text)
    return text, {name: dict(found[name]) for name in found.sections()}


DATA = {"postgresql_data": "/var/lib/postgresql/17/utmstack"}


def test_without_backup_hosts_nothing_of_it_is_there():
    assert not {"archive", "backup_hosts", "archive_stop"} & set(PLAIN["postgresql"])
    assert not [name for name in parameters(PLAIN) if name.startswith("archive")]
    assert "ignore_slots" not in dynamic(PLAIN)
    assert "pgbackrest" not in host_software(PLAIN, "node1", {}, "13")["packages"]
    assert "postgresql_archive_info" not in questions(PLAIN, SECRETS, "node1")
    assert variable("postgresql", "postgresql_backup_users", ha=PLAIN, ha_secrets=SECRETS) == []
    for name in ("postgresql_archives", "postgresql_archive_ends"):
        assert variable("postgresql", name, ha=PLAIN) is False
    main = {task["name"]: task for task in yaml.safe_load((ROLES / "postgresql/tasks/main.yml").read_text())}
    assert main["Configure WAL archiving"]["when"] == "postgresql_archives"
    assert "postgresql_archive_ends" in main["Remove WAL archiving"]["when"]


def test_with_one_wal_is_closed_and_sent_and_the_slot_is_passed_over():
    ha = with_backups("backup1")
    found = parameters(ha)
    assert {name: found[name] for name in found if name.startswith("archive")} == {
        "archive_mode": "on",
        "archive_timeout": "20s",
        "archive_command": 'pgbackrest --stanza=utmstack --io-timeout=5 archive-push "%p"',
    }
    assert dynamic(ha)["ignore_slots"] == [{"name": "utmstack_archive", "type": "physical"}]
    # What else there is stays as it was.
    assert {name: value for name, value in found.items() if not name.startswith("archive")} == parameters(PLAIN)
    assert "pgbackrest" in host_software(ha, "node1", {}, "13")["packages"]
    assert questions(ha, SECRETS, "node1")["postgresql_archive_info"] == {"utmstack.ha.postgresql_archive_info": {}}


def test_members_only_restore_by_the_playbook_and_never_by_themselves():
    found = dynamic(with_backups("backup1"))
    assert "restore_command" not in found["postgresql"]["parameters"] and "recovery_conf" not in found["postgresql"]
    assert "pgbackrest" not in str({key: value for key, value in found.items() if key != "postgresql"})
    assert "create_replica_methods: [basebackup]" in (ROLES / "postgresql/templates/config.yml.j2").read_text()


def test_the_users_own_archive_command_does_not_take_the_place_of_ours():
    found = parameters(with_backups("backup1"), postgresql_parameters={"archive_command": "cp %p /srv", "work_mem": "7MB"})
    assert found["archive_command"].startswith("pgbackrest ") and found["work_mem"] == "7MB"
    assert parameters(PLAIN, postgresql_parameters={"archive_command": "cp %p /srv"})["archive_command"] == "cp %p /srv"


def test_a_member_sends_to_all_repositories_and_lets_in_their_hosts_alone():
    ha = with_backups("backup1", "backup2")
    text, found = rendered(ha, **DATA)
    assert [found["global"][f"repo{number}-host"] for number in (1, 2)] == ["backup1", "backup2"]
    assert {found["global"][f"repo{number}-host-type"] for number in (1, 2)} == {"tls"}
    assert [line for line in text.splitlines() if line.startswith("tls-server-auth")] == [
        "tls-server-auth=backup1=utmstack",
        "tls-server-auth=backup2=utmstack",
    ]
    assert (found["global"]["tls-server-address"], found["global"]["tls-server-port"]) == ("10.0.1.11", "8433")
    assert found["utmstack"]["pg1-path"] == "/var/lib/postgresql/17/utmstack"
    assert "cipher" not in text and "queue-max" not in text


def test_wal_is_thrown_away_only_where_that_is_asked_for():
    text, _found = rendered(with_backups("backup1", backup_archive_queue_max="50GB"), **DATA)
    assert "archive-push-queue-max=50GB" in text


@pytest.mark.parametrize(
    ("deployed", "stop", "ends"),
    [({"archives_to": "backup1"}, True, True), ({"archives_to": "backup1"}, False, False), ({}, True, False)],
)
def test_archiving_ends_by_letting_wal_go_only_where_that_is_said(deployed, stop, ends):
    ha = topology(GROUPS, "node1", backup_stop=stop)
    given = {"base_deployed": {"layers": {"postgresql": deployed}}}
    assert variable("postgresql", "postgresql_archive_ends", ha=ha, **given) is ends
    found = {name: value for name, value in parameters(ha, **given).items() if name.startswith("archive")}
    assert found == ({"archive_mode": "on", "archive_command": "/bin/true"} if ends else {})


def test_the_program_is_told_no_password_but_that_of_rewind_in_a_file_of_its_own():
    secrets = {"postgresql_rewind_password": "r", "postgresql_superuser_password": "s"}
    given = {"postgresql_data": DATA["postgresql_data"], "ha_secrets": secrets}
    found = variable("postgresql", "postgresql_archive_settings", ha=with_backups("backup1"), **given)
    assert (found["password"], found["user"], found["repositories"]) == ("r", "rewind", ["backup1"])
    assert (found["archive_timeout_s"], found["rpo_limit_s"]) == (20, 120)
    files = yaml.safe_load((ROLES / "postgresql/vars/main/archive.yml").read_text())["postgresql_archive_own_files"]
    (own,) = [file for file in files if "secret_content" in file]
    assert (own["path"], own["mode"]) == ("{{ postgresql_archive_settings_file }}", "0640")
