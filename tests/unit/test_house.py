# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The collection works as a plain checkout and as a copy installed from the built tarball, by real commands; rules that all tasks keep."""

from __future__ import annotations

import importlib
import inspect
import itertools
import os
import pwd
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from checkout import IS_CHECKOUT, ROOT

BIN = Path(sys.executable).parent


of_a_checkout = pytest.mark.skipif(not IS_CHECKOUT, reason="ansible-test has a copy without the links of a checkout")


def run(*command, cwd, config=None, home=None):
    """What a command printed that ends well and warns of nothing."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    if config is not None:
        environment["ANSIBLE_CONFIG"] = str(config)
    if home is not None:
        environment["HOME"] = str(home)
    done = subprocess.run(
        [str(BIN / command[0]), *map(str, command[1:])],
        cwd=cwd, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    printed = done.stdout + done.stderr
    # ansible-doc 2.20 warns of a collection within Ansible.
    warned = re.findall(r"^.*(?:WARNING|DEPRECATION)(?!.*/_protomatter').*$", printed, re.MULTILINE)
    assert done.returncode == 0 and not warned, printed
    return done.stdout


@pytest.fixture(scope="module")
def tarball(tmp_path_factory):
    target = tmp_path_factory.mktemp("built")
    run("ansible-galaxy", "collection", "build", "--output-path", target, cwd=ROOT)
    return next(target.glob("utmstack-ha-*.tar.gz"))


@of_a_checkout
def test_the_tarball_holds_the_collection_and_nothing_of_the_workshop(tarball):
    with tarfile.open(tarball) as archive:
        files = set(archive.getnames())
    assert {name.split("/", 1)[0] for name in files} == {
        "CHANGELOG.md", "FILES.json", "LICENSE", "MANIFEST.json", "README.md", "docs", "inventories", "meta", "playbooks", "plugins", "roles",
    }  # fmt: skip
    assert {name.split("/")[1] for name in files if name.startswith("inventories/")} == {"dedicated", "three_node"}
    assert not {name for name in files if "collections" in name or "secrets/" in name}


@of_a_checkout
def test_the_tarball_can_be_installed_from_the_checkout_and_used_from_anywhere(tarball, tmp_path):
    """With nobody's settings: not those of the checkout, and nothing set for the place where it is used."""
    run("ansible-galaxy", "collection", "install", tarball, "--no-deps", "--offline", cwd=ROOT, home=tmp_path)
    assert (tmp_path / ".ansible/collections/ansible_collections/utmstack/ha/MANIFEST.json").is_file()
    plain = tmp_path / "plain"
    plain.mkdir()
    inventory = ROOT / "inventories" / "three_node"
    shown = run("ansible-playbook", "-i", inventory, "utmstack.ha.plan", cwd=plain, home=tmp_path)
    lines = [line.strip() for line in shown.splitlines()]
    assert "Synchronous mode strict: 1 standby confirms each write, or it waits." in lines
    assert "PostgreSQL process dies      up to about 6 s without writes" in lines
    assert "Prepare all hosts" in run(
        "ansible-playbook", "-i", inventory, "utmstack.ha.site", "--list-tasks", cwd=plain, home=tmp_path
    )


@of_a_checkout
def test_a_walk_that_follows_links_through_the_checkout_ends():
    """As that of a controller that looks for playbooks."""
    for start in ("collections", "playbooks"):
        walked = list(itertools.islice(os.walk(ROOT / start, followlinks=True), 1000))
        assert len(walked) < 1000, walked[-1][0]


@of_a_checkout
def test_an_answer_to_a_contributor_comes_from_the_checkout():
    shown = run("ansible-doc", "-t", "role", "utmstack.ha.redis", cwd=ROOT)
    assert "redis_settings" in shown


UNIT = ROOT / "tests" / "unit"


@pytest.mark.parametrize("path", sorted(UNIT.glob("*/**/test_*.py")), ids=lambda path: str(path.relative_to(UNIT)))
def test_a_test_has_the_path_of_what_it_tests(path):
    """One of a role has that of the role; one of several modules the name that theirs begin with."""
    place, name = ROOT / path.parent.relative_to(UNIT), path.stem.removeprefix("test_")
    assert place.is_dir()
    assert place.parent.name == "roles" or [*place.glob(name), *place.glob(f"{name}.py"), *place.glob(f"{name}_*.py")]


def documents(pattern: str) -> Iterator[tuple[Path, str]]:
    for path in ROOT.glob(pattern):
        yield path, path.read_text()


@of_a_checkout
def test_what_is_used_of_other_collections_is_what_is_declared():
    declared = yaml.safe_load((ROOT / "galaxy.yml").read_text())["dependencies"]
    listed = yaml.safe_load((ROOT / "collections" / "requirements.yml").read_text())["collections"]
    assert {entry["name"]: entry["version"] for entry in listed} == declared
    text = "".join(text for pattern in ("roles/*/*/**/*.yml", "playbooks/*.yml") for _path, text in documents(pattern))
    used = set(re.findall(r"\b((?:ansible|community)\.[a-z]+)\.[a-z_]+\b", text)) - {"ansible.builtin"}
    assert used == set(declared)


def test_an_execution_environment_gets_ranges_of_what_the_checkout_pins():
    meta = yaml.safe_load((ROOT / "meta" / "execution-environment.yml").read_text())
    ranges = [line for line in (ROOT / meta["dependencies"]["python"]).read_text().splitlines() if line[0] != "#"]
    pins = re.findall(r"^([\w-]+)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert sorted(re.fullmatch(r"([\w-]+)>=[\d.]+", line)[1] for line in ranges) == sorted(set(pins) - {"ansible"})


def test_an_action_group_has_the_modules_whose_documentation_shares_its_options():
    groups: dict[str, set[str]] = {}
    for path in ROOT.glob("plugins/modules/*.py"):
        module = importlib.import_module(f"ansible_collections.utmstack.ha.plugins.modules.{path.stem}")
        for fragment in yaml.safe_load(module.DOCUMENTATION).get("extends_documentation_fragment", []):
            name = fragment.removeprefix("utmstack.ha.").replace(".", "_")
            groups.setdefault(name, set()).add(path.stem)
    # They have no options, or those of several groups, or what differs from one task to the next.
    for name in ("looks", "https", "wait", "freshness", "freshness_service", "freshness_further_services"):
        del groups[name]
    runtime = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())
    assert {name: set(modules) for name, modules in runtime["action_groups"].items()} == groups


@of_a_checkout
@pytest.mark.parametrize("playbook", ["site.yml", "playbooks/site.yml"])
def test_a_plain_checkout_finds_its_own_roles_and_modules(playbook):
    listed = run("ansible-playbook", "-i", "inventories/three_node", playbook, "--list-tasks", cwd=ROOT)
    for play in ("Prepare all hosts", "Deploy the etcd cluster", "Deploy the PostgreSQL cluster"):
        assert play in listed


@of_a_checkout
def test_a_checkout_without_its_settings_file_still_finds_the_collection_beside_the_playbooks(tmp_path):
    config = tmp_path / "ansible.cfg"
    config.write_text("[defaults]\n")
    shown = run(
        "ansible-playbook", "-i", ROOT / "inventories" / "three_node", ROOT / "playbooks" / "plan.yml",
        cwd=tmp_path, config=config,
    )  # fmt: skip
    assert "Synchronous mode strict" in shown


def test_sudo_has_to_allow_root_only():
    files = [
        path
        for place in ("roles", "playbooks")
        for path in (ROOT / place).rglob("*.yml")
        if "collections" not in path.parts
    ]
    assert [str(path) for path in files if re.search(r"become_user|become_method|su -|runuser", path.read_text())] == []
    used = [path for path in files if 'ansible_python_interpreter: "{{ ha.postgresql.python }}"' in path.read_text()]
    assert len(used) > 10
    for path in used:
        # The account can't read what Ansible would otherwise copy to the host first, as root.
        text = path.read_text()
        assert text.count("ha.postgresql.python") == text.count("ansible_pipelining: true"), path


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone may become another user")
def test_the_interpreter_of_postgres_runs_as_that_account_and_keeps_the_environment(tmp_path):
    text = (ROOT / "roles/base/templates/python-as-postgres.j2").read_text()
    account = pwd.getpwnam("games")
    script = tmp_path / "python"
    script.write_text(
        text.replace("postgres", account.pw_name).replace(
            "/usr/bin/python3", shutil.which("python3", path="/usr/bin:/bin")
        )
    )
    script.chmod(0o755)
    asked = "import os, sys; print(os.getuid(), os.getgid(), os.environ['HOME'], os.environ['PGOPTIONS'], sys.argv)"
    done = subprocess.run(
        ["/bin/sh", "-c", f"PGOPTIONS=-cx=1 {script} && sleep 0"],
        input=asked, capture_output=True, text=True, check=True, cwd="/",
    )  # fmt: skip
    assert done.stdout.split() == [str(account.pw_uid), str(account.pw_gid), account.pw_dir, "-cx=1", "['']"]


def tasks(entries: list) -> Iterator[dict]:
    for entry in entries or []:
        if not isinstance(entry, dict):
            continue
        yield entry
        for part in ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks"):
            yield from tasks(entry.get(part))


@pytest.mark.parametrize(
    "path",
    sorted([*ROOT.glob("roles/*/tasks/*.yml"), *ROOT.glob("playbooks/*.yml")]),
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_a_host_that_may_be_away_stops_nobody(path):
    """Where every error is fatal, Ansible counts hosts that can't be reached as errors, ignored or not."""
    for task in tasks(yaml.safe_load(path.read_text())):
        if task.get("ignore_unreachable"):
            assert task.get("any_errors_fatal") is False, task["name"]
            # It makes errors fatal by itself.
            assert not task.get("run_once"), task["name"]


@pytest.mark.parametrize("path", sorted(ROOT.glob("plugins/filter/*.py")), ids=lambda path: path.stem)
def test_each_filter_is_documented_under_its_name(path):
    module = importlib.import_module(f"ansible_collections.utmstack.ha.plugins.filter.{path.stem}")
    for name, function in module.FilterModule().filters().items():
        document = yaml.safe_load((path.parent / f"{name}.yml").read_text())
        assert document["DOCUMENTATION"]["name"] == name
        parameters = inspect.signature(function).parameters.values()
        least = sum(one.default is one.empty and one.kind is one.POSITIONAL_OR_KEYWORD for one in parameters)
        required = [option for option in document["DOCUMENTATION"]["options"].values() if option.get("required")]
        assert len(required) == least, f"{name} takes {least} arguments, and {len(required)} are documented as required"


@pytest.mark.parametrize("role", sorted(ROOT.glob("roles/*")), ids=lambda path: path.name)
def test_each_role_and_each_of_its_entry_points_is_described(role):
    assert (role / "README.md").is_file()
    for name, entry in yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())["argument_specs"].items():
        assert entry.get("short_description") and entry.get("description"), name


@pytest.mark.parametrize(
    "path",
    sorted([*ROOT.glob("roles/*/*/**/*.yml"), *ROOT.glob("playbooks/*.yml"), *ROOT.glob("molecule/*/*.yml")]),
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_options_from_a_variable_are_defaults_of_the_module(path):
    """Where Ansible's default settings hold, it warns of a template in the place of a task's options; module_defaults take one."""
    for task in tasks(content if isinstance(content := yaml.safe_load(path.read_text()), list) else []):
        assert not isinstance(task.get("args"), str), task["name"]


def postgresql_tasks() -> Iterator[tuple[str, str, dict]]:
    for path, text in documents("roles/*/tasks/*.yml"):
        for task in tasks(yaml.safe_load(text)):
            for module in task:
                if module.startswith("community.postgresql."):
                    yield f"{path.relative_to(ROOT)}: {task['name']}", module, task[module]


def test_no_statement_of_postgresql_has_a_password():
    found = [(task, options) for task, _module, options in postgresql_tasks() if "password" in options]
    assert len(found) >= 4
    for task, options in found:
        assert "utmstack.ha.scram_verifier(" in options["password"], task


def test_who_uses_postgresqls_socket_names_its_port():
    """The socket's name has it, and ha_ports may have set another than 5432."""
    for task, _module, options in postgresql_tasks():
        assert "login_unix_socket" not in options or options.get("login_port") == "{{ ha.ports.postgresql }}", task


UNITS = [
    path
    for path in sorted(ROOT.glob("roles/*/templates/*.service*"))
    if re.search(r"^Restart=(always|on-)", path.read_text(), re.M)
]


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_service_that_is_killed_for_the_tenth_time_is_back_as_soon_as_for_the_first(path):
    """systemd counts restarts until somebody resets them: with steps, a host that is up for months would wait longest each time."""
    text = path.read_text()
    assert re.search(r"^StartLimitIntervalSec=0$", text, re.M), "it would be given up after some restarts"
    assert not re.search(r"^Restart(Steps|MaxDelaySec)=", text, re.M)


def test_all_services_are_started_again():
    assert len(UNITS) >= 9


def texts(content) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, (dict, list)):
        for part in content.values() if isinstance(content, dict) else content:
            yield from texts(part)


@pytest.mark.parametrize(
    "path",
    sorted([*ROOT.glob("roles/*/*/**/*.yml"), *ROOT.glob("playbooks/*.yml")]),
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_no_expression_has_a_doubled_backslash(path):
    """Ansible doubles each by itself, so that two would be four: a regular expression would look for a backslash."""
    for text in texts(yaml.safe_load(path.read_text())):
        for expression in re.findall(r"{{.*?}}|{%.*?%}", text, re.DOTALL):
            assert "\\\\" not in expression, expression
