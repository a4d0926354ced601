# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The topology in real runs of ansible-playbook: a wrong inventory is refused before any host is connected to.

The hosts' addresses are of TEST-NET-1 (RFC 5737), and in place of ssh stands a script that leaves a mark when called.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleError
from ansible_collections.utmstack.ha.plugins.action.topology import fails_always, why
from ansible_collections.utmstack.ha.plugins.module_utils.topology.components import FORMER_NAMES

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def site(tmp_path):
    """An inventory of three hosts; `write` lays variables over it and stores it."""
    ssh = tmp_path / "ssh"
    ssh.write_text(f"#!/bin/sh\ntouch {tmp_path}/connected\nexit 255\n")
    ssh.chmod(0o755)

    def write(variables=None, **hosts):
        names = ("node1", "node2", "node3")
        entries = {name: {"ansible_host": f"192.0.2.{10 + number}"} for number, name in enumerate(names, 1)}
        for name, extra in hosts.items():
            entries[name].update(extra)
        common = {"ha_vip": "192.0.2.100", "ansible_ssh_executable": str(ssh), **(variables or {})}
        groups = {name: {"hosts": dict.fromkeys(names)} for name in ("loadbalancer", "etcd", "postgresql")}
        content = {"all": {"hosts": entries, "vars": common, "children": groups}}
        (tmp_path / "hosts.yml").write_text(yaml.safe_dump(content))
        return tmp_path

    return write


def run(site, playbook, *arguments):
    command = [
        Path(sys.executable).parent / "ansible-playbook",
        "-i",
        site / "hosts.yml",
        ROOT / "playbooks" / playbook,
    ]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    done = subprocess.run(
        [*command, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_site_refuses_a_wrong_inventory_before_it_connects_or_writes(site):
    place = site(
        {"ha_failover_profile": "fats", "etcd_root_password": "too-short"},
        node2={"ha_address": "{{ eth7_address }}"},
        node3={"ha_adress": "192.0.2.13"},
    )
    code, output = run(place, "site.yml", "--limit", "node1")
    assert code != 0
    for part in (
        "The inventory is refused and no host was touched: 4 faults.",
        "host node2: ha_address can't be templated: 'eth7_address' is undefined",
        "host node3: ha_adress is no setting of this collection",
        "Did you mean ha_address?",
        "ha_failover_profile is 'fats'",
        "group all: etcd_root_password has 9 characters",
    ):
        assert part in output, output
    assert "too-short" not in output
    assert not (place / "connected").exists()
    assert not (place / ".secrets").exists()


def test_the_plan_is_printed_though_no_host_can_be_reached(site):
    place = site({"ha_timing": {"patroni": {"ttl_s": 30}}})
    code, output = run(place, "plan.yml")
    assert code == 0, output
    assert "node3  192.0.2.13  230   loadbalancer, etcd, postgresql\n" in output
    assert "ttl 30 s*" in output
    assert not (place / "connected").exists()
    assert not (place / ".secrets").exists()


def test_a_first_job_of_awx_is_refused_with_the_other_faults_before_anything_is_made(site):
    place = site({"ha_failover_profile": "fats"})
    code, output = run(place, "site.yml", "-e", "awx_job_id=7")
    assert code != 0
    assert "no host was touched: 2 faults." in output and "ha_failover_profile is 'fats'" in output
    assert f"ha_secrets_dir leads to {place}/.secrets, in the job's own copy of {place}: this job would make" in output
    assert not (place / ".secrets").exists()


def test_the_plan_as_json_is_the_whole_topology(site):
    code, output = run(site(), "plan.yml", "-e", "format=json")
    assert code == 0, output
    topology, _end = json.JSONDecoder().raw_decode(output[output.index("\n{\n") + 1 :])
    assert topology["postgresql"]["write"] == {"host": "192.0.2.100", "port": 5432}


def test_an_inventory_without_our_groups_is_told_which_there_are(site):
    command = [Path(sys.executable).parent / "ansible-playbook", "-i", "192.0.2.1,", ROOT / "playbooks" / "plan.yml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode != 0
    assert "Put hosts into loadbalancer, etcd, postgresql" in done.stdout


@pytest.fixture
def office(site):
    """Three hosts of the platform, whose settings are those of a group, after 300 hosts of somebody else; one is called as a group of ours is."""
    place = site()
    content = yaml.safe_load((place / "hosts.yml").read_text())["all"]
    strangers = {f"a-pc{number:03}": {"ansible_host": "192.0.2.200"} for number in range(300)} | {"redis": {}}
    platform = {name: content[name] for name in ("hosts", "vars", "children")}
    (place / "hosts.yml").write_text(
        yaml.safe_dump({"all": {"children": {"a_office": {"hosts": strangers}, "platform": platform}}}, sort_keys=False)
    )
    return place


def test_a_plan_is_made_from_the_settings_of_the_platforms_hosts_not_of_whichever_host_comes_first(office):
    code, output = run(office, "plan.yml")
    assert code == 0, output
    assert "virtual IP 192.0.2.100" in output and "a-pc" not in output
    assert not (office / "connected").exists()


@pytest.mark.parametrize("limit", [[], ["--limit", "node1"]], ids=["all", "limited"])
def test_no_play_has_a_host_that_is_no_part_of_the_platform(office, limit):
    playbooks = [ROOT / "playbooks" / f"{name}.yml" for name in ("status", "drill", "rolling_upgrade", "ways_in")]
    code, output = run(office, "base.yml", *playbooks, "--list-hosts", *limit)
    assert code == 0, output
    hosts = [line.strip() for line in output.splitlines() if line.startswith(" " * 6)]
    assert set(hosts) == ({"node1"} if limit else {"node1", "node2", "node3"})
    assert output.count("hosts (1)" if limit else "hosts (3)") > 7


# Those that an operator starts; each does nothing, and would say nothing, where no host is meant.
STARTED = ("site", "plan", "status", "drill", "rolling_restart", "switchover", "maintenance")


@pytest.mark.parametrize("playbook", STARTED)
def test_an_inventory_that_is_not_there_does_not_end_as_if_all_were_well(tmp_path, playbook):
    code, output = run(tmp_path, f"{playbook}.yml")
    assert code != 0
    assert "group all: members are in none of this collection's groups. Put hosts into" in output, output


def test_misspelt_groups_are_told_by_a_run_that_would_find_no_host(site):
    place = site()
    text = (place / "hosts.yml").read_text()
    for group in ("loadbalancer", "etcd", "postgresql"):
        text = text.replace(f"{group}:", f"{group}s:")
    (place / "hosts.yml").write_text(text)
    code, output = run(place, "site.yml")
    assert code != 0
    assert "Did you mean loadbalancer?" in output and "Did you mean etcd?" in output, output


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [(["--skip-tags", "always"], "Leave --skip-tags always away"), (["-e", "ha=yes"], "takes the place of what role topology finds out")],
)  # fmt: skip
def test_a_run_without_the_topology_is_refused_before_it_connects(site, arguments, remedy):
    place = site()
    code, output = run(place, "site.yml", *arguments)
    assert code != 0
    assert remedy in " ".join(output.split()), output
    assert not (place / "connected").exists()


def test_a_variable_of_the_inventory_does_not_take_the_topologys_place(site):
    place = site({"ha": {"x": 1}, "ha_failover_profile": "fats"})
    code, output = run(place, "site.yml")
    assert code != 0
    assert "ha_failover_profile is 'fats'" in output, output


def test_settings_of_components_are_judged_with_the_rest_and_before_any_host_is_touched(site):
    place = site(
        {
            "elasticsearch_verison": "8.19.4",
            "postgresql_parameters": ["work_mem=8MB"],
            "redis_maxmemory": "{{ base_host.memory_mb }}mb",
            "redis_save": "{{ of_nobody }}",
            "etcd_settings": {"a": "{{ of_nobody }}"},
            "swarm_data_root": "{{ lookup('ansible.builtin.env', 'NOT_SET') or omit }}",
            "swarm_labels": "{{ {'rack': rack_of_mine } }}",
            "rack_of_mine": "r1",
            "haproxy_extra_config": "{{ broken",
        },
        node3={"redis_settings": ["maxmemory 1gb"]},
    )
    code, output = run(place, "site.yml", "-e", "pgbouncer_enabled=perhaps", "-e", "haproxy_maxcon=5")
    assert code != 0
    for part in (
        "no host was touched: 9 faults.",
        "group all: elasticsearch_verison is no setting of this collection. Did you mean elasticsearch_version?",
        "group all: haproxy_maxcon is no setting of this collection. Did you mean haproxy_maxconn?",
        "group all: postgresql_parameters is a list, no mapping.",
        "host node3: redis_settings is a list, no mapping.",
        "group all: pgbouncer_enabled is 'perhaps'. Set auto, true or false.",
        "group all: haproxy_extra_config can't be templated: Syntax error",
        "group all: redis_save can't be templated: 'of_nobody' is undefined. Correct it, or define what it refers to.",
        "group all: etcd_settings can't be templated: 'of_nobody' is undefined.",
        "group all: swarm_data_root can't be templated: A template was resolved to an Omit scalar. Correct it",
    ):
        assert part in output, output
    assert not (place / "connected").exists()
    assert not (place / ".secrets").exists()


@pytest.mark.parametrize(
    ("message", "always"),
    [
        ("'of_nobody' is undefined.", True),
        ("Attempt to use undecryptable variable: no vault secrets were found.", True),
        ("A template was resolved to an Omit scalar.", True),
        ("'of_the_play' is undefined", False),
        ("'base_host' is undefined", False),
        ("'ha' is undefined", False),
        ("'ansible_facts' is undefined", False),
        ("The lookup plugin 'file' failed: no such file", False),
        ("object of type 'dict' has no attribute 'x'", False),
    ],
)
def test_a_template_that_fails_in_every_run_is_told_from_one_that_a_role_completes(message, always):
    assert fails_always(AnsibleError(message), ["of_the_play"]) is always


def test_the_reason_of_a_recursion_is_one_for_all_hosts():
    reasons = {
        why(AnsibleError(f"Recursive loop detected in template: maximum recursion depth exceeded{rest}"))
        for rest in ("", " while calling a Python object", " in __instancecheck__")
    }
    assert reasons == {"Recursive loop detected in template"}


@pytest.mark.parametrize(("option", "tag"), [("--tags", "redsi"), ("--skip-tags", "redsi"), ("--tags", "etcd,redsi")])
def test_a_tag_that_does_not_exist_is_refused(site, option, tag):
    place = site()
    code, output = run(place, "site.yml", option, tag)
    assert code != 0
    assert f"command line: {option} has redsi, which is no tag of this collection. Did you mean redis?" in output
    assert not (place / "connected").exists() and not (place / ".secrets").exists()


def test_booleans_and_numbers_may_be_extra_variables(site):
    given = (
        "pgbouncer_enabled=false swarm_autolock=no haproxy_maxconn=5000 ha_vip_router_id=7 base_clock_skew_max_s=0.5"
    )
    code, output = run(site(), "plan.yml", "-e", given, "-e", "format=json")
    assert code == 0, output
    topology, _end = json.JSONDecoder().raw_decode(output[output.index("\n{\n") + 1 :])
    assert topology["pgbouncer"]["enabled"] is False


@pytest.mark.parametrize(("former", "present"), FORMER_NAMES.items())
def test_a_former_name_may_be_an_extra_variable(site, former, present):
    code, output = run(site(), "plan.yml", "-e", f"{former}=600")
    assert code == 0, output
    assert output.count(f"[WARNING]: group all: {former} is the former name of {present}. Rename it") == 1, output
    code, output = run(site(), "plan.yml", "-e", f"{former}=soon")
    assert code != 0 and f"group all: {former} is 'soon'. Set a whole number." in output, output


def test_own_certificates_are_read_on_the_controller_host_by_host(site):
    own = {
        "tls_source": "files",
        "tls_ca_file": "{{ inventory_dir }}/ca.crt",
        "tls_certificate_file": "{{ inventory_dir }}/{{ inventory_hostname }}.crt",
        "tls_private_key_file": "{{ inventory_dir }}/{{ inventory_hostname }}.key",
    }
    place = site(own)
    key = place / "node1.key"
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "RSA", "-aes256", "-pass", "pass:x", "-out", key],
        check=True,
        capture_output=True,
    )
    code, output = run(place, "plan.yml")
    assert code != 0
    assert f"group all: tls_ca_file is {place}/ca.crt, which can't be read on the controller: No such file" in output
    assert f"host node2: tls_certificate_file is {place}/node2.crt, which can't be read" in output
    assert "host node1: tls_private_key_file can't be used: the private key is encrypted" in output


def test_a_drill_refuses_a_wrong_choice_before_it_connects(site, tmp_path):
    place = site({"ha_drill_allowed": False})
    code, output = run(
        place,
        "drill.yml",
        "-e",
        "scenario=postgresql-losy,haproxy-sigkill",
        "-e",
        "drill_loss_percent=0",
        "-e",
        "repeat=0",
    )
    told = " ".join(output.split())
    assert code != 0
    for part in (
        "is not marked for drills",
        "scenario=postgresql-losy is not known. Did you mean postgresql-lossy?",
        "repeat=0 is no number of times",
        "drill_loss_percent is 0, and has to be a whole number from 1 to 99",
    ):
        assert part in told, output
    assert not (place / "connected").exists()
