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

ROOT = Path(__file__).resolve().parents[2]


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
    assert "ha_secrets_dir is not set, and this job would make" in output
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
