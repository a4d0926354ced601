# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What hosts are asked about their services."""

from __future__ import annotations

from collections import defaultdict

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.utmstack.ha.plugins.module_utils.operation.infos import QUESTIONS
from ansible_collections.utmstack.ha.plugins.module_utils.services.questions import deployed_by, questions
from ansible_collections.utmstack.ha.plugins.module_utils.services.registry import SERVICES
from role_templates import topology
from role_vars import variable

THREE = ["node1", "node2", "node3"]
GROUPS = {
    "loadbalancer": THREE,
    "etcd": THREE,
    "postgresql": THREE,
    "elasticsearch": THREE,
    "redis": THREE[:2],
    "sentinel": ["node1", "node2", "node4"],
    "swarm_managers": THREE,
    "swarm_workers": ["node5"],
}
HA = topology(GROUPS, "node1")
SECRETS = defaultdict(lambda: "a-password")


@pytest.mark.parametrize(
    ("host", "parts"),
    [
        ("node1", ["etcd", "postgresql", "elasticsearch", "redis", "swarm", "haproxy", "vip"]),
        ("node4", ["redis"]),
        ("node5", []),
    ],
)
def test_a_host_is_asked_about_its_own_services_and_a_worker_knows_no_swarm(host, parts):
    assert list(questions(HA, SECRETS, host)) == parts


@pytest.mark.parametrize("part", questions(HA, SECRETS, "node1"))
def test_each_question_is_one_that_observe_can_ask_with_options_that_it_knows(part):
    ((module, options),) = questions(HA, SECRETS, "node1")[part].items()
    question = QUESTIONS[module]
    validator = ArgumentSpecValidator(question.arguments, required_together=question.required_together)
    assert validator.validate(options).error_messages == []


def test_no_information_module_is_left_that_no_service_asks():
    ha = topology({**GROUPS, "backup": ["node9"]}, "node1", backup_kinds=["postgresql"])
    asked = {module for service in SERVICES.values() if service.asks for module in service.asks(ha, SECRETS, "node1")}
    assert asked | {"utmstack.ha.host_info"} == set(QUESTIONS)


def test_a_further_question_of_a_service_has_the_name_of_its_module():
    ha = topology({**GROUPS, "backup": ["node9"]}, "node1", backup_kinds=["postgresql"])
    found = questions(ha, SECRETS, "node1")
    assert [name for name in found if name not in questions(HA, SECRETS, "node1")] == ["postgresql_archive_info"]
    assert list(found["postgresql"]) == ["utmstack.ha.patroni_info"]


def test_role_status_asks_every_host_for_its_units_too():
    asked = variable("status", "status_questions", ha=HA, ha_secrets=SECRETS, inventory_hostname="node4")
    assert list(asked) == ["host", "redis"]
    assert "valkey-sentinel.service" in asked["host"]["utmstack.ha.host_info"]["units"]


@pytest.mark.parametrize(("host", "asks"), [("node1", True), ("node4", False), ("node5", True)])
def test_hosts_that_act_on_the_search_engines_users_ask_it_which_passwords_it_accepts(host, asks):
    urls = [f"https://10.0.1.1{number}:9200" for number in (1, 2, 3)]
    assert deployed_by(HA, host) == {"elasticsearch": {"flavor": "elasticsearch", "urls": urls if asks else []}}
