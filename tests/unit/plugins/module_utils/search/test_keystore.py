# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import json

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.search import keystore

OURS = "digest as we left it"


def record(**entries):
    return {"file": OURS, "entries": {name: keystore.remember(value) for name, value in entries.items()}}


@pytest.mark.parametrize(
    ("situation", "known", "wanted", "digest", "listed", "add", "remove"),
    [
        ("no keystore yet", {}, {"a": "1"}, "", None, ["a"], []),
        ("all as it was", record(a="1"), {"a": "1"}, OURS, None, [], []),
        ("a value changed", record(a="1", b="2"), {"a": "1", "b": "3"}, OURS, None, ["b"], []),
        ("an entry is new", record(a="1"), {"a": "1", "b": "2"}, OURS, None, ["b"], []),
        ("an entry is not wanted any more", record(a="1", b="2"), {"a": "1"}, OURS, None, [], ["b"]),
        ("somebody else wrote: all again", record(a="1"), {"a": "1"}, "other", ["a", "keystore.seed"], ["a"], []),
        ("somebody else removed what is to be removed", record(b="1"), {}, "other", ["keystore.seed"], [], []),
        ("entries of others stay", {}, {}, "other", ["keystore.seed", "theirs"], [], []),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_only_what_differs_is_written(situation, known, wanted, digest, listed, add, remove):
    plan = keystore.plan_entries(known, wanted, digest, listed)
    assert (plan.add, plan.remove) == (add, remove)
    after = keystore.record_of(known, wanted, plan, OURS)
    assert not keystore.plan_entries(after, wanted, OURS, None)


def test_what_is_remembered_tells_no_value_and_salts_each():
    after = keystore.record_of({}, {"a": "geheim", "b": "geheim"}, keystore.Plan(add=["a", "b"]), OURS)
    assert "geheim" not in json.dumps(after)
    assert after["entries"]["a"]["digest"] != after["entries"]["b"]["digest"]


def test_only_what_a_running_server_cannot_take_up_asks_for_a_restart():
    plan = keystore.Plan(add=["s3.client.default.secret_key", "bootstrap.password"], remove=["xpack.security.authc.x"])
    assert plan.reload == ["s3.client.default.secret_key"]
    assert plan.restart == ["xpack.security.authc.x"]


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"s3.client.default.secret_key": ""}, "has no value"),
        ({"S3.client": "geheim"}, "no name of an entry"),
        ({"a": "geheim\nund mehr"}, "more than one line"),
        ({"gcs.client.default.credentials_file": "{\n}"}, ""),
    ],
)
def test_entries_that_the_tool_would_misread_are_refused_without_telling_them(entries, words):
    fault = keystore.fault(entries)
    assert words in fault
    assert bool(fault) is bool(words)
    assert "geheim" not in fault
