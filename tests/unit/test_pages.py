# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The pages that are generated are those of the code; links and names in all pages lead somewhere."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
import yaml
from ansible_collections.utmstack.ha.plugins.module_utils.topology.timing import profiles

ROOT = Path(__file__).resolve().parents[2]

spec = importlib.util.spec_from_file_location("pages_generate", ROOT / "tests" / "pages" / "generate.py")
generate = importlib.util.module_from_spec(spec)
spec.loader.exec_module(generate)

PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("roles/*/README.md"), ROOT / "tests" / "README.md"]
)


@pytest.mark.parametrize("name", generate.PAGES)
def test_the_page_is_what_the_code_says(name):
    assert (ROOT / name).read_text() == generate.PAGES[name](), f"run `make pages`, and commit {name}"


def test_every_role_is_in_the_page_of_settings_or_is_internal():
    roles = {path.parent.parent.name for path in ROOT.glob("roles/*/meta/argument_specs.yml")}
    assert roles == {*generate.ROLES, *generate.INTERNAL_ROLES}


def test_every_listener_is_said_who_connects_to_it():
    assert [entry for entry in generate.all_listeners() if not entry.clients] == []


def test_settings_that_the_page_of_ports_names_exist():
    known = {name for name, _spec in generate.settings()}
    text = generate.ports()
    named = re.findall(r"`((?:ha|postgresql|haproxy|swarm|keepalived|backend|elasticsearch|drill)_\w+)`", text)
    assert [
        name for name in named if name not in known and name not in {entry.key for entry in generate.all_listeners()}
    ] == []


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", path.read_text(), flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_of_a_page_lead_to_what_is_there(page):
    for target in re.findall(r"\]\((?!https?://)([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", page.read_text())):
        file, _hash, anchor = target.partition("#")
        path = (page.parent / file).resolve() if file else page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_make_target_that_a_page_names_exists(page):
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.M))
    code = "\n".join(re.findall(r"`([^`]+)`", page.read_text()))
    named = {
        word
        for words in re.findall(r"(?:^|\$ |\s{4})make ((?:[a-z0-9-]+(?: |$))+)", code, re.M)
        for word in words.split()
    }
    assert named <= targets, named - targets


def test_the_readme_stays_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


def test_each_changelog_fragment_and_entry_has_known_sections():
    config = yaml.safe_load((ROOT / "changelogs" / "config.yaml").read_text())
    sections = {name for name, _title in config["sections"]} | {config["prelude_section_name"], "trivial"}
    for path in (ROOT / "changelogs" / "fragments").glob("*.y*ml"):
        assert set(yaml.safe_load(path.read_text())) <= sections, path.name


def test_the_inventory_of_the_readme_is_a_whole_one():
    text = re.search(r"^```yaml\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)[1]
    sample = yaml.safe_load((ROOT / "inventories" / "three_node" / "hosts.yml").read_text())
    assert yaml.safe_load(text) == sample and len(text.splitlines()) == 10


def test_the_timings_of_the_page_of_failures_are_those_of_the_profiles():
    known = profiles()
    page = (ROOT / "docs" / "failover.md").read_text()
    rows = re.findall(r"^\| `(\w+)\.(\w+)` \| [^|]+ \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", page, re.M)
    assert len(rows) >= 7
    for part, name, *figures in rows:
        wanted = [known[profile][part][name] for profile in ("fast", "normal", "wan")]
        assert [float(figure) for figure in figures] == wanted, name


@pytest.mark.parametrize("name", ["operations", "failover", "changes", "guarantees", "controller", "security"])
def test_a_procedure_is_not_interrupted_by_what_was_measured_on_some_day(name):
    """One figure is enough there; those with a date and conditions are in docs/measurements.md."""
    text = re.sub(r"^```.*?^```", "", (ROOT / "docs" / f"{name}.md").read_text(), flags=re.M | re.S)
    assert re.findall(r"20\d\d-\d\d-\d\d", text) == []


def test_what_to_do_for_each_service_without_its_quorum_has_a_heading():
    text = (ROOT / "docs" / "failover.md").read_text().partition("## When the cluster does not heal")[2]
    headings = re.findall(r"^### (.+)$", text, re.M)
    for word in ("etcd", "PostgreSQL", "Redis", "swarm", "Elasticsearch", "disk"):
        assert any(word in heading for heading in headings), word
