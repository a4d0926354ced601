# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is changed later arrives under load, without a failed request, or is refused and changes nothing on any host."""

from __future__ import annotations

import base64
import json
import re
import shlex
import sys
import urllib.error
import urllib.request

import clients
import psycopg
import pytest
from cluster import ROOT, assert_unchanged, everywhere, until
from redis import Redis
from redis.exceptions import AuthenticationError

sys.path.insert(0, str(ROOT / "collections"))

from ansible_collections.utmstack.ha.plugins.module_utils.common.secrets import generate  # noqa: E402
from ansible_collections.utmstack.ha.plugins.module_utils.services.passwords import passwords  # noqa: E402
from ansible_collections.utmstack.ha.plugins.module_utils.topology import changes  # noqa: E402

# Everything that a run could write, and when services began.
SEEN = (
    "find /etc /usr/local/lib/utmstack-ha -xdev -type f -exec sha256sum {} + 2> /dev/null | sort -k 2 | sha256sum;"
    " find /var/lib/etcd /var/lib/postgresql /var/lib/elasticsearch /var/lib/redis /opt /srv -maxdepth 2 -xdev -type d | sort;"
    " systemctl show -p Id,ExecMainStartTimestamp etcd patroni elasticsearch redis-server redis-sentinel docker pgbouncer haproxy keepalived"
)


@pytest.fixture(autouse=True)
def _whole(cluster):
    until(cluster.status_is_ok, 240, "a whole platform")


def told(done) -> str:
    return " ".join(done.stdout.split())


REFUSED = {
    "ha_cluster_name": {"ha_cluster_name": "other"},
    "redis_master_name": {"redis_master_name": "other"},
    "ha_vip": {"ha_vip": "{vip}0"},
    "ha_ports.postgresql": {"ha_ports": {"postgresql": 5442}},
    "ha_ports.elasticsearch": {"ha_ports": {"elasticsearch": 9201}},
    "ha_tls_directory": {"ha_tls_directory": "/srv/tls"},
    "etcd_data_directory": {"etcd_data_directory": "/srv/etcd"},
    "postgresql_data_directory": {"postgresql_data_directory": "/srv/pg"},
    "elasticsearch_data_directory": {"elasticsearch_data_directory": "/srv/es"},
    "elasticsearch_flavor": {"elasticsearch_flavor": "opensearch"},
    "redis_flavor": {"redis_flavor": "valkey"},
    "swarm_data_root": {"swarm_data_root": "/srv/docker"},
    "backend_stack_name": {"backend_stack_name": "other"},
    "backend_tls": {"backend_tls": False},
}
LAYERS = {"redis_master_name": "redis", "elasticsearch_flavor": "elasticsearch", "ha_cluster_name": "postgresql"}


@pytest.mark.parametrize("setting", REFUSED)
def test_a_name_or_place_that_cannot_change_is_refused_and_nothing_is_touched(cluster, setting):
    given = json.dumps(REFUSED[setting]).replace("{vip}0", cluster.vip[:-1] + "1")
    before = everywhere(cluster, SEEN)
    # A layer by its tag refuses as well as a whole run does.
    ways = [["--tags", LAYERS[setting]], ["--check"], []] if setting in LAYERS else [[]]
    for way in ways:
        done = cluster.playbook("site.yml", "-e", given, *way, check=False)
        assert done.returncode != 0 and f"{setting} is " in told(done) and " back. " in told(done), done.stdout
    print("\n" + "\n".join(re.findall(r"^.*(?:faults?\.|  \d+\. host).*$", done.stdout, re.MULTILINE)))
    assert everywhere(cluster, SEEN) == before


# Passwords --------------------------------------------------------------------------------------------------------------


def asked(cluster, url, user, password) -> bool:
    """Whether an HTTPS server lets a user in."""
    login = base64.b64encode(f"{user}:{password}".encode()).decode()
    request = urllib.request.Request(url, headers={"Authorization": f"Basic {login}"})
    try:
        with urllib.request.urlopen(request, timeout=5, context=clients.tls(cluster)) as answer:
            return answer.status == 200
    except urllib.error.HTTPError as error:
        assert error.code == 401, error
        return False


def search(user):
    return lambda cluster, password: asked(
        cluster, f"https://{cluster.vip}:9200/_security/_authenticate", user, password
    )


def redis(user, port=6379):
    def lets_in(cluster, password):
        answers = set()
        for address in cluster.hosts.values():
            options = {"host": address, "port": port, "username": user, "password": password, "ssl": True,
                       "ssl_ca_certs": str(cluster.ca), "socket_timeout": 5}  # fmt: skip
            try:
                Redis(**options).auth(password, user)
                answers.add(True)
            except AuthenticationError:
                answers.add(False)
            except Exception as error:
                # Whoever may do nothing but replicate is let in all the same.
                answers.add("NOPERM" in str(error) or "no permissions" in str(error))
        assert len(answers) == 1, answers
        return answers.pop()

    return lets_in


def postgresql(user, port=5432):
    def lets_in(cluster, password):
        own = cluster.passwords["postgresql_application_password"]
        conninfo = cluster.conninfo(port).replace("user=utmstack", f"user={user}").replace(own, password)
        try:
            psycopg.connect(conninfo).close()
        except psycopg.OperationalError as error:
            assert "authentication failed" in str(error), error
            return False
        return True

    return lets_in


def on_each_host(command):
    """A command that prints yes or no."""

    def lets_in(cluster, password):
        answers = {
            cluster.ssh(host, command.format(address=address, password=shlex.quote(password))).stdout.strip()
            for host, address in cluster.hosts.items()
        }
        assert answers in ({"yes"}, {"no"}), answers
        return answers == {"yes"}

    return lets_in


CONSOLE = (
    "PGPASSWORD={password} psql -XAtw 'host={address} port=6432 user=pgbouncer_admin dbname=pgbouncer sslmode=require'"
    " -c 'SHOW VERSION' > /dev/null 2>&1 && echo yes || echo no"
)
REAPER = (
    "PGPASSWORD={password} psql -XAtw 'host={address} port=5432 user=utmstack_reaper dbname=postgres sslmode=require'"
    " -c 'SELECT 1' > /dev/null 2>&1 && echo yes || echo no"
)
REST = (
    "python3 -c 'import base64, ssl, sys, urllib.request as u\n"
    't = "/etc/utmstack-ha/tls/"\n'
    'c = ssl.create_default_context(cafile=t + "ca.crt"); c.load_cert_chain(t + "host.crt", t + "host.key")\n'
    'l = base64.b64encode(("patroni:" + sys.argv[1]).encode()).decode()\n'
    'r = u.Request("https://{address}:8008/reload", b"", {{"Authorization": "Basic " + l}})\n'
    "try: u.urlopen(r, timeout=5, context=c)\n"
    'except u.HTTPError as e: print("no" if e.code == 401 else e)\n'
    'else: print("yes")\' {password}'
)
LOGINS = {
    "postgresql_rest_password": on_each_host(REST),
    "postgresql_application_password": postgresql("utmstack"),
    "postgresql_pgbouncer_password": postgresql("pgbouncer", 5434),
    "postgresql_drill_password": postgresql("utmstack_drill"),
    "postgresql_reaper_password": on_each_host(REAPER),
    "pgbouncer_admin_password": on_each_host(CONSOLE),
    "elasticsearch_application_password": search("utmstack"),
    "elasticsearch_monitoring_password": search("utmstack-monitoring"),
    "elasticsearch_snapshot_password": search("utmstack-snapshots"),
    "elasticsearch_drill_password": search("utmstack-drill"),
    "redis_admin_password": redis("admin"),
    "redis_replication_password": redis("replication"),
    "redis_monitoring_password": redis("monitoring"),
    "redis_application_password": redis("utmstack"),
    "redis_drill_password": redis("drill"),
    "haproxy_stats_password": lambda cluster, password: asked(
        cluster, f"https://{next(iter(cluster.hosts.values()))}:8404/stats", "operator", password
    ),
}


def with_effect(effect) -> set[str]:
    """The passwords of this platform. Those of backups are deployed with a backup host, and tried by tests/testinfra/backup."""
    return {name for name in passwords() if changes.rows()[name].effect == effect and "backup_" not in name}


def test_every_password_that_arrives_is_tried():
    assert with_effect(changes.APPLIED) == set(LOGINS)


# The layers that have a password, in the words of --tags.
TAGS = {
    "postgresql_application_password": "backend",
    "postgresql_pgbouncer_password": "postgresql,pgbouncer",
    "pgbouncer_admin_password": "postgresql,pgbouncer",
    "postgresql_reaper_password": "postgresql,haproxy",
    "postgresql_": "postgresql",
    "elasticsearch_application_password": "backend",
    "elasticsearch_monitoring_password": "haproxy",
    "elasticsearch_": "elasticsearch",
    "redis_monitoring_password": "redis,haproxy",
    "redis_application_password": "redis,backend",
    "redis_": "redis",
    "haproxy_": "haproxy",
}
FORMER: dict[str, str] = {}


@pytest.mark.parametrize("name", LOGINS)
def test_a_password_arrives_under_load(cluster, under_load, name):
    FORMER[name], new = cluster.passwords[name], generate()
    assert LOGINS[name](cluster, FORMER[name])
    tags = next(tags for start, tags in TAGS.items() if name.startswith(start))

    def change() -> None:
        # Only now, for the bank logs in with the drill's password when it begins.
        cluster.keep(name, new)
        cluster.playbook("site.yml", "--tags", tags)

    under_load(f"{name} changed", change)
    assert LOGINS[name](cluster, new)
    # Redis lets the former one in until all clients have the present one, which only a whole run knows.
    assert LOGINS[name](cluster, FORMER[name]) == name.startswith("redis_")


def test_a_whole_run_retires_former_passwords_under_load(cluster, under_load):
    under_load("former passwords retired", lambda: cluster.playbook("site.yml"))
    for name, former in FORMER.items():
        assert LOGINS[name](cluster, cluster.passwords[name]), name
        assert not LOGINS[name](cluster, former), name
    assert_unchanged(cluster.playbook("site.yml").stdout)


@pytest.mark.parametrize("name", sorted(with_effect(changes.REFUSED)))
def test_a_password_that_cannot_change_is_refused_under_load_and_nothing_is_touched(cluster, under_load, name):
    before = everywhere(cluster, SEEN)
    refused = under_load(
        f"{name} refused", lambda: cluster.playbook("site.yml", "-e", f"{name}={generate()}", check=False)
    )
    assert refused.returncode != 0
    assert f"{name} is not the one that is deployed. Put back the old value" in told(refused), refused.stdout
    assert everywhere(cluster, SEEN) == before
