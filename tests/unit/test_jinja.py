# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""No Jinja expression of a role or a playbook is longer than a reader takes in at once, what needs more is decided in Python; none loses an order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import pytest
from ansible.module_utils.common.yaml import yaml_load
from checkout import ROOT

LONGEST = 160
SETS = {"difference", "intersect", "symmetric_difference", "union"}
# Keys of a task whose value is an expression without braces.
BARE = {"when", "until", "changed_when", "failed_when", "that"}
# After one of these, a bracket begins a list.
KEYWORDS = {"and", "else", "if", "in", "is", "not", "or"}
FILES = sorted(
    path
    for pattern in ("roles/*/*/**/*.yml", "roles/*/templates/**/*", "playbooks/*.yml", "playbooks/tasks/*.yml")
    for path in ROOT.glob(pattern)
    if path.is_file()
)


def expressions(text: str) -> Iterator[list[str]]:
    """The tokens of each expression and each statement of a template, with one blank for any white space."""
    found: list[str] | None = None
    for _line, kind, value in jinja2.Environment(trim_blocks=True).lex(text):
        if kind in ("variable_begin", "block_begin"):
            found = []
        elif kind in ("variable_end", "block_end"):
            assert found is not None
            yield found
            found = None
        elif found is not None:
            found.append(" " if kind == "whitespace" else value)


def subscript(before: str) -> bool:
    """Whether a bracket that comes after this token takes something out of a value, and is not the beginning of a list."""
    return before not in KEYWORDS and bool(re.search(r"[\w)\]}'\"]$", before))


def length(tokens: list[str]) -> int:
    """How long an expression is. A mapping or a list that is written out in it is read entry by entry, and counts as two brackets."""
    longest, before = 0, ""
    # What is open, outermost first: the bracket, and the text so far of the entry that is being read.
    opened = [("", "")]
    for token in tokens:
        bracket, text = opened[-1]
        if bracket in ("{", "[") and token in (",", "}", "]"):
            longest = max(longest, len(text.strip()))
            text = ""
        if token == "{" or (token == "[" and not subscript(before)):
            opened[-1] = (bracket, text + token)
            opened.append((token, ""))
        elif token in ("(", "["):
            opened[-1] = (bracket, text + token)
            opened.append(("(", ""))
        elif token in (")", "}", "]"):
            opened.pop()
            outer, before_it = opened[-1]
            opened[-1] = (outer, before_it + text + token)
        else:
            opened[-1] = (bracket, "" if token == "," and bracket in ("{", "[") else text + token)
        before = before if token == " " else token
    ((_bracket, text),) = opened
    return max(longest, len(text.strip()))


def bare(content: Any) -> Iterator[str]:
    """Expressions of tasks that are written without braces."""
    for part in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        yield from bare(part)
    if isinstance(content, dict):
        for key in BARE & set(content):
            yield from (str(one) for one in (content[key] if isinstance(content[key], list) else [content[key]]))


def texts(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    for part in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        yield from texts(part)


@cache
def expressions_of(path: Path) -> list[list[str]]:
    """The expressions of a file."""
    if "templates" in path.parts:
        return list(expressions(path.read_text()))
    content = yaml_load(path.read_text())
    templates = [*texts(content), *("{{ " + one + " }}" for one in bare(content) if "{{" not in one)]
    return [expression for text in templates for expression in expressions(text)]


def too_long(path: Path) -> list[str]:
    """The expressions of a file that are too long."""
    return [f"{length(one)}: {''.join(one).strip()}" for one in expressions_of(path) if length(one) > LONGEST]


@pytest.mark.parametrize(
    "path",
    FILES,
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_no_expression_is_longer_than_a_reader_takes_in_at_once(path):
    assert too_long(path) == []


def unordered(tokens: list[str]) -> list[str]:
    """Filters of Ansible that make a set of a list, other than for its length: what comes of them has another order in each run."""
    words, found = [token for token in tokens if token != " "], []
    for at, word in enumerate(words):
        if word in SETS and words[at - 1] == "|":
            depth, end = 1, at + 2
            while depth:
                depth += (words[end] == "(") - (words[end] == ")")
                end += 1
            if words[end : end + 2] != ["|", "length"]:
                found.append(word)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_expression_loses_the_order_of_a_list(path):
    """As the order in which members are restarted, the leader last. select('in', …) and reject('in', …) keep it."""
    assert [f"{word}: {''.join(tokens).strip()}" for tokens in expressions_of(path) for word in unordered(tokens)] == []


@pytest.mark.parametrize("text, expected", [
    ("{{ a | intersect(b) | first }}", ["intersect"]),
    ("{{ a | difference([b, c(d)]) | length == 0 }}", []),
    ("{{ a | union(b) | difference(c) }}", ["union", "difference"]),
    ("{{ a | select('in', b) | list }}", []),
], ids=range(4))  # fmt: skip
def test_a_set_is_there_to_be_counted(text, expected):
    (tokens,) = expressions(text)
    assert unordered(tokens) == expected


@pytest.mark.parametrize("text, expected", [
    ("{{ a }}", [1]),
    ("{{ a\n     | b }} and {% if c is defined %}", [5, 15]),
    ("{{ {'a': 1,\n 'bbb': c | d,\n 'e': [1, 2]} }}", [12]),
    ("{{ a | f({'a': 1, 'b': 2}, [x, y, z]) | last }}", [20]),
    ("{{ a['b'][c, d] }}", [12]),
    ("{{ [f(a, b), c] }}", [7]),
    ("{{ [] }}", [2]),
    ("{{ a if b in ['c', 'd'] else ['e'] }}", [20]),
    ("{{ f({'a': (b, c), 'd': e[1, 2]}) }}", [12]),
], ids=range(9))  # fmt: skip
def test_a_mapping_or_a_list_is_as_long_as_its_longest_entry(text, expected):
    assert [length(tokens) for tokens in expressions(text)] == expected
