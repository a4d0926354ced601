# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host tells of its PostgreSQL: by Patroni's file, and only where there are data."""

from __future__ import annotations

import pytest
import yaml
from ansible_collections.utmstack.ha.plugins.module_utils.common.deployed import Files, Host
from ansible_collections.utmstack.ha.plugins.module_utils.patroni import deployed
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql.scram import verifier
from host_files import ours, write

SETTINGS = {"postgresql_data_directory": "/var/lib/postgresql/17/utmstack"}
PATRONI = {
    "scope": "utmstack", "name": "node1",
    "restapi": {"connect_address": "10.0.1.11:8008", "cafile": "/etc/utmstack-ha/tls/ca.crt"},
    "postgresql": {"connect_address": "10.0.1.11:5432", "data_dir": "/var/lib/postgresql/17/utmstack"},
}  # fmt: skip


@pytest.fixture
def host(tmp_path):
    """A host whose units have our settings."""
    return ours(tmp_path, "patroni")


def test_postgresql_is_told_by_patronis_file_once_it_has_data(host):
    files = Files(host)
    assert deployed.member(files, SETTINGS, PATRONI) == {}
    write(host, "/var/lib/postgresql/17/utmstack/PG_VERSION", "17\n")
    found = deployed.member(files, SETTINGS, PATRONI)
    assert found == {
        "name": "node1", "cluster": "utmstack", "address": "10.0.1.11", "port": 5432, "rest_port": 8008,
        "data_directory": "/var/lib/postgresql/17/utmstack", "tls_directory": "/etc/utmstack-ha/tls",
    }  # fmt: skip
    wanted = SETTINGS | {"postgresql_data_directory": "/srv/pg"}
    assert deployed.member(files, wanted, PATRONI)["data_directory"] == "/var/lib/postgresql/17/utmstack"


GIVEN = {
    "settings": SETTINGS | {"backend_database_user": "utmstack"},
    "passwords": {f"{name}_password": f"a-password-of-{name}" for name in (
        "etcd_patroni", "postgresql_superuser", "postgresql_replication", "postgresql_rewind", "postgresql_rest",
        "postgresql_pgbouncer")},
    "backend_secrets": {"DB_PASS": "a-password-of-the-backend"},
}  # fmt: skip
WITH_PASSWORDS = {
    **PATRONI,
    "etcd3": {"password": "a-password-of-etcd_patroni"},
    "restapi": {**PATRONI["restapi"], "authentication": {"password": "a-former-one"}},
    "postgresql": {**PATRONI["postgresql"], "authentication": {
        "superuser": {"password": "a-former-one"}, "rewind": {"password": "a-former-one"}}},
}  # fmt: skip


def look(root, psql):
    """What is told where psql says that; None: no server answers."""
    write(root, "/etc/patroni/config.yml", yaml.safe_dump(WITH_PASSWORDS))
    write(root, "/var/lib/postgresql/17/utmstack/PG_VERSION", "17\n")
    return deployed.look(Host(Files(root), GIVEN, lambda *_command, **_how: (2 if psql is None else 0, psql or "", "")))


def test_passwords_are_compared_with_what_the_server_keeps_else_with_patronis_file(host):
    former = {"postgresql_superuser_password": False, "postgresql_rewind_password": False}
    found = look(host, None)
    assert (found.passwords, found.rotating) == (former, ("postgresql_rest_password",))
    assert look(host, f"postgres|{verifier('a-password-of-postgresql_superuser', '')}\n").passwords == former | {
        "postgresql_superuser_password": True
    }


def test_what_patroni_has_of_etcds_password_is_a_copy(host):
    assert look(host, None).copies == {"etcd_patroni_password": True}
    assert "etcd_patroni_password" not in look(host, None).passwords


@pytest.mark.parametrize(
    ("psql", "rotating"),
    [
        (f"utmstack|{verifier('a-password-of-the-backend', '')}", ()),
        (f"utmstack|{verifier('a-former-one', '')}", ("postgresql_application_password",)),
        (f"utmstack_next|{verifier('any', '')}", ("postgresql_application_password",)),
        (f"pgbouncer|{verifier('a-former-one', '')}", ("postgresql_pgbouncer_password",)),
    ],
)
def test_a_users_password_rotates_while_it_has_another_or_its_second_user_is_there(host, psql, rotating):
    assert look(host, psql).rotating == (*rotating, "postgresql_rest_password")


def test_where_wal_goes_is_told_by_our_own_file_of_a_member(host):
    assert "archives_to" not in look(host, None).layers["postgresql"]
    path = "/etc/pgbackrest/pgbackrest.conf"
    write(host, path, "[global]\nrepo1-host=elsewhere\n")
    assert "archives_to" not in look(host, None).layers["postgresql"]
    write(
        host,
        path,
        "# Managed by utmstack.ha, role postgresql. More.\nrepo1-host=backup1\nrepo1-host-type=tls\nrepo2-host=backup2\n",
    )
    assert look(host, None).layers["postgresql"]["archives_to"] == "backup1, backup2"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("# Managed by utmstack.ha, role backup. More.\nrepo1-cipher-pass=right\n", {"backup_passphrase": True}),
        ("# Managed by utmstack.ha, role backup. More.\nrepo1-cipher-pass=former\n", {"backup_passphrase": False}),
        ("repo1-cipher-pass=somebody else's\n", {}),
        ("", {}),
    ],
)
def test_the_passphrase_of_a_repository_is_compared_on_its_backup_host(tmp_path, text, told):
    write(tmp_path, "/etc/pgbackrest/pgbackrest.conf", text)
    assert deployed.passphrase(Files(tmp_path), {"backup_passphrase": "right"}) == told
