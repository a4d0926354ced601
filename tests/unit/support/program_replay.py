# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Programs in the place of real ones: each call is noted, and answered with what the real one printed and how it ended."""

from __future__ import annotations

import json
import sys
from pathlib import Path

_PROGRAM = """#!{python} -IS
import json, os, pathlib, sys
place = pathlib.Path({place!r})
asked = " ".join(sys.argv[1:])
given = sys.stdin.read() if {reads!r} else ""
with open(place / "calls", "a") as file:
    file.write(json.dumps([sys.argv[1:], given]) + "\\n")
replies = json.loads((place / "replies").read_text())
for number, reply in enumerate(replies):
    if reply["to"] in asked + "\\n" + given and not (place / f"used{{number}}").exists():
        if not reply["always"]:
            (place / f"used{{number}}").touch()
        print(reply["out"], end="")
        print(reply["err"], end="", file=sys.stderr)
        sys.exit(reply["rc"])
print("no reply to " + asked, file=sys.stderr)
sys.exit(111)
"""


class Replay:
    """One program. The first reply whose text is part of a call, or of what it reads, is given; once, unless it is said to be for always."""

    def __init__(self, directory: Path, monkeypatch, name: str, reads: bool = False):
        self.place = directory / f"{name}.replay"
        self.place.mkdir(parents=True)
        self.replies: list[dict] = []
        self._write()
        programs = directory / "programs"
        programs.mkdir(exist_ok=True)
        path = programs / name
        path.write_text(_PROGRAM.format(python=sys.executable, place=str(self.place), reads=reads))
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")

    def reply(self, to: str, out: str = "", rc: int = 0, err: str = "", always: bool = True) -> Replay:
        self.replies.append({"to": to, "out": out, "rc": rc, "err": err, "always": always})
        self._write()
        return self

    @property
    def calls(self) -> list[list[str]]:
        """The arguments of each call."""
        return [json.loads(line)[0] for line in self._lines()]

    @property
    def read(self) -> list[str]:
        """What each call read."""
        return [json.loads(line)[1] for line in self._lines()]

    def _lines(self):
        path = self.place / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def _write(self):
        (self.place / "replies").write_text(json.dumps(self.replies))
