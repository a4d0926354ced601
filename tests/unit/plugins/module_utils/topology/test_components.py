# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Settings of the components, judged by the roles' argument specs: types, choices, keys, and names that are nearly right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from ansible_collections.utmstack.ha.plugins.module_utils.topology import role_specs
from ansible_collections.utmstack.ha.plugins.module_utils.topology.build import build
from ansible_collections.utmstack.ha.plugins.module_utils.topology.components import (
    FORMER_NAMES,
    numbers_or_empty,
    setting_meant,
)
from ansible_collections.utmstack.ha.plugins.module_utils.topology.faults import TopologyError
from ansible_collections.utmstack.ha.plugins.module_utils.topology.settings import Inventory, shared_settings
from ansible_collections.utmstack.ha.plugins.module_utils.topology.values import boolean, troubles

ROOT = Path(__file__).resolve().parents[5]
NODES = ["node1", "node2", "node3"]
SETTINGS = role_specs.settings()
TYPES = {name: option.get("type", "str") for name, option in SETTINGS.items()}


def faults(hosts=None, others=None, **common):
    """Return what is refused where all hosts have the variables `common`, and single hosts more."""
    variables = {
        name: {"ansible_host": f"10.0.1.1{number}", **common, **(hosts or {}).get(name, {})}
        for number, name in enumerate(NODES, 1)
    }
    groups = {"loadbalancer": NODES, "etcd": NODES, "postgresql": NODES, "redis": NODES}
    names = {name: frozenset((others or {}).get(name, ())) for name in NODES}
    try:
        build(Inventory(groups, variables, {}, names), {"ha_vip": "10.0.1.100"}, SETTINGS)
    except TopologyError as error:
        return [str(fault) for fault in error.faults]
    return []


def told(name, value):
    return [
        f"{name}{trouble.path} {trouble.problem}. {trouble.remedy}" for trouble in troubles(name, SETTINGS[name], value)
    ]


# setting, value: what the message must say.
WRONG = [
    ("postgresql_parameters", ["work_mem=8MB"], "is a list, no mapping. Write it like postgresql_parameters: {name: value}"),
    ("redis_settings", ["maxmemory 1gb"], "is a list, no mapping"),
    ("haproxy_denied_paths", "/a,/b", """is '/a,/b', no list. Write it like haproxy_denied_paths: […, …], or -e '{"haproxy"""),
    ("haproxy_denied_paths", [["/a"]], "haproxy_denied_paths[0] is a list"),
    ("etcd_settings", "a=b", "is 'a=b', no mapping"),
    ("swarm_autolock", "maybe", "is 'maybe'. Set true or false"),
    ("swarm_autolock", 2, "is 2. Set true or false"),
    ("haproxy_maxconn", "many", "is 'many'. Set a whole number"),
    ("haproxy_maxconn", "4k", "'4k'"),
    ("haproxy_maxconn", 4.5, "4.5"),
    ("haproxy_maxconn", True, "True"),
    ("haproxy_maxconn", 10**400, "0…. Set a whole number"),
    ("base_clock_skew_max_s", -(10**400), "Set a number"),
    ("base_clock_skew_max_s", "5s", "is '5s'. Set a number"),
    ("base_clock_skew_max_s", "nan", "Set a number"),
    ("redis_flavor", "valky", "is 'valky', which is not one of redis, valkey. Did you mean valkey?"),
    ("base_time_sync", False, "is False. Set one of enforce, warn, off, in quotes"),
    ("elasticsearch_version", ["8"], "is a list. Set a text, in quotes"),
    ("redis_maxmemory", None, "has no value. Set a text, in quotes, or take the line out"),
    ("swarm_labels", "rack=1", "no mapping"),
    ("postgresql_users", [{"name": "u"}], "postgresql_users[0].password is missing"),
    ("postgresql_users", [{"name": "u", "password": "p", "role_attr": "x"}], "[0].role_attr is unknown. Did you mean role_attr_flags?"),
    ("elasticsearch_plugins", ["analysis-icu"], "elasticsearch_plugins[0] is 'analysis-icu', no mapping"),
]  # fmt: skip

RIGHT = [
    ("swarm_autolock", "false"), ("swarm_autolock", "Yes"), ("swarm_autolock", 1), ("haproxy_maxconn", "4000"),
    ("haproxy_maxconn", 4000.0), ("base_clock_skew_max_s", "0.5"), ("base_clock_skew_max_s", 3), ("elasticsearch_version", 8.19),
    ("redis_flavor", "valkey"), ("postgresql_version", 17), ("haproxy_denied_paths", []), ("etcd_settings", {"a": [1]}),
    ("postgresql_users", [{"name": "u", "password": "p"}]), ("redis_appendfsync", "no"), ("drill_repeat", "3"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "message"), WRONG)
def test_a_value_of_another_type_is_refused_with_what_to_write(name, value, message):
    assert any(message in text for text in told(name, value)), told(name, value)
    assert any(message in text for text in faults(**{name: value}))


@pytest.mark.parametrize("name", numbers_or_empty())
def test_a_number_that_may_be_empty_is_a_number_otherwise(name):
    assert TYPES[name] == "str" and SETTINGS[name]["default"] == ""
    assert faults(**{name: ""}) == faults(**{name: 3}) == faults(**{name: "3"}) == []
    # They are text to the roles, which write them as they are: postgresql-17.0 is no package.
    assert len(faults(**{name: 17.0})) == len(faults(**{name: "17.0"})) == (not name.endswith("_s"))
    (fault,) = faults(**{name: "4g"})
    assert fault.startswith(f"group all: {name} is '4g'. Set a ")


@pytest.mark.parametrize(("name", "value"), RIGHT)
def test_what_ansible_users_write_is_taken(name, value):
    assert faults(**{name: value}) == []


@pytest.mark.parametrize("name", [name for name, kind in TYPES.items() if kind in ("bool", "int", "float")])
def test_every_boolean_and_number_is_read_from_text_and_refused_as_a_word(name):
    assert told(name, "1") == []
    assert told(name, "perhaps")
    assert told(name, ["1"])


def build_with(settings):
    variables = {name: {"ansible_host": f"10.0.1.1{number}"} for number, name in enumerate(NODES, 1)}
    groups = {"loadbalancer": NODES, "etcd": NODES, "postgresql": NODES}
    return build(Inventory(groups, variables), {"ha_vip": "10.0.1.100", **settings}, SETTINGS)


@pytest.mark.parametrize("name", [name for name, default in shared_settings().items() if isinstance(default, bool)])
def test_booleans_of_the_topology_are_read_from_text(name):
    assert build_with({name: "false"}) == build_with({name: False})
    assert build_with({name: "true"}) == build_with({name: True}) != build_with({name: False})
    with pytest.raises(TopologyError, match=f"{name} is 'perhaps'. Set true or false"):
        build_with({name: "perhaps"})


def test_a_boolean_of_a_single_host_is_read_from_text():
    assert faults({"node1": {"ha_backup_server": "true"}}) == []
    assert faults({"node1": {"ha_backup_server": "perhaps"}}) == [
        "host node1: ha_backup_server is 'perhaps'. Set true or false."
    ]


def test_a_fault_of_all_hosts_is_told_once_and_one_of_some_names_them():
    assert len(faults(redis_settings=[])) == 1
    assert faults(redis_settings=[])[0].startswith("group all: redis_settings ")
    assert faults({"node2": {"redis_settings": []}})[0].startswith("host node2: ")
    some = dict.fromkeys(NODES[1:], {"redis_settings": []})
    assert [text[: text.index("redis")] for text in faults(some)] == ["hosts node2, node3: "]


def test_secrets_are_not_shown():
    text = "\n".join(
        faults(postgresql_users=[{"name": "u", "password": ["TELL-NOBODY"]}], backend_secrets="TELL-NOBODY")
    )
    assert "backend_secrets is a secret" in text and "postgresql_users[0].password" in text
    assert "TELL-NOBODY" not in text


MEANT = {
    "elasticsearch_verison": "elasticsearch_version",
    "postgresql_paramters": "postgresql_parameters",
    "postgres_parameters": "postgresql_parameters",
    "redis_setings": "redis_settings",
    "redis_svae": "redis_save",
    "swarm_autolok": "swarm_autolock",
    "tls_ca_flie": "tls_ca_file",
    "elasticsaerch_heap_mb": "elasticsearch_heap_mb",
    "pgbouncer_enable": "pgbouncer_enabled",
    "etcd_root_pasword": "etcd_root_password",
    "haproxy_max_conn": "haproxy_maxconn",
}
# Names that people have for themselves.
OWN = (
    "postgresql_backup_host", "postgresql_port", "redis_host", "redis_port", "elasticsearch_index", "backend_version", "backend_url",
    "etcd_version", "haproxy_version", "base_domain", "host_name", "tls_email", "monitoring_url", "site_name", "users", "nodes",
    "swarm_dashboard", "drill_contact", "region", "timezone", "postgresql_dump_directory", "keepalived_email",
    "lab_elasticsearch_version", "my_redis_settings", "old_postgresql_parameters", "site_tls_ca_file",
)  # fmt: skip


@pytest.mark.parametrize("name", MEANT)
def test_a_name_that_is_nearly_a_settings_is_refused_with_the_right_one(name):
    assert faults(others={"node1": [name]}) == [
        f"host node1: {name} is no setting of this collection. Did you mean {MEANT[name]}?"
    ]


@pytest.mark.parametrize("name", OWN)
def test_names_of_ones_own_are_allowed(name):
    assert faults(others={"node1": [name]}) == []


@pytest.mark.parametrize(
    ("name", "meant"),
    [("HAPROXY_MAXCONN", "haproxy_maxconn"), ("haproxy_MaxConn", "haproxy_maxconn"), ("haproxy-maxconn", "haproxy_maxconn"),
     ("Ha_Timing", "ha_timing"), ("REDIS_PASSWORD", "")],
)  # fmt: skip
def test_a_setting_with_capitals_or_hyphens_is_told_which_one_it_is(name, meant):
    assert setting_meant(name, SETTINGS) == meant


def test_no_setting_is_taken_for_another():
    assert {name: setting_meant(name, {*SETTINGS} - {name}) for name in ("backend_command", "etcd_users", "redis_flavor")} == {
        "backend_command": "", "etcd_users": "", "redis_flavor": "",
    }  # fmt: skip


@pytest.mark.parametrize("path", sorted(ROOT.glob("roles/*/defaults/main.yml")), ids=lambda path: path.parts[-3])
def test_every_default_is_what_its_own_spec_asks_for(path):
    defaults = yaml.safe_load(path.read_text())
    plain = {name: value for name, value in defaults.items() if "{{" not in str(value) and name in SETTINGS}
    assert [text for name, value in plain.items() for text in told(name, value)] == []


def test_the_inventories_of_this_repository_are_taken():
    variables = {}
    for path in [
        *ROOT.glob("inventories/**/*.yml"),
        *ROOT.glob("molecule/**/group_vars/*.yml"),
        *ROOT.glob("molecule/**/hosts.yml"),
    ]:
        content = yaml.safe_load(path.read_text())
        for place in (content, content.get("all", {}).get("vars") or {}):
            variables |= {name: value for name, value in place.items() if "_" in name}
    assert len(variables) > 15
    plain = {name: value for name, value in variables.items() if name in SETTINGS and "{{" not in str(value)}
    assert [text for name, value in plain.items() for text in told(name, value)] == []
    lab = set(re.findall(r'"([a-z]+_\w+)":', (ROOT / "molecule/shared/lab.py").read_text()))
    others = {name for name in {*variables, *lab} - {*SETTINGS} if not name.startswith(("ha_", "ansible_"))}
    assert "lab_elasticsearch_version" in others
    assert faults(others={"node1": others}) == []


@pytest.mark.parametrize(
    ("value", "meaning"),
    [(True, True), ("True", True), ("on", True), (1, True), (False, False), ("NO", False), ("0", False), (0, False),
     ("", None), (None, None), (2, None), ("enabled", None), ([], None), (0.0, None)],
)  # fmt: skip
def test_words_for_true_and_false(value, meaning):
    assert boolean(value) is meaning


# Text stays text in Jinja: "false" is true there, and "9" is more than "10". Extra variables win over all that a role could set.
EXPRESSION = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
CONDITIONS = ("when", "that", "until", "failed_when", "changed_when")
# The specs of the topology's own have no types.
USED = TYPES | {name: type(default).__name__ for name, default in shared_settings().items() if isinstance(default, int)}
CONVERTED = {"bool": "bool", "int": "(?:int|float)", "float": "float"}


def expressions(node, place=""):
    """Yield the Jinja of YAML, each with the key that it stands under."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from expressions(value, key if place not in ("vars", "ansible.builtin.set_fact") else place)
    elif isinstance(node, list):
        for value in node:
            yield from expressions(value, place)
    elif isinstance(node, str):
        yield from ((place, text) for text in EXPRESSION.findall(node) or ([node] if place in CONDITIONS else []))


def unconverted(place, expression):
    """Return the booleans and numbers that an expression uses as they are."""
    code = re.sub(r"'[^']*'", "''", expression)
    for match in re.finditer(r"(?<![\w.])[a-z]+_\w+", code):
        name, rest = match.group(), code[match.end() :]
        kind = CONVERTED.get(USED.get(name))
        # A number by itself becomes a module's option of that type, as text does. In a template, 4000.0 would be written out.
        alone = USED.get(name) != "bool" and place not in ("vars", "template") and re.fullmatch(r"\{\{ \w+ \}\}", code)
        if (
            kind
            and not alone
            and not re.match(rf"(\s*\|\s*default\([^)]*\))?\s*\|\s*{kind}\b|\s+is (not )?defined|\s*=[^=]", rest)
        ):
            yield name


YAML = sorted([*ROOT.glob("roles/*/tasks/*.yml"), *ROOT.glob("roles/*/vars/**/*.yml"), *ROOT.glob("playbooks/*.yml")])


@pytest.mark.parametrize("path", YAML, ids=lambda path: str(path.relative_to(ROOT)))
def test_booleans_and_numbers_are_converted_where_tasks_and_variables_use_them(path):
    place = "vars" if "vars" in path.parts else ""
    found = expressions(yaml.safe_load(path.read_text()), place)
    assert [(name, text) for under, text in found for name in unconverted(under, text)] == []


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("roles/*/templates/**/*.j2")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_booleans_and_numbers_are_converted_where_templates_use_them(path):
    code = re.sub(r"\{#.*?#\}", "", path.read_text(), flags=re.DOTALL)
    assert [(name, text) for text in EXPRESSION.findall(code) for name in unconverted("template", text)] == []


def test_what_is_not_converted_is_found():
    assert list(unconverted("when", "swarm_autolock and x | bool")) == ["swarm_autolock"]
    assert list(unconverted("msg", "{{ 2 * etcd_wait_s }}")) == ["etcd_wait_s"]
    assert list(unconverted("vars", "{{ etcd_wait_s }}")) == ["etcd_wait_s"]
    assert list(unconverted("wait_timeout", "{{ etcd_wait_s }}")) == []
    assert list(unconverted("template", "{{ etcd_wait_s }}")) == ["etcd_wait_s"]
    assert list(unconverted("that", "swarm_adopt | default(false) | bool and 'swarm_autolock' in x")) == []


@pytest.mark.parametrize(("former", "present"), FORMER_NAMES.items())
@pytest.mark.parametrize("counts", ["", ", which is set, too, and counts"], ids=["alone", "both"])
def test_a_former_name_is_accepted_with_one_warning_and_judged_as_the_present_one(former, present, counts):
    groups = {"loadbalancer": NODES, "etcd": NODES, "postgresql": NODES}
    given = {former: 600, present: 900 if counts else 600}
    variables = {name: {"ansible_host": f"10.0.1.1{number}", **given} for number, name in enumerate(NODES, 1)}
    found = build(Inventory(groups, variables), {"ha_vip": "10.0.1.100"}, SETTINGS)["warnings"]
    assert [warning for warning in found if former in warning] == [
        f"group all: {former} is the former name of {present}{counts}. Rename it: the next release does not know it."
    ]
    assert former in faults(**{former: "long"})[0]


@pytest.mark.parametrize(("former", "present"), FORMER_NAMES.items())
def test_a_former_name_gives_the_default_of_the_present_one(former, present):
    role = ROOT / "roles" / present.partition("_")[0] / "defaults" / "main.yml"
    assert yaml.safe_load(role.read_text())[present].startswith(f"{{{{ {former} | default(")
