# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""keeper undo [ID]: one fault on this host, noted, its undo armed, injected, seen to have taken effect, and undone.

A module imports this file, and hosts have it as a program, which needs nothing but Python: a timer of systemd runs `keeper undo ID`
when nobody else did in time. What was injected stands in NOTES/ID.json before it is injected, so that whoever comes next finds and
undoes it.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from .host import Fault, FaultError, Host, Refused
from .kinds import KINDS
from .lock import NOTES, Lock, alone, write

# The package that this file is in, on a host, and the name that it has in there.
PACKAGE = "/usr/local/lib/utmstack-ha/python/utmstack_ha"
PROGRAM = "drill.fault.keeper"
UNIT = "utmstack-ha-drill-undo-{}"
# How long an undone fault may take until nothing is seen of it any more.
UNDONE_S = 90


class Keeper:
    """Notes what is injected here, and sees to it that it is undone."""

    def __init__(self, notes: str = NOTES, package: str = PACKAGE, host: Host | None = None):
        self.notes, self.package, self.host = Path(notes), Path(package), host or Host()

    def refusal(self, fault: Fault) -> str:
        """Why this host can't have the fault; empty where it can. Changes nothing."""
        try:
            KINDS[fault["kind"]].prepare(fault, self.host)
        except Refused as error:
            return str(error)
        return ""

    def inject(self, ident: str, fault: Fault, limit_s: float, effect_s: float) -> dict[str, float]:
        """Have a fault, undone by a timer after limit_s at the latest; at once where it takes no effect within effect_s.

        Returns when it was injected and when it had taken effect, in seconds since 1970. Raises Refused, FaultError.
        """
        with alone(self.notes):
            if left := self.found():
                raise Refused(f"the fault {left[0]} is still there. Run drill.yml -e scenario=cleanup")
            kind = KINDS[fault["kind"]]
            memory = kind.prepare(fault, self.host)
            write(self._note(ident), {"id": ident, "fault": dict(fault), "memory": memory, "noted": time.time()})
            try:
                self._arm(ident, limit_s)
                began, since = time.time(), time.monotonic()
                kind.inject(fault, memory, self.host)
                self._until(lambda: kind.effect(fault, memory, self.host), effect_s, "took no effect")
            except BaseException:
                self._undo(ident)
                raise
        return {"injected": began, "effect": began + time.monotonic() - since}

    def undo(self, ident: str) -> float | None:
        """Undo a fault, and forget it. Returns when it was undone, or None where there was none. Raises FaultError."""
        with alone(self.notes):
            return self._undo(ident)

    def found(self) -> list[str]:
        """The faults that are noted here."""
        return sorted(path.stem for path in self.notes.glob("*.json"))

    def _undo(self, ident):
        path = self._note(ident)
        if not path.exists():
            return None
        note = json.loads(path.read_text())
        kind, fault, memory = KINDS[note["fault"]["kind"]], note["fault"], note["memory"]
        kind.undo(fault, memory, self.host)
        undone = time.time()
        self._until(lambda: kind.remains(fault, memory, self.host), UNDONE_S, "is not undone")
        path.unlink()
        self._disarm(ident)
        return undone

    @staticmethod
    def _until(missing, seconds, what):
        deadline = time.monotonic() + seconds
        while why := missing():
            if time.monotonic() > deadline:
                raise FaultError(f"The fault {what} in {seconds:g} s: {why}.")
            time.sleep(0.1)

    def _arm(self, ident, limit_s):
        if self._has_systemd():
            self.host.run(
                ["systemd-run", "--collect", f"--unit={UNIT.format(ident)}", f"--on-active={limit_s:g}s",
                 "--timer-property=AccuracySec=1s", "--property=Restart=on-failure", "--property=RestartSec=5s",
                 f"--working-directory={self.package.parent}", "--setenv=PYTHONDONTWRITEBYTECODE=1",
                 "/usr/bin/python3", "-m", f"{self.package.name}.{PROGRAM}", "undo", ident]
            )  # fmt: skip
            return
        # A controller need not have systemd. Nothing is held open, so that this outlives the run.
        subprocess.Popen(
            [sys.executable, "-m", f"{self.package.name}.{PROGRAM}", "later", ident, str(limit_s), str(self.notes)],
            cwd=self.package.parent, start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def _disarm(self, ident):
        # Within the timer's own service there is nothing to stop any more; `later` ends when the note is gone.
        if self._has_systemd():
            with contextlib.suppress(FaultError):
                self.host.run(["systemctl", "stop", f"{UNIT.format(ident)}.timer"])

    def _has_systemd(self):
        return str(self.notes) == NOTES and os.path.isdir("/run/systemd/system")

    def _note(self, ident):
        return self.notes / f"{ident}.json"


def later(keeper: Keeper, ident: str, seconds: float) -> None:
    """Undo a fault after a time, unless it is gone before."""
    deadline = time.monotonic() + seconds
    while ident in keeper.found():
        if time.monotonic() >= deadline:
            with contextlib.suppress(FaultError):
                keeper.undo(ident)
        time.sleep(1)


def main(arguments: Sequence[str]) -> int:
    """Undo one fault, or all that are noted here and the lock with them; `later` is what the controller leaves running."""
    if arguments[:1] == ["later"]:
        later(Keeper(arguments[3]), arguments[1], float(arguments[2]))
        return 0
    if arguments[:1] != ["undo"] or len(arguments) > 2:
        sys.stderr.write("usage: keeper undo [ID]\n")
        return 2
    keeper, failed = Keeper(), 0
    if not arguments[1:]:
        Lock(str(keeper.notes)).free()
    for ident in arguments[1:] or keeper.found():
        try:
            keeper.undo(ident)
        except FaultError as error:
            sys.stderr.write(f"{ident}: {error}\n")
            failed = 1
    return failed


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
