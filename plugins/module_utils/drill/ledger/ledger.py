# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""drill_ledger run | judge | clean SETTINGS.json DIRECTORY: write numbered records, read them back, remove them.

run    writes on every path of the settings at a fixed rate until DIRECTORY/stop is there, `duration_s` is over or SIGTERM
       comes, and notes in DIRECTORY/ledger/PATH.jsonl what became of each record.
judge  reads everything back from every member and writes DIRECTORY/verdict.json.
clean  removes what run wrote into the stores.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import threading
import time

from .judge import injected_at, judge, unjudged
from .paths import paths
from .records import ACKNOWLEDGED, FAILED, UNKNOWN, Book, Failed, Ledger, LedgerError

# Every so many acknowledged records the newest one is read.
READ_EVERY = 10
STOP_LOOK_S = 0.1


def work(path, book: Book, rate: float, clock, halt) -> None:
    """Write one record after the other until halted. rate: records a second. clock: s since the start. halt: an Event.

    The schedule is fixed: what was not sent in time, as an earlier record took longer, is not made up for.
    """
    number = acknowledged = 0
    while True:
        slot = math.floor(clock() * rate) + 1
        halt.wait(slot / rate - clock())
        if halt.is_set():
            break
        number += 1
        acknowledged_now = write(path, book, number, clock)
        waited = path.lock_wait()
        if waited is not None:
            book.lock(number, clock(), waited)
        if not acknowledged_now:
            continue
        acknowledged += 1
        if acknowledged % READ_EVERY == 0:
            read(path, book, number, clock)
    book.end(clock())
    path.close()


def write(path, book: Book, number: int, clock) -> bool:
    """Write one record and note what became of it; whether it was acknowledged."""
    book.note(number, clock(), "sent")
    try:
        node = path.write(number)
    except Failed as error:
        book.note(number, clock(), FAILED, why=str(error))
    except Exception as error:  # what is not known to have failed may have been done
        book.note(number, clock(), UNKNOWN, why=str(error) or type(error).__name__)
    else:
        book.note(number, clock(), ACKNOWLEDGED, node=node)
        return True
    return False


def read(path, book: Book, number: int, clock) -> None:
    """Read the record that was acknowledged last, and note whether it is there."""
    try:
        result, why = "ok" if path.read(number) else "stale", ""
    except Exception as error:  # whatever a client's library raises
        result, why = "failed", str(error) or type(error).__name__
    book.note(number, clock(), "read", result=result, why=why)


def run(settings: dict, directory: str, asked_to_stop, opened=None) -> int:
    """All paths at once, a thread each, until asked to stop. Returns the exit code: 1 where a ledger could not be kept."""
    opened = opened or paths(settings)
    for path in opened.values():
        path.prepare()
    began, at, problems, halt = time.monotonic(), time.time(), [], threading.Event()

    def clock() -> float:
        return time.monotonic() - began

    def worker(name: str) -> None:
        try:
            book = Book(ledger_file(directory, name))
            rate = settings["paths"].get(name, {}).get("rate", settings["rate"])
            book.start(at, settings["run"], rate)
            work(opened[name], book, rate, clock, halt)
        except OSError as error:
            problems.append(f"The ledger of {name} cannot be kept: {error}")
            halt.set()

    threads = [threading.Thread(target=worker, args=(name,), name=name) for name in opened]
    for thread in threads:
        thread.start()
    stop = os.path.join(directory, "stop")
    while not (halt.is_set() or asked_to_stop() or os.path.exists(stop)) and clock() < settings["duration_s"]:
        time.sleep(STOP_LOOK_S)
    halt.set()
    for thread in threads:
        thread.join()
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    return 1 if problems else 0


def judge_all(settings: dict, directory: str, opened=None) -> int:
    """Judge every path, and write verdict.json. Returns the exit code, 0 whatever the verdict is."""
    marks = os.path.join(directory, "marks.jsonl")
    injected = 0.0
    if os.path.exists(marks):
        with open(marks, encoding="utf-8") as file:
            injected = injected_at(file)
    verdicts = {}
    for name, path in (opened or paths(settings)).items():
        try:
            verdicts[name] = judge(path, Ledger(ledger_file(directory, name)), injected)
        except (OSError, LedgerError) as error:
            verdicts[name] = unjudged(str(error))
    with open(os.path.join(directory, "verdict.json.new"), "w", encoding="utf-8") as file:
        json.dump(verdicts, file, indent=2)
        file.write("\n")
    os.replace(file.name, os.path.join(directory, "verdict.json"))
    return 0


def clean(settings: dict) -> int:
    """Remove what the paths wrote. Returns the exit code: 1 where something is left."""
    result = 0
    for name, path in paths(settings).items():
        try:
            path.clean()
        except Exception as error:  # whatever a client's library raises
            sys.stderr.write(f"The records of {name} are still there: {error}\n")
            result = 1
    return result


def ledger_file(directory: str, name: str) -> str:
    """Where a path's ledger is."""
    return os.path.join(directory, "ledger", f"{name}.jsonl")


def main(arguments: list[str]) -> int:
    """The program. Returns the exit code."""
    if len(arguments) != 3 or arguments[0] not in ("run", "judge", "clean"):
        sys.stderr.write(f"{__doc__}\n")
        return 2
    command, settings_file, directory = arguments
    with open(settings_file, encoding="utf-8") as file:
        settings = json.load(file)
    if command == "judge":
        return judge_all(settings, directory)
    if command == "clean":
        return clean(settings)
    # Not an Event: a handler that sets one while it is being waited for can wait for itself.
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: asked.append(number))
    try:
        return run(settings, directory, lambda: bool(asked))
    except Exception as error:  # one sentence for the operator, of whichever client's library
        sys.stderr.write(f"The ledger cannot start: {error}\n")
        return 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
