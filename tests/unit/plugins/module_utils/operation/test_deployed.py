# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host tells of what is deployed on it: from the files that the roles write, and only where there are data."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.operation import deployed
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql import scram
from ansible_collections.utmstack.ha.plugins.module_utils.redis.acl import acl_file
from ansible_collections.utmstack.ha.plugins.module_utils.swarm import stack as swarm_stack
from role_templates import render, topology

EVERYTHING = {
    group: ["node1", "node2", "node3"]
    for group in ("loadbalancer", "etcd", "postgresql", "elasticsearch", "redis", "swarm_managers")
}
SETTINGS = {"etcd_data_directory": "/var/lib/etcd/utmstack", "postgresql_data_directory": "/var/lib/postgresql/17/utmstack",
            "elasticsearch_data_directory": "/var/lib/elasticsearch", "redis_flavor": "redis"}  # fmt: skip


@pytest.fixture
def ha():
    return topology(EVERYTHING, "node1")


@pytest.fixture
def host(tmp_path):
    """A host whose units have our settings, and a way to write its files."""
    for unit in ("etcd", "patroni", "redis-server", "redis-sentinel", "docker", "haproxy", "keepalived"):
        write(tmp_path, f"/etc/systemd/system/{unit}.service.d/utmstack-ha.conf", "")
    return tmp_path


def write(root, name, text):
    path = root / name.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


ETCD = {
    "name": "node1", "data-dir": "/var/lib/etcd/utmstack", "listen-client-urls": "https://10.0.1.11:2379",
    "listen-peer-urls": "https://10.0.1.11:2380", "initial-cluster-token": "utmstack", "trusted-ca-file": "/etc/utmstack-ha/tls/ca.crt",
}  # fmt: skip


def etcd_file(**over):
    """As etcd.env.j2 writes it."""
    return "".join(f'ETCD_{name.upper().replace("-", "_")}="{value}"\n' for name, value in (ETCD | over).items())


def test_etcd_is_told_by_its_settings_once_it_has_data(host, ha):
    write(host, "/etc/default/etcd", etcd_file())
    assert deployed.etcd(deployed.Files(host), SETTINGS) == {}
    (host / "var/lib/etcd/utmstack/member").mkdir(parents=True)
    assert deployed.etcd(deployed.Files(host), SETTINGS) == {
        "name": "node1", "cluster": "utmstack", "address": "10.0.1.11", "client_port": 2379, "peer_port": 2380,
        "data_directory": "/var/lib/etcd/utmstack", "tls_directory": "/etc/utmstack-ha/tls",
    }  # fmt: skip


def test_settings_that_a_stopped_run_has_left_say_nothing_of_the_data_in_the_old_place(host, ha):
    write(host, "/etc/default/etcd", etcd_file(**{"data-dir": "/var/lib/etcd/new", "initial-cluster-token": "new"}))
    (host / "var/lib/etcd/utmstack/member").mkdir(parents=True)
    (host / "var/lib/etcd/new").mkdir()
    files = deployed.Files(host)
    assert deployed.etcd(files, SETTINGS) == {"data_directory": "/var/lib/etcd/utmstack"}
    assert deployed.etcd(files, SETTINGS | {"etcd_data_directory": "/var/lib/etcd/new"}) == {
        "data_directory": "/var/lib/etcd/utmstack"
    }


def test_an_etcd_that_is_not_ours_is_not_told(tmp_path, ha):
    write(tmp_path, "/etc/default/etcd", etcd_file())
    (tmp_path / "var/lib/etcd/default/member").mkdir(parents=True)
    assert deployed.etcd(deployed.Files(tmp_path), SETTINGS) == {}


PATRONI = {
    "scope": "utmstack", "name": "node1",
    "restapi": {"connect_address": "10.0.1.11:8008", "cafile": "/etc/utmstack-ha/tls/ca.crt"},
    "postgresql": {"connect_address": "10.0.1.11:5432", "data_dir": "/var/lib/postgresql/17/utmstack"},
}  # fmt: skip


def test_postgresql_is_told_by_patronis_file_once_it_has_data(host):
    files = deployed.Files(host)
    assert deployed.postgresql(files, SETTINGS, PATRONI) == {}
    write(host, "/var/lib/postgresql/17/utmstack/PG_VERSION", "17\n")
    found = deployed.postgresql(files, SETTINGS, PATRONI)
    assert found == {
        "name": "node1", "cluster": "utmstack", "address": "10.0.1.11", "port": 5432, "rest_port": 8008,
        "data_directory": "/var/lib/postgresql/17/utmstack", "tls_directory": "/etc/utmstack-ha/tls",
    }  # fmt: skip
    wanted = SETTINGS | {"postgresql_data_directory": "/srv/pg"}
    assert deployed.postgresql(files, wanted, PATRONI)["data_directory"] == "/var/lib/postgresql/17/utmstack"


@pytest.mark.parametrize("flavor", ["elasticsearch", "opensearch"])
def test_the_search_engine_is_told_once_it_has_data(host, flavor):
    write(
        host,
        "/etc/systemd/system/elasticsearch.service",
        f"# Written by the role utmstack.ha.elasticsearch\nexec /opt/x/bin/{flavor} $$(",
    )
    write(host, f"/etc/elasticsearch/{flavor}.yml", 'cluster.name: "utmstack"\nnode.name: "node1"\nnode.roles: ["data"]\n'
          'path.data: "/var/lib/elasticsearch"\nnetwork.host: "10.0.1.11"\nhttp.port: 9200\ntransport.port: 9300\n')  # fmt: skip
    assert deployed.elasticsearch(deployed.Files(host), SETTINGS) == {}
    write(host, "/var/lib/elasticsearch/_state/node-0.st", "")
    assert deployed.elasticsearch(deployed.Files(host), SETTINGS) == {
        "name": "node1", "cluster": "utmstack", "address": "10.0.1.11", "http_port": 9200, "transport_port": 9300,
        "data_directory": "/var/lib/elasticsearch", "flavor": flavor, "roles": ["data"],
    }  # fmt: skip


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
    files = deployed.Files(host)
    assert deployed.redis(files, SETTINGS) == deployed.sentinel(files, SETTINGS) == {}
    (host / "var/lib/redis/utmstack/appendonlydir").mkdir(parents=True)
    write(
        host,
        "/var/lib/redis/utmstack/utmstack-ha-sentinel.conf",
        "sentinel myid 1\nsentinel monitor utmstack-redis 10.0.1.12 6379 2\n",
    )
    assert deployed.redis(files, SETTINGS) == {
        "flavor": "redis", "address": "10.0.1.11", "port": 6379, "tls_directory": "/etc/utmstack-ha/tls",
        "data_directory": "/var/lib/redis/utmstack",
    }  # fmt: skip
    assert deployed.sentinel(files, SETTINGS) == {
        "master_name": "utmstack-redis",
        "address": "10.0.1.11",
        "port": 26379,
    }


def test_haproxy_tells_the_ports_of_its_frontends(host, ha):
    write(host, "/etc/haproxy/haproxy.cfg", render("haproxy", "haproxy.cfg.j2", ha))
    found = deployed.haproxy(deployed.Files(host))
    wanted = {"postgresql_write": 5432, "postgresql_direct": 5434, "elasticsearch": 9200, "redis": 6379, "https": 443}
    assert wanted.items() <= found.items()


def test_keepalived_tells_the_virtual_ip(host):
    write(
        host,
        "/etc/keepalived/keepalived.conf",
        "vrrp_instance VIP {\n    virtual_ipaddress {\n        10.0.1.100/24 dev eth0\n    }\n}\n",
    )
    assert deployed.keepalived(deployed.Files(host)) == {"vip": "10.0.1.100"}


INFO = {"Swarm": {"Cluster": {"ID": "salt", "DataPathPort": 4789, "DefaultAddrPool": ["10.201.0.0/16"],
                              "Spec": {"Labels": {"utmstack.ha.cluster": "utmstack"}}}}}  # fmt: skip


def test_the_swarm_is_told_by_dockers_state_and_a_manager(host):
    files = deployed.Files(host)
    write(host, "/etc/docker/daemon.json", json.dumps({"data-root": "/srv/docker"}))
    assert deployed.swarm(files, INFO) == {}
    write(
        host,
        "/srv/docker/swarm/docker-state.json",
        json.dumps({"LocalAddr": "10.0.1.11", "ListenAddr": "10.0.1.11:2377"}),
    )
    assert deployed.swarm(files, INFO) == {
        "address": "10.0.1.11", "port": 2377, "data_root": "/srv/docker", "data_port": 4789, "address_pools": ["10.201.0.0/16"],
        "cluster": "utmstack",
    }  # fmt: skip
    assert deployed.swarm(files, {})["cluster"] is None


def service(key="the old key", stack="utmstack", label=swarm_stack.DEFINITION):
    name = swarm_stack.version_name(stack, "ENCRYPTION_KEY", key, "salt")
    return {"Spec": {
        "Name": f"{stack}_backend", "Labels": {"com.docker.stack.namespace": stack, label: "mark"},
        "EndpointSpec": {"Ports": [{"TargetPort": 8080, "PublishedPort": 8080}, {"TargetPort": 50051, "PublishedPort": 50051}]},
        "TaskTemplate": {"ContainerSpec": {
            "Env": ["SERVER_SSL_ENABLED=true", "DB_NAME=utmstack"],
            "Secrets": [{"File": {"Name": "ENCRYPTION_KEY"}, "SecretName": name}]}}}}  # fmt: skip


def test_the_backend_is_told_by_its_service_and_its_keys_by_their_keyed_hash():
    found = deployed.backend([service(label="another")]) or deployed.backend([service()])
    assert {name: found[name] for name in ("stack", "http_port", "grpc_port", "tls", "database")} == {
        "stack": "utmstack", "http_port": 8080, "grpc_port": 50051, "tls": True, "database": "utmstack",
    }  # fmt: skip
    assert deployed.backend_keys(found, "salt", {"ENCRYPTION_KEY": "the old key", "INTERNAL_KEY": "x"}) == {
        "ENCRYPTION_KEY": True
    }
    assert deployed.backend_keys(found, "salt", {"ENCRYPTION_KEY": "a new one"}) == {"ENCRYPTION_KEY": False}
    assert deployed.backend_keys({}, "salt", {"ENCRYPTION_KEY": "a new one"}) == {}


def verifier(password, salt=b"sixteen bytes...", rounds=4096):
    """As PostgreSQL keeps it."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, rounds)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    told = [base64.b64encode(one).decode() for one in (salt, stored, server)]
    return f"SCRAM-SHA-256${rounds}:{told[0]}${told[1]}:{told[2]}"


def test_a_password_is_compared_with_postgresqls_verifier():
    assert scram.is_verifier_of(verifier("hunter2hunter2"), "hunter2hunter2")
    assert not scram.is_verifier_of(verifier("hunter2hunter2"), "hunter3hunter3")
    assert not scram.is_verifier_of("md5d41d8cd98f00b204e9800998ecf8427e", "hunter2hunter2")


PASSWORDS = {name: f"a-password-of-{name}" for name in deployed.REDIS_USERS.values()}


def test_a_redis_password_rotates_while_its_file_lets_another_one_in(host):
    files = deployed.Files(host)
    users = [{"name": "admin", "password": PASSWORDS["redis_admin_password"], "rules": "~* &* +@all"},
             {"name": "utmstack", "password": PASSWORDS["redis_application_password"], "rules": "~*"}]  # fmt: skip
    assert deployed.redis_rotating(files, PASSWORDS) == []
    write(host, "/etc/redis/utmstack-ha.acl", acl_file(users))
    assert deployed.redis_rotating(files, PASSWORDS) == []
    wanted = PASSWORDS | {"redis_application_password": "a-new-password"}
    assert deployed.redis_rotating(files, wanted) == ["redis_application_password"]
    both = acl_file([users[0], users[1] | {"password": "a-new-password"}], former=acl_file(users))
    write(host, "/etc/redis/utmstack-ha.acl", both)
    assert deployed.redis_rotating(files, wanted) == ["redis_application_password"]


def test_redis_can_be_told_another_admin_only_by_one_that_it_accepts(host):
    files, name = deployed.Files(host), "redis_admin_password"
    users = [{"name": "admin", "password": PASSWORDS[name], "rules": "~* &* +@all"}]
    assert deployed.redis_admin(files, "redis", PASSWORDS) == (False, True)
    write(host, "/etc/redis/utmstack-ha.acl", acl_file(users))
    assert deployed.redis_admin(files, "redis", PASSWORDS) == (False, True)
    wanted = PASSWORDS | {name: "a-new-password"}
    assert deployed.redis_admin(files, "redis", wanted) == (False, False)
    write(host, "/etc/redis/utmstack-ha-admin", PASSWORDS[name])
    assert deployed.redis_admin(files, "redis", PASSWORDS) == (True, True)
    assert deployed.redis_admin(files, "redis", wanted) == (False, True)


def test_pgbouncers_users_are_compared_with_its_file(host):
    given = {"postgresql_pgbouncer_password": 'look"up-password', "pgbouncer_admin_password": "admin-password"}
    files = deployed.Files(host)
    assert deployed.pgbouncer_rotating(files, given) == []
    write(host, "/etc/pgbouncer/userlist.txt", '"pgbouncer" "look""up-password"\n"pgbouncer_admin" "admin-password"\n')
    assert deployed.pgbouncer_rotating(files, given) == []
    assert deployed.pgbouncer_rotating(files, given | {"pgbouncer_admin_password": "new-password"}) == [
        "pgbouncer_admin_password"
    ]


def test_the_sentinels_password_is_compared_with_their_file(host):
    files = deployed.Files(host)
    assert deployed.is_sentinels(files, "first-password") is None
    write(
        host,
        "/etc/redis/utmstack-ha-sentinel-secret.conf",
        "sentinel sentinel-user sentinel\nsentinel sentinel-pass first-password\n",
    )
    assert deployed.is_sentinels(files, "first-password") is True
    assert deployed.is_sentinels(files, "other-password") is False


def test_a_service_counts_as_enabled_that_starts_with_the_host(host):
    wants = host / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir()
    (wants / "valkey-server.service").symlink_to("/usr/lib/systemd/system/valkey-server.service")
    assert deployed.enabled(deployed.Files(host)) == ["redis"]
