# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who may reach what through pgbouncer, from the role's templates."""

from __future__ import annotations

import re
import subprocess

import jinja2
import pytest
import yaml
from role_templates import ROLES, render, topology

THREE = ["node1", "node2", "node3"]
DEDICATED = {"loadbalancer": ["node1", "node2"], "etcd": THREE, "postgresql": ["node3", "node4", "node5"]}
SECRETS = {"postgresql_pgbouncer_password": 'look"up', "pgbouncer_admin_password": "console"}


def rules(host="node1"):
    text = render("pgbouncer", "hba.conf.j2", topology(DEDICATED, host))
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_the_console_is_for_its_user_from_load_balancers_and_members_only():
    console = [rule for rule in rules() if rule.split()[1] == "pgbouncer"]
    assert console == [
        f"hostssl pgbouncer pgbouncer_admin 10.0.1.1{number}/32 scram-sha-256" for number in (1, 2, 3, 4, 5)
    ]


def test_clients_come_through_haproxy_of_the_same_host_only():
    databases = [rule for rule in rules("node2") if rule.split()[1] == "utmstack"]
    assert databases == ["hostssl utmstack all 10.0.1.12/32 scram-sha-256"]


def test_pgbouncers_own_users_are_refused_before_all_others_are_let_in():
    found = rules()
    assert found.index("hostssl all pgbouncer,pgbouncer_admin all reject") < len(found) - 1
    assert not [rule for rule in found if rule.split()[0] != "hostssl" or rule.endswith("trust")]


def test_a_quote_in_a_password_stays_in_it():
    text = render("pgbouncer", "userlist.txt.j2", topology(DEDICATED, "node1"), ha_secrets=SECRETS)
    assert text == '"pgbouncer" "look""up"\n"pgbouncer_admin" "console"\n'


def test_a_client_may_ask_for_parameters_that_can_be_kept_for_it_and_for_others_in_vain():
    """search_path is no such one before PostgreSQL 18: who asks for a schema must not work in another."""
    role = ROLES / "pgbouncer"
    settings = yaml.safe_load((role / "vars" / "main.yml").read_text())["pgbouncer_base_settings"]
    defaults = yaml.safe_load((role / "defaults" / "main.yml").read_text())
    tracked, ignored = (
        jinja2.Template(settings[name]).render(defaults).split(", ")
        for name in ("track_extra_parameters", "ignore_startup_parameters")
    )
    assert tracked == ["IntervalStyle", "default_transaction_read_only"]
    assert ignored == ["extra_float_digits"]


def test_the_dead_mans_switch_is_a_correct_script():
    script = ROLES / "pgbouncer" / "files" / "pgbouncer-resume"
    subprocess.run(["sh", "-n", script], check=True)
    wrong = subprocess.run(["sh", script, "perhaps"], capture_output=True, text=True, check=False)
    assert (wrong.returncode, wrong.stderr.startswith("usage:")) == (2, True)


def retag(room, line, **variables):
    """What the task of a room makes of a line of Patroni's configuration."""
    tasks = yaml.safe_load((ROLES / "postgresql" / "tasks" / f"{room}.yml").read_text())
    arguments = tasks[0]["ansible.builtin.replace"]
    replacement = jinja2.Environment(undefined=jinja2.StrictUndefined).from_string(arguments["replace"])
    return re.sub(
        arguments["regexp"], replacement.render(variables), f"name: node3\n{line}\n", flags=re.M
    ).splitlines()[1]


@pytest.mark.parametrize("own", ["", '"clonefrom": true', '"nosync": true, "nofailover": true'])
def test_tags_of_operations_come_and_go_and_leave_the_users_own(own):
    line = f"tags: {{{own}}}"
    following = retag("follow", line, postgresql_follow="node1")
    assert yaml.safe_load(following)["tags"] == {"replicatefrom": "node1"} | (yaml.safe_load(line)["tags"] or {})
    assert retag("follow", following, postgresql_follow="node1") == following
    held = retag("hold", following)
    assert yaml.safe_load(held)["tags"]["nofailover"] is True
    assert retag("hold", held) == held
    other = retag("follow", held, postgresql_follow="node2")
    assert yaml.safe_load(other)["tags"]["replicatefrom"] == "node2"
    assert retag("hold", retag("follow", other, postgresql_follow=""), postgresql_held=False) == line
