# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import jinja2
import pytest
import yaml
from role_templates import ROLES, render, topology

# The judge wants an interface that is there, and not the loopback one.
INTERFACE = next((path.name for path in sorted(Path("/sys/class/net").iterdir()) if path.name != "lo"), None)
THREE = ["node1", "node2", "node3"]
IPV6 = {f"node{number}": f"fd00::{number}" for number in range(1, 10)}
NEIGHBOURS = [{"address": "10.0.1.11", "port": 6379}, {"address": "10.0.1.13", "port": 6379}]
CASES = {
    "three co-located hosts": (THREE, {}, {}),
    "two load balancers, the normal profile": (THREE[:2], {"ha_failover_profile": "normal"}, {}),
    "the wan profile": (THREE, {"ha_failover_profile": "wan"}, {}),
    "one load balancer": (["node2"], {}, {}),
    "no neighbours": (THREE[:2], {}, {"keepalived_neighbours": []}),
    "a tracked process": (THREE, {}, {"keepalived_tracks_process": True}),
    "IPv6": (THREE, {"vip": "fd00::100/64", "hosts": IPV6}, {}),
    "every option": (
        THREE,
        {"ha_vip_router_id": 77},
        {
            "keepalived_global_config": "max_auto_priority 50",
            "keepalived_instance_config": "virtual_ipaddress_excluded {\n    10.0.1.101/24\n}",
            "keepalived_extra_config": "! a comment",
        },
    ),
}


def configuration(case, host="node2", **variables):
    balancers, settings, ours = CASES[case]
    ha = topology({"loadbalancer": balancers}, host, **settings)
    known = {
        "keepalived_instance": "utmstack",
        "keepalived_vip_interface": INTERFACE or "eth0",
        "keepalived_tracks_process": False,
        "keepalived_neighbours": NEIGHBOURS,
        # What keepalived 2.2 takes, too.
        "keepalived_script_interval_s": 1,
        "keepalived_script_timeout_s": 1,
        "keepalived_neighbour_interval_s": 1,
        "keepalived_neighbour_tries": 2,
        "keepalived_advert_interval_s": 0.8,
    }
    return render("keepalived", "keepalived.conf.j2", ha, **(known | ours | variables))


@pytest.mark.skipif(
    os.geteuid() != 0 or not INTERFACE or not shutil.which("keepalived", path="/usr/sbin:/usr/bin"),
    reason="keepalived is not installed, or judges for root only",
)
@pytest.mark.parametrize("case", CASES)
def test_keepalived_accepts_the_configuration_without_a_complaint(case, tmp_path):
    path = tmp_path / "keepalived.conf"
    # Script security looks at the script and at all directories above it; for the user see keepalived_validate.
    judged = {"keepalived_vip_script": "/usr/bin/true", "keepalived_script_user": "root"}
    path.write_text(configuration(case, **judged))
    result = subprocess.run(
        ["/usr/sbin/keepalived", "--config-test", "--use-file", path], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("case", CASES)
def test_no_host_starts_as_master_or_takes_the_address_from_one_that_serves(case):
    text = configuration(case)
    assert re.search(r"^    state BACKUP\n    nopreempt$", text, re.MULTILINE)
    assert re.findall(r"weight (\S+)", text) in ([], ["0"])
    assert "enable_script_security" in text


def test_peers_are_the_other_load_balancers_and_priorities_the_topologys():
    text = configuration("three co-located hosts")
    assert re.findall(r"^        (\S+) min_ttl 255 max_ttl 255$", text, re.MULTILINE) == ["10.0.1.11", "10.0.1.13"]
    assert "unicast_src_ip 10.0.1.12" in text
    assert "priority 240" in text
    assert "unicast_peer" not in configuration("one load balancer")


def test_the_process_is_tracked_only_where_that_works():
    assert "track_process" in configuration("a tracked process")
    assert "track_process" not in configuration("three co-located hosts")


def test_other_hosts_are_asked_only_where_there_are_some_to_ask():
    text = configuration("three co-located hosts")
    assert re.search(r'vrrp_script neighbours \{\n    script "\S+/vip neighbours"', text)
    assert re.search(r"track_script \{\n        load_balancer\n        neighbours\n    \}", text)
    assert "neighbours" not in configuration("no neighbours")


@pytest.mark.parametrize("fractions", [True, False], ids=["keepalived 2.3", "keepalived 2.2"])
@pytest.mark.parametrize("profile", ["fast", "normal", "wan"])
def test_a_backup_that_is_cut_off_has_asked_twice_before_it_misses_the_holder(profile, fractions):
    ha = topology({"loadbalancer": THREE}, "node1", ha_failover_profile=profile)
    variables = yaml.safe_load((ROLES / "keepalived" / "vars" / "main.yml").read_text())
    known = {"ha": ha, "keepalived_fractions": fractions}
    for name in ("advert_interval_s", "neighbour_tries", "neighbour_interval_s", "neighbour_limit_s"):
        known[f"keepalived_{name}"] = float(jinja2.Template(variables[f"keepalived_{name}"]).render(known))
    interval, limit = known["keepalived_neighbour_interval_s"], known["keepalived_neighbour_limit_s"]
    tries, runs = known["keepalived_neighbour_tries"], 2 // known["keepalived_neighbour_tries"]
    # The first run begins within an interval, and a run that is still under way delays the next one; 0.05 s for the processes.
    assert tries * limit + 0.05 < interval
    assert runs * interval + tries * limit + 0.05 < 2 * known["keepalived_advert_interval_s"]


@pytest.mark.parametrize("address, family", [("10.0.1.100", "ip"), ("fd00::100", "ip6")])
def test_a_connection_whose_address_has_left_is_refused(address, family):
    text = render("keepalived", "vip.nft.j2", {"virtual_ip": {"address": address}}, keepalived_mark="0x1")
    rules = [line.strip() for line in text.splitlines() if " daddr " in line]
    assert rules == [
        f"meta l4proto tcp {family} daddr {address} ct mark set ct mark or 0x1",
        f"meta l4proto tcp {family} daddr {address} ct mark and 0x1 == 0x1 fib daddr type != local reject with tcp reset",
    ]


@pytest.fixture
def script(tmp_path):
    """The script, with a directory of its own in place of /run and stand-ins for the commands that reach outside."""
    for name in ("ip", "logger", "ss"):
        stand_in = tmp_path / "bin" / name
        stand_in.parent.mkdir(exist_ok=True)
        stand_in.write_text(f'#!/bin/sh\necho "{name} $*" >> "$OUT"\n[ "$2" != address ] || cat "$HELD"\n')
        stand_in.chmod(0o755)
    (tmp_path / "held").write_text("")
    (tmp_path / "hooks").mkdir()
    path = tmp_path / "vip"

    def write(*ports):
        ha = topology({"loadbalancer": THREE}, "node1")
        text = render(
            "keepalived", "vip.j2", ha, keepalived_vip_interface="eth0", keepalived_hook_directory=tmp_path / "hooks",
            keepalived_check="/usr/bin/true", keepalived_neighbour_limit_s=0.1, keepalived_neighbour_tries=1,
            keepalived_neighbours=[{"address": "127.0.0.1", "port": port} for port in ports],
        )  # fmt: skip
        path.write_text(text.replace("/run/utmstack-ha", f"{tmp_path}/run"))
        path.chmod(0o755)

    def run(*arguments, held="", **environment):
        (tmp_path / "held").write_text(held)
        (tmp_path / "out").write_text("")
        environment |= {
            "PATH": f"{tmp_path}/bin:/usr/bin:/bin",
            "OUT": f"{tmp_path}/out",
            "HELD": f"{tmp_path}/held",
        }
        return subprocess.run([path, *arguments], env=environment, capture_output=True, text=True, check=False)

    write()
    run.directory, run.ask = tmp_path, write
    return run


def asked(script):
    return (script.directory / "out").read_text()


def test_a_host_can_serve_unless_it_is_drained_and_a_drain_ends(script):
    assert script("check").returncode == 0
    assert script("drain", "100").returncode == 0
    assert script("check").returncode == 1
    assert script("undrain").returncode == 0
    assert script("check").returncode == 0
    (script.directory / "run" / "vip-drain").write_text(f"{int(time.time()) - 1}\n")
    assert script("check").returncode == 0


@contextmanager
def listening():
    with socket.create_server(("127.0.0.1", 0), backlog=1) as server:
        yield server.getsockname()[1]


@contextmanager
def silent():
    """A port which drops what asks for a connection, as a host without power does: its queue is full."""
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as server,
        socket.create_connection(server.getsockname()),
    ):
        yield server.getsockname()[1]


def refusing():
    with listening() as port:
        return port


def test_a_host_is_not_alone_while_another_one_answers_or_refuses(script):
    with silent() as dead, listening() as alive:
        for ports in ((alive,), (dead, alive), (refusing(), dead), (dead, refusing())):
            script.ask(*ports)
            began = time.monotonic()
            assert script("neighbours").returncode == 0, ports
            assert time.monotonic() - began < 0.1


@pytest.mark.parametrize(("state", "at_least"), [("BACKUP", 0.1), ("FAULT", 0.1), ("MASTER", 1.2)])
def test_a_host_that_hears_nobody_is_alone_and_the_holder_is_slower_to_believe_it(script, state, at_least):
    script("notify", "INSTANCE", "utmstack", state, "150")
    with silent() as one, silent() as other:
        script.ask(one, other)
        began = time.monotonic()
        assert script("neighbours").returncode == 1
        assert at_least <= time.monotonic() - began < at_least + 0.4


def test_a_change_is_noted_where_other_tools_look_for_it(script):
    script("notify", "INSTANCE", "utmstack", "MASTER", "150")
    assert (script.directory / "run" / "vip-state").read_text().startswith("MASTER 20")
    assert asked(script) == "logger -t utmstack-ha-vip keepalived is MASTER (priority 150)\n"


def test_a_notice_that_is_overtaken_by_the_next_one_changes_nothing(script, tmp_path):
    logger = tmp_path / "bin" / "logger"
    logger.write_text('#!/bin/sh\ncase "$*" in *MASTER*) sleep 0.5 ;; esac\n')
    with ThreadPoolExecutor() as pool:
        overtaken = pool.submit(script, "notify", "INSTANCE", "utmstack", "MASTER", "150")
        time.sleep(0.1)
        assert script("notify", "INSTANCE", "utmstack", "BACKUP", "150").returncode == 0
        assert overtaken.result().returncode == 0
    assert (script.directory / "run" / "vip-state").read_text().startswith("BACKUP 20")
    script("notify", "INSTANCE", "utmstack", "MASTER", "150")
    assert (script.directory / "run" / "vip-state").read_text().startswith("MASTER 20")


def test_connections_of_this_host_end_when_the_address_leaves(script):
    script("notify", "INSTANCE", "utmstack", "BACKUP", "150")
    assert "ss --kill --tcp state connected src 10.0.1.100 dst 10.0.1.100" in asked(script)


def test_hooks_run_in_turn_with_state_address_and_priority_and_a_failing_one_stops_no_other(script):
    (script.directory / "run").mkdir()
    for name, body, mode in (
        ("10-fails", "exit 3", 0o755),
        ("20-works", 'echo "$0 got $*"', 0o755),
        ("30-no-hook", "echo no", 0o644),
    ):
        hook = script.directory / "hooks" / name
        hook.write_text(f"#!/bin/sh\n{body}\n")
        hook.chmod(mode)
    hooks = script.directory / "hooks"
    assert script("run-hooks", "BACKUP", "10.0.1.100", "150").stdout.splitlines() == [
        f"{hooks}/10-fails BACKUP 10.0.1.100 150 ended with 3",
        f"{hooks}/20-works got BACKUP 10.0.1.100 150",
    ]


HELD = "2: eth0 inet 10.0.1.100/24 scope global secondary eth0\n"


@pytest.mark.parametrize(
    ("held", "results", "removed"),
    [
        ("", ["exit-code"], False),
        (HELD, ["exit-code"], True),
        (HELD, ["success"], True),
        (HELD, ["signal"], False),
        (HELD, ["signal", "signal"], True),
    ],
)
def test_an_address_that_is_left_behind_is_removed_unless_a_restart_will_do_that(script, held, results, removed):
    (script.directory / "run").mkdir()
    for result in results:
        assert script("release", held=held, SERVICE_RESULT=result).returncode == 0
    assert ("ip address del 10.0.1.100/24 dev eth0" in asked(script)) is removed


def test_anything_else_prints_the_usage(script):
    result = script("help")
    assert result.returncode == 64
    assert "vip drain [SECONDS]" in result.stderr
