# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The ledger tells what a store did: what it notes while it writes, and what it finds when it reads back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.drill.ledger import judge as drill_judge
from ansible_collections.utmstack.ha.plugins.module_utils.drill.ledger import ledger as drill_ledger
from ansible_collections.utmstack.ha.plugins.module_utils.drill.ledger.judge import (
    Unreadable,
    injected_at,
    judge,
    tally,
)
from ansible_collections.utmstack.ha.plugins.module_utils.drill.ledger.path import Path as WritePath
from ansible_collections.utmstack.ha.plugins.module_utils.drill.ledger.records import Book, Ledger, LedgerError, Record
from drill_stores import KINDS, RUN, Store, Time

ROOT = Path(__file__).resolve().parents[6]
BEGAN = 1_700_000_000.0
ALL = sorted(KINDS)
# An application is asked for what it should have: it cannot show what it has twice, or without being sent.
OPEN = [kind for kind in ALL if kind != "api"]


def written(file, path, seconds=10.0, rate=10, time=None):
    """The ledger of some seconds of writing; the time is not real."""
    time = time or Time(seconds)
    book = Book(str(file))
    book.start(BEGAN, RUN, rate)
    drill_ledger.work(path, book, rate, time.clock, time)
    return Ledger(str(file))


def judged(tmp_path, kind, store, injected=BEGAN, **how):
    path = KINDS[kind](store)
    return judge(path, written(tmp_path / "ledger.jsonl", path, **how), injected, sleep=lambda seconds: None)


def lines(file):
    return [json.loads(line) for line in Path(file).read_text().splitlines()]


def ledger_of(file, *entries, rate=10):
    start = {"what": "start", "at": BEGAN, "t": 0.0, "run": RUN, "rate": rate}
    file.write_text("".join(json.dumps(entry) + "\n" for entry in (start, *entries)))
    return Ledger(str(file))


# -- what is found -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ALL)
def test_a_store_that_keeps_its_word_gets_a_clean_verdict(tmp_path, kind):
    found = judged(tmp_path, kind, Store())
    assert (found["sent"], found["acknowledged"], found["failed"], found["unknown"]) == (99, 99, 0, 0)
    assert (found["missing"], found["twice"], found["never_sent"], found["unknown_present"]) == (0, 0, 0, 0)
    assert (found["reads"], found["stale_reads"], found["read_failed"], found["lost_s"]) == (9, 0, 0, 0)
    assert found["members"] == {"node1": 99, "node2": 99, "node3": 99}
    assert found["problem"] is None
    assert 0.09 < found["outage_s"] < 0.11


@pytest.mark.parametrize("kind", ALL)
def test_acknowledged_writes_that_were_dropped_are_missing(tmp_path, kind):
    found = judged(tmp_path, kind, Store(drop=range(40, 61)))
    assert found["missing"] == 21
    assert found["missing_numbers"] == list(range(40, 61))
    assert found["lost_s"] == pytest.approx(2.1, abs=0.01)


@pytest.mark.parametrize("kind", ALL)
def test_a_write_that_one_member_lacks_is_missing(tmp_path, kind):
    found = judged(tmp_path, kind, Store(lacks={"node3": {7}}))
    assert (found["missing"], found["missing_numbers"]) == (1, [7])
    assert found["members"] == {"node1": 99, "node2": 99, "node3": 98}


@pytest.mark.parametrize("kind", OPEN)
def test_a_write_that_is_there_twice_is_told(tmp_path, kind):
    found = judged(tmp_path, kind, Store(twice={5, 6, 99}))
    assert (found["twice"], found["missing"]) == (3, 0)


@pytest.mark.parametrize("kind", OPEN)
def test_what_was_never_sent_is_told(tmp_path, kind):
    found = judged(tmp_path, kind, Store(invent=[100, 4711]))
    assert (found["never_sent"], found["missing"]) == (2, 0)


@pytest.mark.parametrize("kind", ALL)
def test_reads_that_lack_what_was_acknowledged_are_stale(tmp_path, kind):
    found = judged(tmp_path, kind, Store(stale=True))
    assert (found["stale_reads"], found["reads"], found["missing"]) == (9, 9, 0)


@pytest.mark.parametrize("kind", ALL)
def test_a_write_that_becomes_visible_late_is_a_stale_read_and_no_loss(tmp_path, kind):
    found = judged(tmp_path, kind, Store(late={20, 21}))
    assert (found["stale_reads"], found["missing"], found["twice"]) == (1, 0, 0)


@pytest.mark.parametrize("kind", ALL)
def test_a_refusal_is_failed_and_a_lost_answer_is_unknown(tmp_path, kind):
    meets = {10: "refused", 20: "broken", 30: "answer lost", 31: "answer lost", 40: "down"}
    found = judged(tmp_path, kind, Store(lambda number: meets.get(number, "")))
    # Number 40 meets nobody: with a kept connection that is noticed only after sending.
    assert (found["unknown"], found["failed"]) == ((3, 2) if kind in ("api", "elasticsearch") else (4, 1))
    assert found["unknown_present"] == 2
    assert (found["missing"], found["failed_present"], found["problem"]) == (0, 0, None)


@pytest.mark.parametrize("kind", ALL)
def test_nothing_is_repeated_by_itself(tmp_path, kind):
    store = Store(lambda number: "answer lost")
    found = judged(tmp_path, kind, store)
    assert (found["unknown"], found["unknown_present"], found["twice"]) == (99, 99, 0)
    assert len(store.kept) == 99
    assert "nothing was acknowledged" in found["problem"]


def test_a_commit_with_a_warning_about_replication_is_unknown(tmp_path):
    found = judged(tmp_path, "postgresql", Store(lambda number: "warned" if number == 50 else ""))
    assert (found["acknowledged"], found["unknown"], found["unknown_present"]) == (98, 1, 1)
    assert "canceling wait" in (tmp_path / "ledger.jsonl").read_text()


@pytest.mark.parametrize("kind", ALL)
def test_a_member_that_cannot_be_read_is_a_problem_and_the_others_are_judged(tmp_path, kind):
    found = judged(tmp_path, kind, Store(drop={3}, unreadable={"node2"}))
    assert "node2 could not be read back: " in found["problem"]
    assert (found["missing"], sorted(found["members"])) == (1, ["node1", "node3"])


@pytest.mark.parametrize("kind", ALL)
def test_where_no_member_can_be_read_losses_are_not_known(tmp_path, kind):
    found = judged(tmp_path, kind, Store(unreadable={"node1", "node2", "node3"}))
    assert (found["acknowledged"], found["missing"], found["members"]) == (99, None, None)
    assert "node1" in found["problem"]


def test_members_that_lag_are_read_again_until_they_agree(tmp_path):
    store = Store(lacks={"node3": {98, 99}})
    path = KINDS["postgresql"](store)
    ledger = written(tmp_path / "ledger.jsonl", path)
    assert judge(path, ledger, BEGAN, sleep=lambda seconds: store.lacks.clear())["missing"] == 0


def test_refused_writes_that_are_there_are_a_problem():
    counts = iter([(1, 1), (2, 1)])
    result = tally(iter([Record(1, 0.1, "acknowledged", 0.2), Record(2, 0.3, "failed", 0.4)]), {"node1": counts}, 0)
    assert result.present == {"acknowledged": 1, "failed": 1, "unknown": 0}


def test_a_member_that_fails_in_the_middle_is_named():
    def stream():
        yield 1, 1
        raise OSError("reset")

    records = iter([Record(number, number, "acknowledged", number) for number in range(1, 9)])
    with pytest.raises(Unreadable, match="node2 could not be read back: reset"):
        tally(records, {"node1": iter([(1, 1)]), "node2": stream()}, 0)


# -- time ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("times", "end", "since", "seconds", "at"),
    [
        ([1, 2, 3, 8, 9], 9.1, 4, 5, 3),  # The fault is in the middle of the gap, which counts whole.
        ([1, 2, 3, 8, 9], 9.1, 8, 1, 8),  # The gap ended as the fault began.
        ([1, 5, 6, 9], 9.1, 5.5, 3, 6),  # A longer gap before the fault is not its.
        ([1, 2, 3], 20, 4, 17, 3),  # It never came back.
        ([], 20, 4, 20, 0),  # Nothing was ever acknowledged.
        ([9], 10, 4, 9, 0),  # The first acknowledgement comes after the fault.
        ([1, 2, 3], 3, 5, 0, None),  # The ledger ended before the fault.
        ([], 0, 0, 0, None),
    ],
)
def test_the_outage_is_the_longest_gap_that_reaches_into_the_time_after_the_fault(times, end, since, seconds, at):
    outage = drill_judge.Outage(since)
    for moment in [*times, end]:
        outage.acknowledged(moment)
    assert (outage.seconds, outage.at) == (seconds, at)


def test_the_outage_counts_from_the_first_fault(tmp_path):
    marks = ['{"at": 1700000006, "what": "effect"}', '{"at": 1700000005, "what": "injected"}']
    assert injected_at(marks) == BEGAN + 5
    assert injected_at([]) == injected_at(["\n"]) == 0
    acknowledged = [0.5, 3.0, 3.5, 6.0, 6.5]
    entries = [
        entry
        for number, moment in enumerate(acknowledged, 1)
        for entry in (
            {"n": number, "t": moment - 0.1, "what": "sent"},
            {"n": number, "t": moment, "what": "acknowledged"},
        )
    ]
    ledger = ledger_of(tmp_path / "ledger.jsonl", *entries, {"what": "end", "t": 6.6})
    store = Store()
    store.kept = [1, 2, 3, 4, 5]
    found = judge(KINDS["redis"](store), ledger, injected_at(marks))
    assert (found["outage_s"], found["longest_at"], found["slowest_s"]) == (2.5, 3.5, 0.1)


def test_slots_that_passed_while_a_record_was_under_way_are_not_sent(tmp_path):
    time = Time(10.0)

    def meets(number):
        time.now += 3.0 if number == 20 else 0.0
        return ""

    ledger = written(tmp_path / "ledger.jsonl", KINDS["redis"](Store(meets)), time=time)
    records = list(ledger.records())
    assert [record.number for record in records] == list(range(1, 70))
    slots = [round(record.sent * 10, 3) for record in records]
    assert slots == [*range(1, 21), *range(51, 100)]


# -- the file ------------------------------------------------------------------------------------------------------------


def test_the_format_is_the_documented_one(tmp_path):
    meets = {2: "refused", 3: "answer lost"}
    written(tmp_path / "ledger.jsonl", KINDS["redis"](Store(lambda number: meets.get(number, ""))), seconds=1.3)
    noted = lines(tmp_path / "ledger.jsonl")
    assert noted[0] == {"what": "start", "at": BEGAN, "t": 0.0, "run": RUN, "rate": 10}
    assert noted[1:7] == [
        {"n": 1, "t": 0.1, "what": "sent"},
        {"n": 1, "t": 0.1, "what": "acknowledged", "node": "node1"},
        {"n": 2, "t": 0.2, "what": "sent"},
        {"n": 2, "t": 0.2, "what": "failed", "why": "NOREPLICAS Not enough good replicas to write."},
        {"n": 3, "t": 0.3, "what": "sent"},
        {"n": 3, "t": 0.3, "what": "unknown", "why": "the connection was closed"},
    ]
    assert noted[-2:] == [{"n": 12, "t": 1.2, "what": "read", "result": "ok"}, {"what": "end", "t": 1.3}]


def test_a_record_without_an_outcome_is_unknown_and_a_half_line_is_none(tmp_path):
    file = tmp_path / "ledger.jsonl"
    ledger = ledger_of(
        file, {"n": 1, "t": 0.1, "what": "sent"}, {"n": 1, "t": 0.2, "what": "acknowledged", "node": "a"},
        {"n": 2, "t": 0.3, "what": "sent"},
    )  # fmt: skip
    with open(file, "a") as more:
        more.write('{"n": 2, "t": 0.4, "wha')
    assert list(ledger.records()) == [Record(1, 0.1, "acknowledged", 0.2, "a"), Record(2, 0.3)]
    assert ledger.end() == (0.3, False)
    assert "breaks off at 0.3 s" in judge(KINDS["redis"](Store()), ledger, BEGAN, sleep=lambda seconds: None)["problem"]


@pytest.mark.parametrize(
    "entries",
    [
        [{"n": 2, "t": 0.1, "what": "sent"}, {"n": 1, "t": 0.2, "what": "sent"}],
        [{"n": 1, "t": 0.1, "what": "acknowledged"}],
        [{"n": 1, "t": 0.1, "what": "sent"}, {"n": 2, "t": 0.2, "what": "failed"}],
        [{"n": 1, "t": 0.1, "what": "sent"}, {"n": 1, "t": 0.2, "what": "perhaps"}],
        [{"n": 1}],
    ],
)
def test_a_file_that_is_no_ledger_is_refused(tmp_path, entries):
    with pytest.raises(LedgerError):
        list(ledger_of(tmp_path / "ledger.jsonl", *entries).records())


def test_evidence_is_never_overwritten(tmp_path):
    Book(str(tmp_path / "ledger.jsonl")).end(1.0)
    with pytest.raises(FileExistsError):
        Book(str(tmp_path / "ledger.jsonl"))


def test_memory_does_not_grow_with_the_length(tmp_path):
    """Judging 20 times as many records takes no more memory."""

    class Endless(WritePath):
        members = {"node1": None}

        def present(self, member, numbers):
            return ((number, 1) for number in numbers)

    def peak(records):
        entries = (
            line
            for number in range(1, records + 1)
            for line in (
                f'{{"n": {number}, "t": {number}, "what": "sent"}}\n',
                f'{{"n": {number}, "t": {number}.5, "what": "acknowledged", "node": "node1"}}\n',
            )
        )
        file = tmp_path / f"{records}.jsonl"
        ledger_of(file)
        with open(file, "a") as more:
            more.writelines(entries)
        tracemalloc.start()
        found = judge(Endless(), Ledger(str(file)), BEGAN)
        _now, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert (found["acknowledged"], found["missing"]) == (records, 0)
        return most

    assert peak(20_000) < peak(1_000) + 200_000


# -- the program ---------------------------------------------------------------------------------------------------------

PROGRAM = """
import sys
sys.path[:0] = [{tests!r}]
import conftest, drill_stores
from ansible_collections.utmstack.ha.plugins.module_utils.drill.ledger import ledger as drill_ledger
store = drill_stores.Store()
drill_ledger.paths = lambda settings: {{"redis": drill_stores.redis(store)}}
sys.exit(drill_ledger.main(["run", {settings!r}, {directory!r}]))
"""


@pytest.fixture
def program(tmp_path):
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps({"run": RUN, "rate": 50, "duration_s": 60, "paths": {}}))
    source = PROGRAM.format(tests=str(ROOT / "tests" / "unit"), settings=str(settings), directory=str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", source], stderr=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.wait()


def wait_for(file, text):
    for _try in range(600):
        if file.exists() and text in file.read_text():
            return
        drill_ledger.time.sleep(0.05)
    raise AssertionError(f"{file} never had {text}")


@pytest.mark.parametrize("how", ["SIGTERM", "stop"])
def test_it_ends_properly_when_told_to(program, tmp_path, how):
    file = tmp_path / "ledger" / "redis.jsonl"
    wait_for(file, '"n": 20,')
    if how == "stop":
        (tmp_path / "stop").touch()
    else:
        program.send_signal(signal.SIGTERM)
    assert program.wait(timeout=20) == 0, program.stderr.read()
    assert Ledger(str(file)).end()[1]


def test_killed_in_the_middle_it_has_noted_all_that_was_acknowledged(program, tmp_path):
    file = tmp_path / "ledger" / "redis.jsonl"
    wait_for(file, '"n": 30,')
    os.kill(program.pid, signal.SIGKILL)
    program.wait()
    records = list(Ledger(str(file)).records())
    assert len(records) >= 30
    assert all(record.outcome == "acknowledged" for record in records[:-1])
    assert not Ledger(str(file)).end()[1]


def test_all_paths_are_judged_into_one_file(tmp_path):
    stores = {kind: Store(drop={3} if kind == "redis" else ()) for kind in ALL}
    opened = {kind: KINDS[kind](store) for kind, store in stores.items()}
    settings = {"run": RUN, "rate": 100, "duration_s": 0.3, "paths": {}}
    assert drill_ledger.run(settings, str(tmp_path), lambda: False, opened) == 0
    os.remove(tmp_path / "ledger" / "elasticsearch.jsonl")
    assert drill_ledger.judge_all(settings, str(tmp_path), opened) == 0
    verdict = json.loads((tmp_path / "verdict.json").read_text())
    assert {kind: found["missing"] for kind, found in verdict.items()} == {
        "api": 0, "bank": 0, "elasticsearch": None, "postgresql": 0, "redis": 1,
    }  # fmt: skip
    assert "No such file" in verdict["elasticsearch"]["problem"]
    assert all(found.keys() == verdict["redis"].keys() for found in verdict.values())


def test_a_ledger_that_cannot_be_kept_ends_the_run_with_an_error(tmp_path, capsys):
    (tmp_path / "ledger").write_text("in the way")
    settings = {"run": RUN, "rate": 100, "duration_s": 30, "paths": {}}
    assert drill_ledger.run(settings, str(tmp_path), lambda: False, {"redis": KINDS["redis"](Store())}) == 1
    assert "The ledger of redis cannot be kept" in capsys.readouterr().err


def test_wrong_words_are_answered_with_the_usage(capsys):
    assert drill_ledger.main(["walk"]) == 2
    assert "drill_ledger run | judge | clean" in capsys.readouterr().err
