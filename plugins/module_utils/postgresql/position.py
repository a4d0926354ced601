# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How far PostgreSQL's data on a host go: the timeline, and where its WAL ends. From files alone, whether a server runs or not.

pg_control alone does not say: of a standby it has the last restart point, and of what was received after it nothing. So the WAL is read from
there to its last valid record, by pg_waldump. `run` is how commands are run, as AnsibleModule.run_command.

A primary that is stopped cleanly ends its WAL with a checkpoint of its own, before which it switches to a new segment where it archives. These
two records change no data: a standby that lacks only them has all data.
"""

from __future__ import annotations

import re
from pathlib import Path

from . import data as postgresql_data

PAGE = 8192
_LSN = r"([0-9A-F]+/[0-9A-F]+)"
# Of pg_waldump: the end as it is told by 15 and 17.
_AT_END = re.compile(rf"error in WAL record at {_LSN}: (.*)")
_INVALID = re.compile(
    rf"(?:record length|checksum in record|resource manager ID \d+|contrecord \S+|prev-link \S+) at {_LSN}"
)
_IN_SEGMENT = re.compile(r"in (?:log|WAL) segment ([0-9A-F]{24})(?:, LSN \S+)?, offset (\d+)")
_NO_FILE = re.compile(r'could not (?:find|open) file "([0-9A-F]{24})"')
# The records that a clean stop writes last.
_STOP = re.compile(rf"rmgr: XLOG .* lsn: {_LSN}, prev {_LSN}, desc: (?:CHECKPOINT_SHUTDOWN|SWITCH)\b")


def look(run, directory: str) -> dict:
    """Return version, system_identifier, state, timeline (number), lsn and data_lsn (texts) of the data in a directory, and whether a server runs there.

    lsn is the end of the WAL, data_lsn where the records begin that a clean stop has written last. timeline is 0 where there are no data, or none
    that can be read.
    """
    version = postgresql_data.read(Path(directory, "PG_VERSION"))
    nothing = {
        "version": version,
        "system_identifier": "",
        "state": "",
        "timeline": 0,
        "lsn": "",
        "data_lsn": "",
        "running": False,
    }
    program = f"/usr/lib/postgresql/{version}/bin/pg_controldata"
    if not version or postgresql_data.control(directory) != "present" or not Path(program).exists():
        return nothing
    code, out, _errors = run([program, directory], environ_update={"LC_ALL": "C"})
    if code != 0:
        return nothing
    control = parse(out)
    wal, reader = Path(directory, "pg_wal"), f"/usr/lib/postgresql/{version}/bin/pg_waldump"
    timeline, lsn = end(run, reader, wal, control)
    return {
        "version": version,
        "system_identifier": control["system_identifier"],
        "state": control["state"],
        "timeline": timeline,
        "lsn": text(lsn),
        "data_lsn": text(before_stop(run, reader, wal, control, (timeline, lsn))),
        "running": postgresql_data.running(directory),
    }


def parse(output: str) -> dict:
    """Return what counts here of pg_controldata's output; positions as numbers."""
    said = {
        name.strip(): value.strip() for name, _colon, value in (line.partition(":") for line in output.splitlines())
    }
    return {
        "system_identifier": said["Database system identifier"],
        "state": said["Database cluster state"],
        "redo": number(said["Latest checkpoint's REDO location"]),
        "checkpoint": number(said["Latest checkpoint location"]),
        "timeline": int(said["Latest checkpoint's TimeLineID"]),
        "recovered": number(said["Minimum recovery ending location"]),
        "recovered_timeline": int(said["Min recovery ending loc's timeline"]),
        "segment": int(said["Bytes per WAL segment"]),
    }


def end(run, program: str, wal: Path, control: dict) -> tuple[int, int]:
    """Return timeline and position of the end of the WAL in a directory; what pg_control says where no WAL goes farther."""
    known = max((control["timeline"], control["checkpoint"]), (control["recovered_timeline"], control["recovered"]))
    segments: dict[int, list[str]] = {}
    for path in wal.iterdir():
        if re.fullmatch(r"[0-9A-F]{24}", path.name):
            segments.setdefault(int(path.name[:8], 16), []).append(path.name)
    for timeline in sorted(segments, reverse=True):
        if timeline < known[0]:
            break
        first = start_of(min(segments[timeline]), control["segment"])
        begin = max(first, control["redo"]) if timeline == control["timeline"] else first
        arguments = [program, "--quiet", f"--path={wal}", f"--timeline={timeline}", f"--start={text(begin)}"]
        _code, _out, errors = run(arguments, environ_update={"LC_ALL": "C"})
        found = end_in(errors, control["segment"])
        if found is not None and found > begin:
            return max(known, (timeline, found))
    return known


def end_in(errors: str, segment: int) -> int | None:
    """Return the end of the WAL by the error with which pg_waldump ended there; None where it has read no record."""
    missing = _NO_FILE.search(errors)
    if missing:
        return start_of(missing[1], segment)
    told = _AT_END.search(errors)
    if not told:
        return None
    place, invalid = _IN_SEGMENT.search(told[2]), _INVALID.search(told[2])
    found = start_of(place[1], segment) + int(place[2]) if place else number(invalid[1] if invalid else told[1])
    return before_header(found, segment)


def before_stop(run, program: str, wal: Path, control: dict, found: tuple[int, int]) -> int:
    """Return where the records begin that a clean stop has written last; the end that was found, (timeline, position), where it wrote none."""
    timeline, lsn = found
    if timeline != control["timeline"]:
        return lsn

    def read(begin: int, count: int) -> list[str]:
        arguments = [program, f"--path={wal}", f"--timeline={timeline}", f"--start={text(begin)}", f"--limit={count}"]
        return run(arguments, environ_update={"LC_ALL": "C"})[1].splitlines()

    begin, records = lsn, read(control["checkpoint"], 2)
    # What follows the checkpoint of pg_control makes it none of a stop.
    while len(records) == 1 and (stop := _STOP.match(records[0])):
        begin = number(stop[1])
        records = read(number(stop[2]), 1)
    return before_header(begin, control["segment"])


def before_header(lsn: int, segment: int) -> int:
    """Return a position as the begin of its page where only the page's header lies between: 24 bytes, or 40 at the begin of a file.

    That of a page that has no record yet is written or is not.
    """
    header = 40 if lsn % segment < PAGE else 24
    return lsn - lsn % PAGE if lsn % PAGE <= header else lsn


def start_of(name: str, segment: int) -> int:
    """Return the position at which a file of WAL begins, by its name."""
    return int(name[8:16], 16) * (1 << 32) + int(name[16:], 16) * segment


def number(lsn: str) -> int:
    """Return a position as a number.

    >>> number("1/0000002A")
    4294967338
    """
    high, _slash, low = lsn.partition("/")
    return (int(high, 16) << 32) + int(low, 16)


def text(lsn: int) -> str:
    """Return a position as PostgreSQL writes it."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"
