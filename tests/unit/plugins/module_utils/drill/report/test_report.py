# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The drill's report: what it calls met and missed, and that people, browsers and CI systems can read it."""

from __future__ import annotations

import json
import re
import struct
import subprocess
from html.parser import HTMLParser
from xml.etree import ElementTree

import drill_sample
import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.drill.ledger.records import Ledger
from ansible_collections.utmstack.ha.plugins.module_utils.drill.report import picture as drill_picture
from ansible_collections.utmstack.ha.plugins.module_utils.drill.report import report as drill_report
from ansible_collections.utmstack.ha.plugins.module_utils.drill.report import result as drill_result

DRILL = {
    "schema": 1, "cluster": "utmstack", "began": "2025-11-13T02:13:20Z", "suite": "default", "hosts": ["node1"],
    "machine": "lab", "profile": "normal", "targets": {"kill": 4}, "rto_limit_s": 300, "rpo_limit_s": 60,
}  # fmt: skip
VERDICT = {
    "sent": 100, "acknowledged": 90, "failed": 8, "unknown": 2, "missing": 0, "missing_numbers": [], "lost_s": 0.0, "twice": 0,
    "never_sent": 0, "unknown_present": 1, "failed_present": 0, "members": {"node1": 91}, "reads": 9, "stale_reads": 0,
    "read_failed": 0, "outage_s": 2.5, "longest_at": 9.8, "slowest_s": 0.2, "problem": None,
}  # fmt: skip
MARKS = [{"at": 1000.0 + t, "what": what, "text": what} for t, what in enumerate(drill_picture.MARKS)]


def turn(name="01-kill", paths=None, marks=MARKS, **noted):
    """A turn as it is read from its directory; paths: name -> what differs from VERDICT."""
    verdict = {path: VERDICT | changes for path, changes in (paths or {"postgresql": {}}).items()}
    return {
        "name": name, "problems": [], "turn": {"fault": name.partition("-")[2], "text": "Killed", **noted}, "verdict": verdict,
        "marks": marks, "ledgers": {},
    }  # fmt: skip


def reported(*turns, **changes):
    return drill_result.report(DRILL | changes, list(turns))


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    out = drill_sample.make(tmp_path_factory.mktemp("drill"))
    assert drill_report.main([str(out)]) == 0
    return out


# -- what is met ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "noted", "missed", "said"),
    [
        ({}, {}, [], ""),
        ({"outage_s": 4.0}, {}, [], ""),
        ({"outage_s": 4.1}, {}, ["time"], "PostgreSQL was away for 4.10 s, target 4 s."),
        ({"missing": 3, "lost_s": 0.15}, {}, ["loss"], "PostgreSQL lost 3 acknowledged writes (0.15 s of them)."),
        ({"missing": 3, "lost_s": 0.15}, {"expected_loss_s": 2}, ["loss"], "PostgreSQL lost 3 acknowledged writes"),
        ({"missing": None, "lost_s": None, "problem": "node1 is gone"}, {}, ["other"], "PostgreSQL: node1 is gone."),
        ({"twice": 1}, {}, ["other"], "1 writes are there twice"),
        ({"never_sent": 1}, {}, ["other"], "never sent"),
        ({"stale_reads": 2}, {}, ["other"], "2 reads did not find"),
        ({"sum_right": True, "lock_wait_s": 77.5}, {}, [], ""),
        ({"sum_right": False}, {}, ["loss"], "PostgreSQL: the accounts are wrong."),
        ({}, {"stopped": "the cluster does not heal"}, ["other"], "The drill stopped: the cluster does not heal"),
    ],
)
def test_a_turn_is_met_only_where_everything_is(changes, noted, missed, said):
    found = reported(turn(paths={"postgresql": changes}, **noted))
    (judged,) = found["turns"]
    assert (judged["met"], judged["missed"]) == (not missed, missed)
    assert said in "\n".join(judged["problems"])
    assert found["summary"]["met"] == (not missed)


def test_a_loss_by_design_is_that_of_redis_alone():
    redis = {"missing": 63, "lost_s": 3.15}
    losing = {"redis": redis, "postgresql": {"missing": 13, "lost_s": 0.65}}
    cases = (
        ({"redis": redis}, 4.5, [], 63),
        ({"redis": redis}, 3, ["redis"], 0),
        (losing, 4.5, ["postgresql"], 63),
    )
    for paths, expected, lost, by_design in cases:
        found = reported(turn("01-other", paths, expected_loss_s=expected))
        assert drill_result.lost_paths(found["turns"][0]) == lost
        assert found["summary"]["missing_expected"] == by_design
        assert found["summary"]["met"] == (not lost)


@pytest.mark.parametrize(
    ("mark", "said"), [("injected", "not injected"), ("effect", "effect"), ("whole", "redundancy")]
)
def test_a_turn_without_one_of_its_marks_proves_nothing(mark, said):
    found = reported(turn(marks=[one for one in MARKS if one["what"] != mark]))
    assert found["turns"][0]["missed"] == ["other"]
    assert said in found["turns"][0]["problems"][0]


def test_paths_may_have_targets_of_their_own():
    paths = {"postgresql": {"outage_s": 5}, "elasticsearch": {"outage_s": 5}, "redis": {"outage_s": 5}}
    found = reported(turn(paths=paths), targets={"kill": {"postgresql": 6, "elasticsearch": 4}})
    assert found["turns"][0]["problems"] == ["Elasticsearch was away for 5.00 s, target 4 s."]


def test_the_banks_clients_wait_for_each_other_so_a_target_for_all_is_not_theirs():
    paths = {"postgresql": {"outage_s": 3}, "bank": {"outage_s": 5}, "bank_direct": {"outage_s": 6}}
    found = reported(turn(paths=paths))
    assert (found["turns"][0]["problems"], found["turns"][0]["outage_s"]) == ([], 3)
    found = reported(turn(paths=paths), targets={"kill": {"bank": 4}})
    assert found["turns"][0]["problems"] == ["Bank was away for 5.00 s, target 4 s."]


def test_the_sum_is_right_only_where_every_client_has_found_it_so_and_the_longest_lock_wait_counts():
    def figures(*turns):
        found = reported(*(turn(f"0{number}-kill", paths) for number, paths in enumerate(turns, 1)))
        (fault,) = found["faults"]
        assert (fault["sum_right"], (fault["lock_wait_s"] or {}).get("max")) == (
            found["summary"]["sum_right"], found["summary"]["longest_lock_wait_s"],
        )  # fmt: skip
        return fault["sum_right"], fault["lock_wait_s"]

    right, wrong = {"sum_right": True, "lock_wait_s": 0.0}, {"sum_right": False, "lock_wait_s": 91.5}
    unknown = {"sum_right": None, "lock_wait_s": None}
    assert figures({"bank": right, "redis": {}}) == (True, {"min": 0.0, "median": 0.0, "max": 0.0})
    assert figures({"bank": right, "bank_direct": wrong})[0] is False
    assert figures({"bank": right}, {"bank": wrong}) == (False, {"min": 0.0, "median": 45.75, "max": 91.5})
    assert figures({"bank": right}, {"bank": unknown})[0] is None
    # A drill of before has no bank.
    assert figures({"redis": {}}) == (None, None)


def test_a_fault_without_a_target_is_measured_and_not_judged_by_time():
    assert reported(turn("01-other", {"redis": {"outage_s": 100}}))["faults"][0]["met"]


def test_a_fault_has_the_minimum_the_median_and_the_maximum_of_its_turns():
    turns = [
        turn(f"0{number}-kill", {"redis": {"outage_s": seconds}, "api": {"outage_s": 1.0}})
        for number, seconds in enumerate((3.0, 0.5, 2.0), 1)
    ]
    (fault,) = reported(*turns)["faults"]
    assert fault["outage_s"] == {"min": 1.0, "median": 2.0, "max": 3.0}
    assert fault["outage_of"] == {
        "redis": {"min": 0.5, "median": 2.0, "max": 3.0},
        "api": {"min": 1.0, "median": 1.0, "max": 1.0},
    }
    assert (fault["turns"], fault["target_s"], fault["missing"]) == (3, 4, 0)


@pytest.mark.parametrize(
    ("changes", "rto", "rpo"),
    [
        ({}, True, True),
        ({"outage_s": 301}, False, True),
        ({"missing": 1300, "lost_s": 65}, True, False),
        ({"missing": None, "lost_s": None}, True, False),
    ],
)
def test_the_limits_are_met_only_by_what_is_known(changes, rto, rpo):
    found = reported(turn("01-x", {"redis": changes}))["summary"]
    assert (found["rto_met"], found["rpo_met"]) == (rto, rpo)


def test_no_turn_is_no_success():
    found = reported()
    assert not found["summary"]["met"]
    assert "No fault was tried" in drill_report.text(found)


def test_a_killed_drill_gets_its_report(tmp_path, capsys):
    (tmp_path / "drill.json").write_text(json.dumps(DRILL))
    (tmp_path / "01-kill" / "ledger").mkdir(parents=True)
    (tmp_path / "01-kill" / "ledger" / "redis.jsonl").write_text(
        '{"what": "start", "at": 1000.0, "t": 0.0, "run": "r", "rate": 20}\n{"n": 1, "t": 0.1, "what": "sent"}\n{"n"'
    )
    (tmp_path / "01-kill" / "marks.jsonl").write_text('{"at": 1000.05, "what": "injected", "text": "x"}\n{"at": 10')
    assert drill_report.main([str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "01-kill: The drill ended before it wrote verdict.json." in printed
    assert not json.loads((tmp_path / "report.json").read_text())["summary"]["met"]
    assert 'class="unknown" d="M' in (tmp_path / "report.html").read_text()


def test_a_drill_that_ended_before_it_injected_anything_gets_its_report(tmp_path, capsys):
    """Role drill writes an empty line where there are no marks."""
    (tmp_path / "drill.json").write_text(json.dumps(DRILL))
    (tmp_path / "01-kill").mkdir()
    (tmp_path / "01-kill" / "marks.jsonl").write_text("\n")
    assert drill_report.main([str(tmp_path)]) == 0
    assert "The fault was not injected." in capsys.readouterr().out


def test_turns_come_in_the_order_of_their_numbers(tmp_path):
    (tmp_path / "drill.json").write_text(json.dumps(DRILL))
    for name in ("100-kill", "20-kill", "03-kill", "notes"):
        (tmp_path / name).mkdir()
    assert [found["name"] for found in drill_result.read(str(tmp_path))[1]] == ["03-kill", "20-kill", "100-kill"]


def test_a_directory_without_a_drill_is_refused(tmp_path, capsys):
    assert drill_report.main([str(tmp_path)]) == 1
    assert "is no drill's directory" in capsys.readouterr().err
    assert drill_report.main([]) == 2


# -- the picture ---------------------------------------------------------------------------------------------------------


def test_each_outcome_has_its_place_in_time(tmp_path):
    lines = [{"what": "start", "at": 0, "t": 0.0, "run": "r", "rate": 30}]
    for number in range(1, 300):
        what = "failed" if number == 100 else "unknown" if number == 200 else "acknowledged"
        lines += [
            {"n": number, "t": number / 30, "what": "sent"}, {"n": number, "t": number / 30 + 0.001, "what": what},
        ]  # fmt: skip
    file = tmp_path / "ledger.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    bins = drill_picture.binned(Ledger(str(file)), 10.0)
    assert [index for index, value in enumerate(bins["failed"]) if value] == [100]
    assert [index for index, value in enumerate(bins["unknown"]) if value] == [200]
    assert [index for index, value in enumerate(bins["acknowledged"]) if not value] == [0, 100, 200]


def test_equal_parts_become_one_bar():
    values = [0.0] * 100 + [1.0] * 100 + [0.5] * 100
    assert drill_picture.shape(values, 10, 20) == "M333.3 30v-20.0h333.3v20.0zM666.7 30v-10.0h333.3v10.0z"


def test_a_leader_reigns_until_another_one_is_seen():
    seen = [{"t": t, "at": t, "redis": who} for t, who in enumerate(["a", "a", None, None, "b", "a"])]
    assert drill_picture.reigns(seen, "redis") == [(0, "a"), (2, ""), (4, "b"), (5, "a")]
    assert drill_picture.services(seen) == ["redis"]


# -- what is written -----------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """What a page refers to, its elements, and whether they are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.ids, self._stack = set(), [], set(), []
        self.feed(text)
        assert not self._stack

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        values = dict(attrs)
        self.links += [values[name] for name in ("src", "href") if name in values]
        self.ids.add(values.get("id"))
        if tag not in ("meta", "link", "br", "path", "rect"):
            self._stack.append(tag)

    def handle_endtag(self, tag):
        if tag not in ("path", "rect"):
            assert self._stack.pop() == tag


def test_the_page_is_whole_by_itself(sample):
    text = (sample / "report.html").read_text()
    page = Page(text)
    assert "script" not in page.tags
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links if link != "data:,")
    assert not re.search(r"url\(|@import|https?://", text)


def test_the_page_says_what_was_missed_and_what_was_expected(sample):
    text = (sample / "report.html").read_text()
    assert "1 of 5 faults in 7 turns missed a target" in text
    assert "A cut-off master takes writes until min-replicas-max-lag has passed." in text
    assert "Elasticsearch</b> led by node1, from +0.50 s nobody, from +8.00 s node2" in text


def test_what_others_wrote_is_text_and_no_markup():
    evil = '<script>alert("x")</script>'
    found = reported(
        turn(paths={"redis": {"problem": evil}}, text=evil, target={"host": evil}), cluster=evil, machine=evil
    )
    text = drill_report.page(found, {"01-kill": {}})
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_the_figures_are_in_report_json_under_stable_names(sample):
    found = json.loads((sample / "report.json").read_text())
    assert found["schema"] == 1
    assert found.keys() == {
        "schema", "cluster", "suite", "began", "hosts", "machine", "profile", "rto_limit_s", "rpo_limit_s", "summary", "faults",
        "turns",
    }  # fmt: skip
    assert found["faults"][0].keys() == {
        "fault", "text", "turns", "target_s", "outage_s", "outage_of", "whole_after_s", "missing", "lost_s", "sum_right",
        "lock_wait_s", "expected_loss_s", "expected_loss_why", "missed", "met",
    }  # fmt: skip
    assert found["turns"][0].keys() == {
        "name", "fault", "text", "target", "repeat", "stopped", "target_s", "began_at", "marks", "leaders_before",
        "leaders_after", "leaders", "expected_loss_s", "expected_loss_why", "effect_after_s", "whole_after_s", "outage_s",
        "missing", "lost_s", "sum_right", "lock_wait_s", "paths", "missed", "problems", "met",
    }  # fmt: skip


def test_a_ci_system_sees_a_case_for_each_turn(sample):
    root = ElementTree.parse(sample / "junit.xml").getroot()
    (suite,) = root.findall("testsuite")
    assert (suite.get("tests"), suite.get("failures")) == ("7", "1")
    failed = [case.get("name") for case in suite.iter("testcase") if case.find("failure") is not None]
    assert failed == ["06-elasticsearch_stop"]


def test_the_terminal_shows_a_line_for_each_fault():
    bank = {"sum_right": True, "lock_wait_s": 77.6}
    found = reported(
        turn(paths={"postgresql": {}, "bank": bank}),
        turn("02-kill", {"redis": {"missing": 2, "lost_s": 0.1}, "bank": bank}),
    )
    assert drill_report.text(found).splitlines() == [
        "utmstack: Missed: 1 of 1 fault in 2 turns missed a target; 2 of 360 acknowledged writes were lost.",
        "",
        "fault  turns  min     median  max     target  lost  sum    lock wait  recovers in  result",
        "kill   2      2.50 s  2.50 s  2.50 s  4 s     2     right  77.6 s     3.00 s       MISSED: writes lost",
        "",
        "Missed",
        "  02-kill: Redis lost 2 acknowledged writes (0.10 s of them).",
    ]


FRAME = """<!doctype html><body style="margin:0"><iframe id="report" src="report.html" style="border:0"
 width="{width}" height="6000"></iframe><script>
report.onload = () => {{
  const root = report.contentDocument.documentElement;
  console.log("needs " + root.scrollWidth + " of " + root.clientWidth);
}}</script>"""


@pytest.mark.parametrize("width", [1280, 400])
def test_a_browser_shows_it_without_complaint_or_sideways_scrolling(sample, width):
    (sample / "frame.html").write_text(FRAME.format(width=width))
    picture = sample / f"report-{width}.png"
    shown = subprocess.run(
        ["chromium-headless-shell", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--allow-file-access-from-files",
         "--enable-logging=stderr", "--v=0", f"--window-size={width},6000", f"--screenshot={picture}",
         f"--user-data-dir={sample / 'browser'}", (sample / "frame.html").as_uri()],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    # The frame's own words are there, so the report's would be, too.
    assert re.findall(r"CONSOLE.*?\] \"(.*?)\"", shown.stderr) == [f"needs {width} of {width}"]
    assert struct.unpack(">II", picture.read_bytes()[16:24]) == (width, 6000)
