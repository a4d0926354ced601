# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The drill's ledger as a file: one JSON object a line, written as things happen and read as a stream.

A record is noted as sent before anything is sent, and its outcome as soon as it is known. Every line is handed to the
kernel in one piece, so that what was noted outlives the program. Times are seconds since the start, of a clock that never
goes back.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass

ACKNOWLEDGED, FAILED, UNKNOWN = "acknowledged", "failed", "unknown"
OUTCOMES = (ACKNOWLEDGED, FAILED, UNKNOWN)
# More than the longest line.
_TAIL_BYTES = 4096
_WHY_CHARACTERS = 300


class Failed(Exception):
    """The write did not happen: nothing was sent, or the server refused it."""


class Unknown(Exception):
    """Nobody can say whether the write happened: no answer came after something was sent, or none that tells."""


class LedgerError(Exception):
    """A ledger's file that cannot be what this module wrote."""


@dataclass(frozen=True)
class Record:
    """One write. `sent`, `at` (of the outcome) in s; `node` that acknowledged; `read`: ok, stale, failed, or empty if not read.

    lock_wait: for how long a lock that was left behind had been in the way, in s, where that was looked at.
    """

    number: int
    sent: float
    outcome: str = UNKNOWN
    at: float | None = None
    node: str = ""
    why: str = ""
    read: str = ""
    lock_wait: float | None = None


class Book:
    """Writes a ledger. Raises FileExistsError where there is one, OSError where a line can't be written."""

    def __init__(self, path: str):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self._file = open(path, "xb", buffering=0)  # noqa: SIM115

    def start(self, at: float, run: str, rate: float) -> None:
        """The first line. at: seconds since 1970. rate: records a second."""
        self._line({"what": "start", "at": at, "t": 0.0, "run": run, "rate": rate})

    def note(self, number: int, seconds: float, what: str, **more: str) -> None:
        """One thing that happened to a record; `more` is node, why or result, left out where empty."""
        texts = {name: " ".join(text.split())[:_WHY_CHARACTERS] for name, text in more.items() if text}
        self._line({"n": number, "t": round(seconds, 4), "what": what, **texts})

    def lock(self, number: int, seconds: float, waited: float) -> None:
        """For how long a lock that was left behind has been in a record's way, in s."""
        self._line({"n": number, "t": round(seconds, 4), "what": "lock", "waited": waited})

    def end(self, seconds: float) -> None:
        """The last line."""
        self._line({"what": "end", "t": round(seconds, 4)})
        self._file.close()

    def _line(self, entry: dict) -> None:
        line = json.dumps(entry, ensure_ascii=False).encode() + b"\n"
        if self._file.write(line) != len(line):
            raise OSError(f"{self._file.name}: a line could not be written whole")


class Ledger:
    """Reads a ledger, however it ended. Raises LedgerError, or OSError where there is no file."""

    def __init__(self, path: str):
        self.path = path
        first = next(self._entries(), {})
        if first.get("what") != "start":
            raise LedgerError(f"{path} does not begin with a start")
        self.began: float = first["at"]
        self.run: str = first["run"]
        self.rate: float = first["rate"]

    def records(self) -> Iterator[Record]:
        """All records in ascending order; one without an outcome is unknown."""
        record = None
        for entry in self._entries():
            what, number = entry["what"], entry.get("n")
            if what == "sent":
                if record:
                    yield record
                    if number <= record.number:
                        raise LedgerError(f"{self.path}: record {number} comes after {record.number}")
                record = Record(number, entry["t"])
            elif number is not None:
                if record is None or number != record.number:
                    raise LedgerError(f"{self.path}: an outcome of record {number}, which was not just sent")
                record = _with(record, entry)
        if record:
            yield record

    def numbers(self) -> Iterator[int]:
        """The numbers of all records."""
        return (record.number for record in self.records())

    def end(self) -> tuple[float, bool]:
        """Until when it was kept, in s, and whether it was ended rather than broke off."""
        with open(self.path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            lines = file.read().split(b"\n")
        # What follows the last line feed is not a whole line; what precedes the first one need not be.
        last = self._decode(lines[-2])
        return last["t"], last["what"] == "end"

    def _entries(self) -> Iterator[dict]:
        with open(self.path, "rb") as file:
            for line in file:
                # The last line of a program that was killed.
                if line.endswith(b"\n"):
                    yield self._decode(line)

    def _decode(self, line: bytes) -> dict:
        try:
            entry = json.loads(line)
            entry["what"], entry["t"]
        except (ValueError, KeyError, TypeError) as error:
            raise LedgerError(f"{self.path}: not a line of a ledger: {line[:80]!r}") from error
        return entry


def _with(record: Record, entry: dict) -> Record:
    """The record and what is noted of it in one more line."""
    what = entry["what"]
    if what == "read":
        changes = {"read": entry["result"]}
    elif what == "lock":
        changes = {"lock_wait": entry["waited"]}
    elif what in OUTCOMES:
        changes = {
            "outcome": what,
            "at": entry["t"],
            "node": entry.get("node", ""),
            "why": entry.get("why", ""),
        }
    else:
        raise LedgerError(f"what is {what!r} of record {record.number}?")
    return Record(**(vars(record) | changes))
