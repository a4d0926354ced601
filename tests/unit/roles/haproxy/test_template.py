# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from role_templates import render, topology

THREE = ["node1", "node2", "node3"]
COLOCATED = {"loadbalancer": THREE, "etcd": THREE, "postgresql": THREE}
PLATFORM = COLOCATED | {"elasticsearch": THREE, "redis": THREE, "swarm_managers": THREE}
SECRETS = {
    "haproxy_stats_password": "Correct-Horse!Battery%Staple",
    "elasticsearch_monitoring_password": "Battery%Staple'Horse",
    "redis_monitoring_password": "Staple!Correct-Horse%Battery",
}
EVERYTHING = {
    "loadbalancer": ["node1", "node2"],
    "etcd": ["node3", "node4", "node5"],
    "postgresql": ["node3", "node4", "node5"],
    "swarm_managers": ["node6", "node7", "node8"],
    "web": ["node8", "node9"],
}
IPV6 = {f"node{number}": f"fd00::{number}" for number in range(1, 10)}

CASES = {
    "co-located, no application": (COLOCATED, {}, {}),
    "dedicated hosts with everything": (EVERYTHING, {}, {}),
    "the whole platform on three hosts": (PLATFORM, {}, {}),
    "a backend with TLS": (PLATFORM, {"backend_tls": True}, {}),
    "two Redis hosts": (PLATFORM | {"redis": THREE[:2], "sentinel": THREE}, {}, {}),
    "the normal profile": (EVERYTHING, {"ha_failover_profile": "normal"}, {}),
    "modern TLS": (EVERYTHING, {}, {"haproxy_tls_profile": "modern"}),
    "gRPC ended here": (EVERYTHING, {}, {"haproxy_grpc_tls": "terminate", "haproxy_grpc_check": "http2"}),
    "gRPC encrypted anew": (EVERYTHING, {}, {"haproxy_grpc_tls": "reencrypt", "haproxy_grpc_check": "http2"}),
    "web servers only": ({"loadbalancer": THREE, "web": ["node8"]}, {}, {}),
    "backend only": ({"loadbalancer": THREE, "swarm_managers": ["node6", "node7", "node8"]}, {}, {}),
    "load balancers only": ({"loadbalancer": THREE}, {}, {}),
    "no pgbouncer": (COLOCATED, {"pgbouncer_enabled": False}, {}),
    "no connection is kept": (PLATFORM, {}, {"haproxy_http_server_close": True}),
    "IPv6": (EVERYTHING, {"vip": "fd00::100/64", "hosts": IPV6}, {}),
    "other ports": (EVERYTHING, {"ha_ports": {"https": 8443, "stats": 9000, "postgresql_write": 6432}}, {}),
    "every option": (
        EVERYTHING,
        {"ha_vip_name": "siem.example.org"},
        {
            "haproxy_trusted_proxies": ["192.0.2.1", "198.51.100.0/24"],
            "haproxy_stats_allowed_networks": ["10.0.0.0/8"],
            "haproxy_postgresql_allowed_networks": ["10.0.1.0/24", "10.0.2.0/24"],
            "haproxy_stats_admin": True,
            "haproxy_verify_host_names": False,
            "haproxy_backend_server_options": "ssl verify required ca-file /etc/ssl/certs/ca-certificates.crt",
            "haproxy_global_config": "nbthread 2\ntune.bufsize 32768",
            "haproxy_https_config": "http-request deny if { path_beg /internal }\n",
            "haproxy_extra_config": "frontend mine from tcp\n    bind 127.0.0.1:9999\n    default_backend postgresql_write\n",
        },
    ),
}


def configuration(case, directory=None, host="node1"):
    """Return haproxy.cfg of a case; with a directory, its certificates are there."""
    groups, settings, variables = CASES[case]
    ha = topology(groups, host, **settings)
    if directory:
        ha["tls"] = {name: f"{directory}/host.{name}" for name in ("ca", "key")} | {
            "certificate": f"{directory}/host.crt"
        }
    return render("haproxy", "haproxy.cfg.j2", ha, **variables)


def sections(text):
    """Turn a configuration into section title -> its lines."""
    found = {}
    for line in text.splitlines():
        if re.match(r"\w", line):
            lines = found.setdefault(line.split(" from ")[0], [])
        elif line.strip() and not line.strip().startswith("#"):
            lines.append(line.strip())
    return found


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=t"]
        + ["-keyout", f"{directory}/host.key", "-out", f"{directory}/host.crt"],
        check=True,
        capture_output=True,
    )
    shutil.copy(f"{directory}/host.crt", f"{directory}/host.ca")
    return directory


@pytest.mark.skipif(not shutil.which("haproxy", path="/usr/sbin:/usr/bin"), reason="HAProxy is not installed")
@pytest.mark.parametrize("case", CASES)
def test_haproxy_accepts_the_configuration_without_a_warning(case, certificates, tmp_path):
    path, credentials = tmp_path / "haproxy.cfg", tmp_path / "credentials.cfg"
    text = configuration(case, certificates)
    # The test may run without being root, and without the package's users.
    text = re.sub(r"(?m)^    (chroot .*|user haproxy|group haproxy)\n", "", text)
    (tmp_path / "server-state").write_text("1\n")
    path.write_text(text.replace("/run/haproxy/server-state", f"{tmp_path}/server-state"))
    ha = topology(CASES[case][0], "node1")
    credentials.write_text(render("haproxy", "credentials.cfg.j2", ha, ha_secrets=SECRETS))
    result = subprocess.run(
        ["/usr/sbin/haproxy", "-c", "-f", credentials, "-f", path], capture_output=True, text=True, check=False
    )
    complaints = [line for line in result.stderr.splitlines() if "WARNING" in line or "ALERT" in line]
    assert (result.returncode, complaints) == (0, []), result.stderr


def test_sections_of_absent_groups_are_left_out():
    titles = set(sections(configuration("co-located, no application")))
    assert titles == {
        "global", "defaults common", "defaults tcp", "defaults http", "userlist operators", "frontend monitor", "frontend statistics",
        "frontend postgresql_write", "backend postgresql_write", "frontend postgresql_read", "backend postgresql_read",
        "frontend postgresql_direct", "backend pgbouncer",
    }  # fmt: skip
    assert not any("postgresql" in title for title in sections(configuration("backend only")))
    assert "backend web" not in sections(configuration("backend only"))
    assert set(sections(configuration("load balancers only"))) == {
        title for title in titles if "postgresql" not in title and "pgbouncer" not in title
    }


@pytest.mark.parametrize("case", CASES)
def test_every_frontend_that_routes_has_its_backend(case):
    found = sections(configuration(case))
    wanted = {
        line.split()[1]
        for title, lines in found.items()
        for line in lines
        if line.startswith(("default_backend ", "use_backend "))
    }
    assert {f"backend {name}" for name in wanted} <= set(found)


def test_only_public_ports_are_on_the_virtual_ip_and_nothing_listens_everywhere():
    binds = {
        line.split()[1]
        for lines in sections(configuration("dedicated hosts with everything")).values()
        for line in lines
        if line.startswith("bind ")
    }
    assert binds == {"127.0.0.1:8405", "10.0.1.11:8404", "10.0.1.11:5434"} | {
        f"10.0.1.100:{port}" for port in (80, 443, 5432, 5433, 5434, 50051)
    }


@pytest.mark.parametrize("case", ["dedicated hosts with everything", "the whole platform on three hosts"])
def test_a_host_that_has_lost_the_virtual_ip_may_still_answer_from_it(case):
    binds = [line for lines in sections(configuration(case)).values() for line in lines if line.startswith("bind ")]
    public = [line for line in binds if line.split()[1].startswith("10.0.1.100:")]
    assert public
    assert all("transparent" in line.split() for line in public)
    assert not [line for line in binds if line not in public and "transparent" in line.split()]


@pytest.mark.parametrize("case", CASES)
def test_nothing_but_global_sections_comes_before_the_users_own_global_lines(case):
    """HAProxy 3.0 takes nbthread and some others nowhere else, and the credentials come first."""
    first = render("haproxy", "credentials.cfg.j2", topology(CASES[case][0], "node1"), ha_secrets=SECRETS)
    assert set(sections(first)) == {"global"}
    assert next(iter(sections(configuration(case)))) == "global"


def test_elasticsearch_is_asked_with_a_password_that_only_root_can_read():
    text = configuration("the whole platform on three hosts")
    found = sections(text)["backend elasticsearch"]
    assert any('Authorization "Basic ${ELASTICSEARCH_CHECK}"' in line for line in found)
    assert not [secret for secret in SECRETS.values() if secret in text]
    assert (
        "server node2 10.0.1.12:9200 check ssl verify required ca-file /etc/utmstack-ha/tls/ca.crt verifyhost node2"
        in found
    )


def test_dedicated_masters_are_left_to_their_work():
    ha = topology(PLATFORM, "node1")
    ha["elasticsearch"]["members"][0]["serves"] = False
    found = sections(render("haproxy", "haproxy.cfg.j2", ha))["backend elasticsearch"]
    assert [line.split()[1] for line in found if line.startswith("server ")] == ["node2", "node3"]


@pytest.mark.parametrize(
    "case, expected",
    [
        (
            "the whole platform on three hosts",
            r"role:master\r\nconnected_slaves:[0-9]+\r\nmin_slaves_good_slaves:([1-9]|[1-9][0-9])",
        ),
        ("two Redis hosts", r"role:master\r\nconnected_slaves:[0-9]+"),
    ],
)
def test_a_redis_master_must_see_the_replicas_that_it_needs_to_take_writes(case, expected):
    assert f"tcp-check expect min-recv 100 rstring {expected}" in sections(configuration(case))["backend redis"]


def test_a_backend_with_tls_is_verified():
    found = sections(configuration("a backend with TLS"))
    server = "10.0.1.12:8080 {} ssl verify required ca-file /etc/utmstack-ha/tls/ca.crt verifyhost node2"
    assert f"server node2 {server.format('check')}" in found["backend api"]
    assert f"server node2 {server.format('track api/node2')}" in found["backend websocket"]


def test_patroni_is_asked_over_verified_tls_for_the_right_role():
    found = sections(configuration("co-located, no application"))
    write, read = found["backend postgresql_write"], found["backend postgresql_read"]
    assert "http-check send meth GET uri /primary" in write
    # The leader's key alone does not do: PostgreSQL may still be in recovery.
    expected = [line for line in write if line.startswith("http-check expect ")]
    assert expected == [
        """http-check expect error-status L7STS rstring '"role": *"(primary|master)"'""",
        "http-check expect status 200",
    ]
    assert not any("rstring" in line for line in read)
    assert "http-check send meth OPTIONS uri /replica?lag=16MB&replication_state=streaming" in read
    server = (
        "server node2 10.0.1.12:5432 check port 8008 check-ssl verify required ca-file /etc/utmstack-ha/tls/ca.crt "
        "verifyhost node2"
    )
    assert server in write
    assert server in read
    assert (
        "default-server inter 500ms fastinter 250ms downinter 250ms fall 3 rise 1 on-marked-down shutdown-sessions"
        in write
    )


def test_the_read_port_falls_back_to_the_primary():
    read = sections(configuration("co-located, no application"))["backend postgresql_read"]
    assert "server node3-primary 10.0.1.13:5432 track postgresql_write/node3 backup" in read


@pytest.mark.parametrize("given, closes", [(False, False), (True, True), ("false", False)])
def test_connections_to_http_servers_are_kept_unless_that_is_not_wanted(given, closes):
    text = render("haproxy", "haproxy.cfg.j2", topology(PLATFORM, "node1"), haproxy_http_server_close=given)
    found = sections(text)
    assert ("option http-server-close" in found["defaults http"]) is closes
    assert ("http-reuse safe" in found["defaults http"]) is not closes
    # Those to the search cluster are kept in any case.
    assert ("no option http-server-close" in found["backend elasticsearch"]) is closes


def test_what_writes_is_never_sent_twice():
    found = sections(configuration("dedicated hosts with everything")) | sections(
        configuration("the whole platform on three hosts")
    )
    assert "retry-on conn-failure empty-response" in found["defaults http"]
    assert "default-server tcp-ut 2000ms" in found["defaults http"]
    for backend in ("api", "websocket", "web", "elasticsearch"):
        assert "http-request disable-l7-retry unless METH_GET" in found[f"backend {backend}"]


def test_backup_hosts_are_asked_only_when_no_other_answers():
    ha = topology(EVERYTHING, "node1")
    ha["backend"]["members"][2]["backup"] = True
    api = sections(render("haproxy", "haproxy.cfg.j2", ha))["backend api"]
    assert [line.split()[1] for line in api if line.startswith("server ") and line.endswith(" backup")] == ["node8"]


def test_a_host_named_by_its_address_is_verified_without_a_name():
    groups = {"loadbalancer": ["10.0.1.11"], "postgresql": ["10.0.1.11"], "etcd": ["10.0.1.11"]}
    text = render("haproxy", "haproxy.cfg.j2", topology(groups, "10.0.1.11", hosts={"10.0.1.11": "10.0.1.11"}))
    assert "verify required" in text
    assert "verifyhost" not in text


def test_the_users_own_certificate_replaces_the_hosts_one():
    text = render("haproxy", "haproxy.cfg.j2", topology(EVERYTHING, "node1"), haproxy_certificate="/home/me/siem.pem")
    assert text.count("ssl crt /etc/haproxy/certificate.pem ") == 2
    assert "/home/me" not in text


def test_the_configuration_is_the_same_on_all_load_balancers_but_for_their_own_names():
    one, two = (configuration("dedicated hosts with everything", host=host).splitlines() for host in ("node1", "node2"))
    different = {line.split()[0] for line in set(one) ^ set(two)}
    assert different == {"bind", "stats", "server"}


def test_writes_go_through_the_hosts_own_pgbouncer_and_around_it_while_it_is_away():
    found = sections(configuration("dedicated hosts with everything", host="node2"))
    assert found["frontend postgresql_write"][-1] == "default_backend pgbouncer"
    assert [line for line in found["backend pgbouncer"] if line.startswith("server ")] == [
        "server own 10.0.1.12:6432 check",
        "server direct 10.0.1.12:5434 backup",
    ]
    assert found["frontend postgresql_direct"][-1] == "default_backend postgresql_write"


def test_without_pgbouncer_writes_go_to_the_primary():
    found = sections(configuration("no pgbouncer"))
    assert found["frontend postgresql_write"][-1] == "default_backend postgresql_write"
    assert "backend pgbouncer" not in found


@pytest.mark.parametrize(
    "case, frontend", [("co-located, no application", "postgresql_direct"), ("no pgbouncer", "postgresql_write")]
)
def test_a_session_waits_while_more_than_one_server_counts_as_primary(case, frontend):
    lines = sections(configuration(case))[f"frontend {frontend}"]
    assert "tcp-request content reject if { nbsrv(postgresql_write) gt 1 } WAIT_END" in lines


def test_pgbouncer_may_use_the_direct_port_whoever_else_may_not():
    lines = sections(configuration("every option"))["frontend postgresql_direct"]
    (rule,) = (line for line in lines if line.startswith("tcp-request connection reject"))
    assert {"10.0.1.0/24", "10.0.2.0/24", "10.0.1.11", "10.0.1.12", "10.0.1.100"} <= set(rule.split())
