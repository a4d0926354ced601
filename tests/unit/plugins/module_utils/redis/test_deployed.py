# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host tells of its Redis and Sentinel: from what they keep, and from their files of users."""

from __future__ import annotations

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.common.deployed import Files
from ansible_collections.utmstack.ha.plugins.module_utils.redis import deployed
from ansible_collections.utmstack.ha.plugins.module_utils.redis.acl import acl_file
from host_files import ours, write

SETTINGS = {"redis_flavor": "redis"}
PASSWORDS = {name: f"a-password-of-{name}" for name in deployed.USERS.values()}


@pytest.fixture
def host(tmp_path):
    """A host whose units have our settings."""
    return ours(tmp_path, "redis-server", "redis-sentinel")


def test_redis_and_sentinel_are_told_by_what_they_keep(host):
    write(
        host,
        "/etc/redis/utmstack-ha.conf",
        "# Written\nbind 10.0.1.11\ntls-port 6379\ndir /var/lib/redis/utmstack\ntls-ca-cert-file /etc/utmstack-ha/tls/ca.crt\n",
    )
    write(
        host,
        "/etc/redis/utmstack-ha-sentinel.conf",
        "# Written\nbind 10.0.1.11\ndir /var/lib/redis/utmstack\ntls-port 26379\n",
    )
    files = Files(host)
    assert deployed.server(files, SETTINGS) == deployed.sentinel(files) == {}
    (host / "var/lib/redis/utmstack/appendonlydir").mkdir(parents=True)
    write(
        host,
        "/var/lib/redis/utmstack/utmstack-ha-sentinel.conf",
        "sentinel myid 1\nsentinel monitor utmstack-redis 10.0.1.12 6379 2\n",
    )
    assert deployed.server(files, SETTINGS) == {
        "flavor": "redis", "address": "10.0.1.11", "port": 6379, "tls_directory": "/etc/utmstack-ha/tls",
        "data_directory": "/var/lib/redis/utmstack",
    }  # fmt: skip
    assert deployed.sentinel(files) == {
        "master_name": "utmstack-redis",
        "address": "10.0.1.11",
        "port": 26379,
        "data_directory": "/var/lib/redis/utmstack",
    }


def test_a_redis_password_rotates_while_its_file_lets_another_one_in(host):
    files = Files(host)
    users = [{"name": "admin", "password": PASSWORDS["redis_admin_password"], "rules": "~* &* +@all"},
             {"name": "utmstack", "password": PASSWORDS["redis_application_password"], "rules": "~*"}]  # fmt: skip
    assert deployed.rotating(files, PASSWORDS) == []
    write(host, "/etc/redis/utmstack-ha.acl", acl_file(users))
    assert deployed.rotating(files, PASSWORDS) == []
    wanted = PASSWORDS | {"redis_application_password": "a-new-password"}
    assert deployed.rotating(files, wanted) == ["redis_application_password"]
    both = acl_file([users[0], users[1] | {"password": "a-new-password"}], former=acl_file(users))
    write(host, "/etc/redis/utmstack-ha.acl", both)
    assert deployed.rotating(files, wanted) == ["redis_application_password"]


def test_redis_can_be_told_another_admin_only_by_one_that_it_accepts(host):
    files, name = Files(host), "redis_admin_password"
    users = [{"name": "admin", "password": PASSWORDS[name], "rules": "~* &* +@all"}]
    assert deployed.admin(files, "redis", PASSWORDS) == (False, True)
    write(host, "/etc/redis/utmstack-ha.acl", acl_file(users))
    assert deployed.admin(files, "redis", PASSWORDS) == (False, True)
    wanted = PASSWORDS | {name: "a-new-password"}
    assert deployed.admin(files, "redis", wanted) == (False, False)
    write(host, "/etc/redis/utmstack-ha-admin", PASSWORDS[name])
    assert deployed.admin(files, "redis", PASSWORDS) == (True, True)
    assert deployed.admin(files, "redis", wanted) == (False, True)


def test_the_sentinels_password_is_compared_with_their_file(host):
    files = Files(host)
    assert deployed.is_sentinels(files, "first-password") is None
    write(
        host,
        "/etc/redis/utmstack-ha-sentinel-secret.conf",
        "sentinel sentinel-user sentinel\nsentinel sentinel-pass first-password\n",
    )
    assert deployed.is_sentinels(files, "first-password") is True
    assert deployed.is_sentinels(files, "other-password") is False
