# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The words that an operator reads or searches for: names of plays and tasks, descriptions of modules and filters."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkout import IS_CHECKOUT, ROOT

# A name is verb + object. A new verb is one that the field uses for this, and none that is here already says the same.
VERB = re.compile(
    r"(?:"
    r"Add|Allow|Apply|Archive|Arm|Assign|Back up|Bootstrap|Build|Check|Clean up|Clear|Collect|Compare|Compute|Configure|Copy|"
    r"Create|Demote|Deploy|Destroy|Detect|Disable|Disarm|Download|Drain|Enable|Ensure|Enter|Evaluate|Exclude|Execute|Fail|Fetch|"
    r"Find|Finish|Flush|Format|Freeze|Gather|Generate|Get|Grant|Hold|Import|Initialize|Inject|Inspect|Install|Issue|Join|Leave|"
    r"Limit|List|Load|Lock|Manage|Mark|Mask|Measure|Monitor|Move|Open|Pause|Plan|Prepare|Prevent|Print|Promote|Re-enable|Read|"
    r"Reboot|Reconcile|Reconnect|Record|Register|Reinitialize|Release|Reload|Remove|Renew|Repeat|Report|Reset|Restart|Restore|"
    r"Restrict|Resume|Return|Revert|Roll back|Rotate|Run|Select|Set|Show|Sign|Signal|Skip|Start|Stop|Store|Switch over|Take over|"
    r"Test|Undrain|Unlock|Update|Upgrade|Validate|Verify|Wait|Write"
    r")(?=[ ,])"
)
# What makes a name a riddle in a log: an object that only the code around names, or a question in the place of an object.
PRONOUNS = r"it|them|they|that|those|these|both|itself|themselves|one another|nobody|somebody|anybody|everybody|whoever"
QUESTIONS = r"who|whom|whose|what|whatever|whether|which|why|how|where|when"
BARE_THIS = r"this(?! [a-z])"
RIDDLE = re.compile(rf"\b(?:{PRONOUNS}|{QUESTIONS}|{BARE_THIS})\b", re.IGNORECASE)
# What the field calls unhealthy, healthy, candidate, stale, reverted, skipped.
PRIVATE = re.compile(
    r"\b(?:(?<!C\()ill|(?:is|are|be|becomes?|being|was|were|not|how|as) whole|whole again|an? whole cluster|heirs?|strays?|lets? go|were let go|"
    r"(?:pass|passes|passed) over)\b"
)
LONGEST = 70
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
INCLUDES = {f"ansible.builtin.{how}_{what}" for how in ("include", "import") for what in ("tasks", "role", "playbook")}
LISTS = ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks")
PLUGINS = sorted(
    path
    for folder in ("modules", "filter", "callback")
    for path in (ROOT / "plugins" / folder).glob("*.*")
    if path.suffix in {".py", ".yml"}
)


def task_files() -> Iterator[Path]:
    yield from sorted(
        [*ROOT.glob("roles/*/tasks/**/*.yml"), *ROOT.glob("roles/*/handlers/*.yml"), *ROOT.glob("playbooks/**/*.yml")]
    )
    if IS_CHECKOUT:
        yield from sorted([ROOT / "site.yml", *ROOT.glob("molecule/*/*.yml")])


def named(content: Any) -> Iterator[dict[str, Any]]:
    """Plays, blocks and tasks, however deep."""
    for item in content if isinstance(content, list) else []:
        yield item
        for key in LISTS:
            yield from named(item.get(key))


NAMED = [(path.relative_to(ROOT), item) for path in task_files() for item in named(yaml.safe_load(path.read_text()))]


def faults(name: str) -> list[str]:
    riddle = RIDDLE.search(name)
    return [
        *([] if VERB.match(name) else ["begins with no verb of this test's list"]),
        *([f"has {riddle[0]!r}: name the object, and write the reason into a comment"] if riddle else []),
        *(
            [f"has {len(name)} characters, at most {LONGEST} can be read at a glance"]
            if len(re.sub(r"{{.*?}}", "x", name)) > LONGEST
            else []
        ),
    ]


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("Record the current leaders", 0),
        ("Restart this member", 0),
        ("Have those lead who led before", 3 - 1),
        ("Tell that", 2),
        ("Record this", 1),
        ("Check whether etcd runs", 1),
        ("Restart HAProxy where a reload does not suffice, one host after the other, the holder last", 2),
    ],
)
def test_a_name_is_a_verb_and_its_object(name, wrong):
    assert len(faults(name)) == wrong


def test_every_play_and_task_is_named_by_the_words_of_the_field():
    assert len(NAMED) > 700, "the test looks for names in the wrong place"
    found = [
        f"{path}: {item.get('name')!r} {fault}" for path, item in NAMED for fault in faults(item.get("name") or "?")
    ]
    assert not found, "\n" + "\n".join(found)


def does(item: dict[str, Any]) -> tuple[str, str]:
    """What a task calls: what it includes, or a module; a block has none."""
    call = next((key for key in item if "." in key), "")
    if call in INCLUDES:
        arguments = item[call]
        target = (
            arguments
            if isinstance(arguments, str)
            else arguments.get("file") or f"{arguments.get('name')} {arguments.get('tasks_from', '')}"
        )
        return "includes", target
    return "calls", call


def test_a_name_that_stands_twice_in_a_role_means_the_same_thing():
    """Whoever searches for a line of a log finds one place, or places that do the same."""
    places: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for path, item in NAMED:
        how, what = does(item)
        places["/".join(path.parts[:2]), item["name"], how].add(what)
    found = [
        f"{role}: {name!r}: {sorted(calls)}" for (role, name, _how), calls in places.items() if len(calls - {""}) > 1
    ]
    assert not found, "\n" + "\n".join(found)


def documentation(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """DOCUMENTATION and EXAMPLES of a plugin."""
    if path.suffix == ".yml":
        content = yaml.safe_load(path.read_text())
        return content["DOCUMENTATION"], yaml.safe_load(content["EXAMPLES"])
    texts = {
        node.targets[0].id: node.value.value
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
    }
    return yaml.safe_load(texts.get("DOCUMENTATION", "{}")), yaml.safe_load(texts.get("EXAMPLES", "[]"))


def test_every_module_and_filter_is_described_by_a_verb_and_its_object():
    found = []
    for path in PLUGINS:
        about, examples = documentation(path)
        names = [about[key] for key in ("short_description",) if key in about] + [
            item["name"] for item in named(examples) if "name" in item
        ]
        # A short description may be longer than a line of a log.
        found += [
            f"{path.name}: {name!r} {fault}"
            for name in names
            for fault in faults(name)
            if "characters" not in fault or len(name) > 90
        ]
    assert not found, "\n" + "\n".join(found)


def texts() -> Iterator[tuple[str, str]]:
    """What a person reads of the collection: pages, specifications of roles, documentation of plugins, and messages; with where it is."""
    for path in sorted(
        [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("roles/*/README.md"), *ROOT.glob("roles/*/meta/*.yml")]
    ):
        if path.name != "CHANGELOG.md":
            yield path.name, path.read_text()
    for path in sorted(ROOT.glob("plugins/filter/*.yml")):
        yield path.name, path.read_text()
    for path, item in NAMED:
        for call in ("ansible.builtin.assert", "ansible.builtin.fail", "ansible.builtin.debug", "utmstack.ha.report"):
            for key in {"fail_msg", "msg", "text"} & item.get(call, {}).keys():
                # What is between braces is a variable.
                yield f"{path}: {item['name']}", re.sub(r"{{.*?}}", "", str(item[call][key]), flags=re.DOTALL)
    for path in sorted(ROOT.glob("plugins/**/*.py")):
        tree = ast.parse(path.read_text())
        notes = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, DOCUMENTED) and node.body and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            # A word alone is a key.
            if (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and id(node) not in notes
                and " " in node.value.strip()
            ):
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node.value


def test_pages_and_messages_say_it_in_the_words_of_the_field():
    found = [f"{where}: {match[0]!r}" for where, text in texts() for match in PRIVATE.finditer(text)]
    assert not found, "\n" + "\n".join(found)


def strings(path: Path) -> Iterator[str]:
    """The strings of a program, with `x` for what is put in, and those that follow one another as one."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_sentences_of_a_message_have_one_space_between_them():
    """Where a text was replaced, also in what tests wait for."""
    paths = [
        path
        for pattern in ("plugins/**/*.py", "tests/testinfra/**/*.py", "molecule/**/*.py")
        for path in ROOT.glob(pattern)
    ]
    found = [
        f"{path.relative_to(ROOT)}: {text!r}"
        for path in sorted(paths)
        for text in strings(path)
        if "\n" not in text and re.search(r"\w[.;,:)]+ {2,}[\w(]", text)
    ]
    assert not found, "\n" + "\n".join(found)


def test_a_task_at_which_a_test_kills_a_run_exists():
    """A test that waits for a name which a task has no more fails only on a cluster, half an hour later."""
    if not IS_CHECKOUT:
        pytest.skip("the tests on clusters are not part of a build")
    names = [f"{path.parts[1] if path.parts[0] == 'roles' else ''} : {item.get('name')}" for path, item in NAMED]
    markers = [
        (path.name, marker)
        for path in sorted((ROOT / "tests" / "testinfra").rglob("*.py"))
        for markers in re.findall(r"kill_when\(\s*re\.compile\(r?\"([^\"]+)\"", path.read_text())
        for marker in markers.split("|")
    ]
    assert len(markers) >= 9, "the test looks for markers in the wrong place"
    assert [marker for marker in markers if not any(re.search(marker[1], name) for name in names)] == []
