# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is on a host already: told once and whole, put out of the way by name, and never taken for ours or ours for it."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.host import conflicts as host_conflicts
from ansible_collections.utmstack.ha.plugins.module_utils.host import conflicts_look
from ansible_collections.utmstack.ha.plugins.module_utils.host.conflicts import Seen, Socket, Unit, decide, report
from ansible_collections.utmstack.ha.plugins.module_utils.services import software
from ansible_collections.utmstack.ha.plugins.module_utils.topology.build import build
from ansible_collections.utmstack.ha.plugins.module_utils.topology.settings import Inventory

ROOT = Path(__file__).resolve().parents[5]
NODES = ["node1", "node2", "node3"]
GROUPS = ("loadbalancer", "etcd", "postgresql", "elasticsearch", "redis", "swarm_managers")
HOSTS = {name: {"ha_address": f"10.0.1.{number}"} for number, name in enumerate(NODES, 11)}
HA = build(Inventory(dict.fromkeys(GROUPS, NODES), HOSTS), {"ha_vip": "10.0.1.100"})
ETH0 = {"lo": ["127.0.0.1"], "eth0": ["10.0.1.11"]}


def settings(flavor="redis", **changed):
    given = {"redis_flavor": flavor, "postgresql_data_directory": "/data/pg", **changed}
    return software.settings(HA, HA["releases"]["13"], given)


PLAN = host_conflicts.plan(HA, "node1", settings())


def names(answer):
    return [entry["name"] for entry in answer["conflicts"]]


def texts(answer):
    return " ".join(entry["text"] for entry in answer["conflicts"])


def test_a_bare_host_is_taken_as_it_is():
    answer = decide(PLAN, Seen(interfaces=ETH0), [])
    assert (answer["conflicts"], answer["stop"], answer["keep"]) == ([], [], [])
    assert {"etcd.service", "patroni.service", "haproxy.service", "docker.service"} <= set(answer["claims"])


def test_packages_that_came_with_the_image_and_do_not_run_are_not_in_the_way():
    units = {"etcd.service": Unit(enabled=True), "keepalived.service": Unit(enabled=True)}
    assert decide(PLAN, Seen(units=units), [])["conflicts"] == []


@pytest.mark.parametrize(
    ("seen", "name", "told"),
    [
        ({"units": {"etcd.service": Unit(active=True, detail="data in /x")}}, "etcd.service", "runs (data in /x)"),
        ({"units": {"redis-sentinel.service": Unit(active=True)}}, "redis-sentinel.service", "runs"),
        ({"units": {"valkey-server.service": Unit(enabled=True)}}, "valkey-server.service", "is enabled"),
        ({"units": {"opensearch.service": Unit(active=True)}}, "opensearch.service", "runs"),
        ({"units": {"docker.service": Unit(active=True, detail="3 containers")}}, "docker.service", "3 containers"),
        ({"configs": ("/etc/haproxy/haproxy.cfg",)}, "haproxy.service", "is configured by /etc/haproxy/haproxy.cfg"),
        ({"configs": ("/etc/docker/daemon.json",)}, "docker.service", "daemon.json"),
        ({"clusters": {"postgresql@17-main.service": "port 5432"}}, "postgresql@17-main.service", "stopped (port 5432)"),
        ({"sockets": (Socket(443, "*", "nginx", 9, "nginx.service"),)}, "nginx.service", "port 443 is taken"),
        ({"sockets": (Socket(443, "10.0.1.100", "nginx", 9, "nginx.service"),)}, "nginx.service", "HAProxy (HTTPS)"),
        ({"sockets": (Socket(5432, "127.0.0.1", "postgres", 9, "x.service"),)}, "x.service", "PostgreSQL"),
    ],
)  # fmt: skip
def test_what_is_there_is_named_and_goes_only_when_it_is_listed(seen, name, told):
    seen = Seen(**seen)
    answer = decide(PLAN, seen, [])
    assert names(answer) == [name]
    assert told in texts(answer)
    assert names(decide(PLAN, seen, ["another.service"])) == [name]
    for written in (name, name.removesuffix(".service")):
        given_up = decide(PLAN, seen, [written])
        assert given_up["conflicts"] == []
        runs = seen.units.get(name, Unit()).active or seen.units.get(name, Unit()).enabled or seen.sockets
        assert given_up["stop"] == ([name] if runs else [])
        assert given_up["keep"] == list(seen.configs)


@pytest.mark.parametrize(
    ("seen", "told", "remedy"),
    [
        ({"data": ("/data/pg",)}, "/data/pg is not empty", "postgresql_data_directory"),
        ({"packages": ("docker-ce",)}, "package docker-ce", "apt-get remove docker-ce"),
        ({"swarm": True}, "another swarm", "swarm_adopt"),
        ({"closed": ("/data (mode 0700) can't be entered by postgres",)}, "/data (mode 0700)", "chmod o+x"),
        ({"interfaces": {"eth0": ["10.9.9.9"]}}, "no interface has the address 10.0.1.11", "ha_address"),
        ({"holder": "02:42 answers for it"}, "10.0.1.100 is in use", "ha_vip"),
        ({"sockets": (Socket(9200, "*", "java", 7),)}, "java, process 7", "ha_ports.elasticsearch_http"),
        ({"former": ("/var/lib/redis/utmstack-ha.conf",)}, "not in /var/lib/redis/utmstack", "to /var/lib/redis"),
    ],
)
def test_what_no_list_can_cure_is_told_with_its_remedy(seen, told, remedy):
    answer = decide(PLAN, Seen(**seen), ["etcd"])
    assert names(answer) == [""]
    assert told in texts(answer)
    assert remedy in answer["conflicts"][0]["remedy"]


def test_data_of_ours_in_an_earlier_default_directory_are_no_conflict():
    seen = Seen(former=("/var/lib/redis/utmstack-ha.conf",), units={"redis-server.service": Unit(ours=True)})
    assert decide(PLAN, seen, [])["conflicts"] == []


@pytest.mark.parametrize("source, told", [("10.0.1.50", True), ("10.0.1.11", False), ("10.0.1.100", False)])
def test_a_second_address_that_postgresql_would_not_let_in_is_told(source, told):
    """HAProxy's checks, which ask Patroni, would be green all the same."""
    interfaces = {"eth0": ["10.0.1.50", "10.0.1.11"]}
    seen = Seen(interfaces=interfaces, sources={"10.0.1.12": source, "10.0.1.13": source})
    answer = decide(PLAN, seen, [])
    assert bool(answer["conflicts"]) is told
    if told:
        (entry,) = answer["conflicts"]
        assert (
            "10.0.1.12 and 10.0.1.13 from its address 10.0.1.50, but PostgreSQL lets it in as 10.0.1.11"
            in entry["text"]
        )
        assert entry["remedy"].startswith("Set ha_address to 10.0.1.50, or have the route use")


def test_only_hosts_that_postgresql_lets_in_by_address_are_asked_how_they_reach_it():
    assert PLAN["peers"] == ["10.0.1.12", "10.0.1.13"]
    groups = {"loadbalancer": ["node1"], "etcd": NODES, "postgresql": ["node2"], "elasticsearch": ["node3"]}
    ha = build(Inventory(groups, HOSTS), {"ha_vip": "10.0.1.100"})
    peers = {name: host_conflicts.plan(ha, name, settings())["peers"] for name in NODES}
    assert peers == {"node1": ["10.0.1.12"], "node2": [], "node3": []}


def test_the_kernel_tells_by_which_address_a_peer_is_reached(tmp_path):
    assert look(tmp_path).source("127.0.0.9") == "127.0.0.1"
    assert look(tmp_path).source("no address") == ""


def test_an_interface_that_the_host_lacks_is_told():
    plan = host_conflicts.plan(HA, "node1", settings(keepalived_interface="bond0"))
    assert "no interface bond0" in texts(decide(plan, Seen(interfaces=ETH0), []))


@pytest.mark.parametrize("address", ["127.0.0.1", "10.9.9.9"])
def test_what_listens_where_nothing_of_ours_will_is_left_alone(address):
    assert decide(PLAN, Seen(sockets=(Socket(9200, address, "java", 7, "x.service"),)), [])["conflicts"] == []


OVERLAY = (Socket(4789, "*"),)


def test_the_overlay_of_our_own_swarm_is_not_in_its_way():
    """The kernel listens for it, so no process tells whose it is."""
    ours = {"docker.service": Unit(active=True, enabled=True, ours=True)}
    assert decide(PLAN, Seen(units=ours, sockets=OVERLAY), [])["conflicts"] == []
    assert names(decide(PLAN, Seen(units={"docker.service": Unit(active=True)}, sockets=OVERLAY), ["docker"])) == []
    assert "port 4789 is taken (the kernel)" in texts(decide(PLAN, Seen(sockets=OVERLAY), []))


def test_a_run_that_died_in_the_first_deployment_is_not_taken_for_somebody_else():
    """The list of units comes before the packages; Debian's settings run where the host has rebooted since."""
    seen = Seen(
        units={"etcd.service": Unit(active=True), "haproxy.service": Unit(active=True, ours=True)},
        claims=frozenset(PLAN["units"]),
        configs=("/etc/default/etcd",),
        data=("/var/lib/etcd/utmstack", "/data/pg"),
        swarm=True,
        holder="interface eth0 of this host has it",
        sockets=(Socket(2379, "127.0.0.1", "etcd", 3, "etcd.service"),),
    )
    answer = decide(PLAN, seen, [])
    assert answer["conflicts"] == []
    assert (answer["stop"], answer["disable"]) == (["etcd.service"], [])


def test_a_platform_that_an_older_version_deployed_is_ours_by_its_drop_ins():
    units = {name: Unit(active=True, enabled=True, ours=True) for name in PLAN["units"]}
    seen = Seen(units=units, data=("/data/pg", "/var/lib/etcd/utmstack"), configs=("/etc/haproxy/haproxy.cfg",))
    answer = decide(PLAN, seen, [])
    assert (answer["conflicts"], answer["stop"]) == ([], [])


def test_a_cluster_that_was_put_away_is_found_again_when_somebody_starts_it():
    unit = "postgresql@17-main.service"
    away = Seen(clusters={unit: "port 5432"}, claims=frozenset([*PLAN["units"], unit]))
    assert decide(PLAN, away, [])["conflicts"] == []
    assert names(decide(PLAN, replace(away, units={unit: Unit(active=True)}), [])) == [unit]


def test_data_of_a_host_that_was_installed_anew_can_be_taken_over():
    answer = decide(PLAN, Seen(data=("/data/pg",)), ["/data/pg"])
    assert answer["conflicts"] == []


def test_what_others_need_is_stopped_last():
    running = ("etcd.service", "patroni.service", "redis-server.service", "docker.service", "docker.socket")
    units = {name: Unit(active=True) for name in running}
    stop = decide(PLAN, Seen(units=units), running)["stop"]
    assert stop == [
        "docker.socket", "patroni.service", "docker.service", "redis-server.service", "etcd.service",
    ]  # fmt: skip


def test_valkey_is_the_engine_and_redis_its_rival_where_it_was_chosen():
    plan = host_conflicts.plan(HA, "node1", settings(flavor="valkey"))
    assert {"valkey-server.service", "valkey-sentinel.service"} <= set(plan["units"])
    assert {"redis-server.service", "redis-sentinel.service"} == set(plan["rivals"]) - {"opensearch.service"}


def test_a_host_is_asked_for_its_own_layers_only():
    ha = build(Inventory({"redis": NODES, "etcd": NODES[:1]}, HOSTS), {"ha_vip": "10.0.1.100"})
    plan = host_conflicts.plan(ha, "node2", settings())
    assert plan["units"] == ["redis-sentinel.service", "redis-server.service"]
    assert {entry["port"] for entry in plan["listeners"]} == {6379, 26379}
    assert (plan["clusters"], plan["virtual_ip"]) == (False, "")


def test_one_message_has_all_findings_of_all_hosts_and_what_to_write():
    past = decide(PLAN, Seen(units={"etcd.service": Unit(active=True)}, packages=("docker-ce",)), [])
    other = decide(PLAN, Seen(clusters={"postgresql@17-main.service": "port 5432"}), [])
    told = report({"node1": past, "node2": past, "node3": other})
    assert "3 findings" in told
    assert "hosts node1, node2: etcd.service runs." in told
    assert "ha_take_over: [etcd.service, postgresql@17-main.service]" in told
    assert report({"node1": decide(PLAN, Seen(), [])}) == ""


def test_the_virtual_ip_of_a_platform_that_serves_is_not_in_the_way_of_a_new_load_balancer():
    new = decide(PLAN, Seen(holder="02:42 answers for it"), [])
    old = decide(PLAN, Seen(units={"keepalived.service": Unit(active=True, ours=True)}), [])
    assert report({"node1": old, "node2": new}) == ""
    assert "in use already" in report({"node2": new})


# -- what is read of a host ---------------------------------------------------------------------------------------------


def put(root, path, text=""):
    target = root / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
    return target


def look(root, answers=None):
    """answers: the first word of a command -> its output."""

    root.chmod(0o755)

    def run(command):
        return 0, (answers or {}).get(command[0], ""), ""

    return conflicts_look.Look(run, str(root))


SHOW = """\
Id=etcd.service
LoadState=loaded
ActiveState=active
UnitFileState=enabled
FragmentPath=/usr/lib/systemd/system/etcd.service

Id=patroni.service
LoadState=not-found
ActiveState=inactive
UnitFileState=
FragmentPath=

Id=haproxy.service
LoadState=loaded
ActiveState=failed
UnitFileState=disabled
FragmentPath=/usr/lib/systemd/system/haproxy.service
"""


def test_units_are_ours_by_a_drop_in_that_systemd_may_not_have_read_yet(tmp_path):
    put(tmp_path, "/etc/systemd/system/haproxy.service.d/utmstack-ha.conf")
    (tmp_path / "var/lib/etcd/default/member").mkdir(parents=True)
    found = look(tmp_path, {"systemctl": SHOW}).units(["etcd.service", "patroni.service", "haproxy.service"])
    assert found == {
        "etcd.service": Unit(active=True, enabled=True, detail="data in /var/lib/etcd/default"),
        "haproxy.service": Unit(ours=True),
    }


@pytest.mark.parametrize(
    ("unit", "files", "told"),
    [
        ("etcd.service", ["/var/lib/etcd/b/member/x", "/var/lib/etcd/a/member/x"], "data in /var/lib/etcd/a, /var/lib/etcd/b"),
        ("patroni.service", ["/etc/patroni/config.yml"], "of scope other"),
        ("elasticsearch.service", ["/var/lib/elasticsearch/nodes"], "data in /var/lib/elasticsearch"),
        ("valkey-server.service", ["/var/lib/valkey/dump.rdb", "/var/lib/redis/dump.rdb"], "data in /var/lib/valkey/dump.rdb"),
        ("redis-sentinel.service", ["/var/lib/redis/dump.rdb"], ""),
        ("docker.service", ["/var/lib/docker/containers/1/x", "/var/lib/docker/containers/2/x"], "2 containers"),
        ("docker.socket", ["/var/lib/docker/containers/1/x"], ""),
    ],
)  # fmt: skip
def test_what_a_unit_has_left_is_told_by_its_service(tmp_path, unit, files, told):
    assert look(tmp_path).detail(unit) == ""
    for path in files:
        put(tmp_path, path, "scope: other\n")
    assert look(tmp_path).detail(unit) == told


def test_a_cluster_of_debians_is_told_with_port_and_data(tmp_path):
    put(tmp_path, "/etc/postgresql/17/main/postgresql.conf", "data_directory = '/srv/17'\nport = 5433\n")
    assert look(tmp_path).clusters() == {"postgresql@17-main.service": "port 5433, data in /srv/17"}


def test_an_administrators_own_unit_is_told_and_copied_before_it_is_masked(tmp_path):
    put(tmp_path, "/etc/systemd/system/postgresql.service", "[Service]\n")
    clusters = look(tmp_path).clusters()
    assert list(clusters) == ["postgresql.service"]
    assert names(decide(PLAN, Seen(clusters=clusters), [])) == ["postgresql.service"]
    assert decide(PLAN, Seen(clusters=clusters), ["postgresql"])["keep"] == ["/etc/systemd/system/postgresql.service"]


def test_a_file_as_its_package_brought_it_is_nobodys(tmp_path):
    put(tmp_path, "/etc/haproxy/haproxy.cfg", "shipped")
    put(tmp_path, "/etc/docker/daemon.json", "{}")
    known = " /etc/haproxy/haproxy.cfg 4e8fd8d2ed8a0ba2bbc0b18ee78aa7ae\n"
    of_units = {"a": ["/etc/haproxy/haproxy.cfg"], "b": ["/etc/docker/daemon.json", "/etc/none"]}
    shipped = look(tmp_path, {"dpkg-query": known.replace("4e8fd8d2ed8a0ba2bbc0b18ee78aa7ae", md5("shipped"))})
    assert shipped.configs(of_units) == ["/etc/docker/daemon.json"]
    assert len(look(tmp_path, {"dpkg-query": known}).configs(of_units)) == 2
    former = f"\n /etc/haproxy/haproxy.cfg {md5('shipped')} obsolete\n{known}"
    assert look(tmp_path, {"dpkg-query": former}).configs(of_units) == ["/etc/docker/daemon.json"]


def md5(text):
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 71 1 0 100 0 0 10 0
   1: 0B01000A:0CEA 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 72 1 0 100 0 0 10 0
   2: 0B01000A:1F90 0C01000A:8000 01 00000000:00000000 00:00000000 00000000     0        0 73 1 0 100 0 0 10 0
"""


def test_what_listens_is_told_with_its_process_and_unit_also_without_ipv6(tmp_path):
    put(tmp_path, "/proc/net/tcp", TCP)
    put(tmp_path, "/proc/41/comm", "nginx\n")
    put(tmp_path, "/proc/41/cgroup", "1:name=systemd:/system.slice/nginx.service\n")
    (tmp_path / "proc/41/fd").mkdir()
    os.symlink("socket:[71]", tmp_path / "proc/41/fd/3")
    assert look(tmp_path).sockets({8080, 3306}) == [
        Socket(3306, "10.0.1.11"),
        Socket(8080, "*", "nginx", 41, "nginx.service"),
    ]


def test_a_port_of_a_container_is_dockers(tmp_path):
    put(tmp_path, "/proc/41/cgroup", "0::/system.slice/docker-abc.scope\n")
    put(tmp_path, "/proc/42/cgroup", "9:pids:/docker/abc\n")
    assert [look(tmp_path).process(pid)[2] for pid in ("41", "42")] == ["docker.service"] * 2


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("0100007F", "127.0.0.1"),
        ("00000000000000000000000000000000", "*"),
        ("0000000000000000FFFF00000B01000A", "10.0.1.11"),
        ("B80D0120000000000000000001000000", "2001:db8::1"),
    ],
)
def test_addresses_of_the_kernels_tables(written, address):
    assert conflicts_look.address_of(written) == address


def test_a_parent_that_is_closed_to_an_account_is_told_once(tmp_path):
    closed = tmp_path / "data"
    closed.mkdir()
    closed.chmod(0o700)
    entered = [{"path": f"/data/{name}", "user": "no-such-account"} for name in ("pg", "etcd")]
    assert look(tmp_path).closed(entered) == ["/data (mode 0700) can't be entered by no-such-account"]
    closed.chmod(0o711)
    assert look(tmp_path).closed(entered) == []


def test_own_directories_are_made_and_opened_not_told(tmp_path):
    own = tmp_path / "usr/local/lib/utmstack-ha"
    own.mkdir(parents=True)
    own.chmod(0o750)
    found = look(tmp_path)
    assert found.closed([{"path": "/usr/local/lib/utmstack-ha/x", "user": "no-such-account"}]) == []
    assert "/usr/local/lib/utmstack-ha" in found.closed_own()
    assert "/var/lib/utmstack-ha" in found.closed_own()


def test_one_look_serves_a_bare_host(tmp_path):
    seen = look(tmp_path).at({**PLAN, "virtual_ip": "", "entered": [], "peers": []}, ETH0)
    assert decide(PLAN, seen, [])["conflicts"] == []


def test_a_helper_of_ours_is_not_in_the_way_of_itself_and_somebody_elses_is(tmp_path):
    groups = {**dict.fromkeys(GROUPS, NODES), "backup": ["backup1"]}
    ha = build(
        Inventory(groups, {**HOSTS, "backup1": {"ha_address": "10.0.1.31"}}),
        {"ha_vip": "10.0.1.100", "backup_kinds": ["postgresql"]},
    )
    plan = host_conflicts.plan(ha, "node1", settings())
    seen = Seen(interfaces=ETH0, sockets=(Socket(8433, "10.0.1.11", "pgbackrest", 9, "pgbackrest.service"),))
    assert names(decide(plan, seen, [])) == ["pgbackrest.service"]
    assert names(decide(plan, replace(seen, written=frozenset(["pgbackrest.service"])), [])) == []
    put(tmp_path, "/etc/systemd/system/pgbackrest.service.d/utmstack-ha.conf", "")
    assert look(tmp_path).written(["pgbackrest.service", "nginx.service", ""]) == {"pgbackrest.service"}
