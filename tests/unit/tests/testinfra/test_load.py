# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the tests' users of the application take for acknowledged, failed and unknown."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "testinfra"))

from load import Load, chunks  # noqa: E402

DONE = (200, {"replica": "node1"})
REFUSED = (503, {"failed": ["redis"], "stores": {"redis": {"error": "no master"}}})
BALANCER = (503, {})


def broken(sent: bool) -> OSError:
    error = ConnectionResetError("reset")
    error.sent = sent
    return error


class Line:
    """A connection that meets what the list says, one after the other."""

    def __init__(self, *script):
        self.script = list(script)

    def ask(self, method, path, body):
        met = self.script.pop(0)
        if isinstance(met, Exception):
            raise met
        return met


@pytest.mark.parametrize(
    ("script", "result"),
    [
        ([DONE], "acknowledged"),
        ([REFUSED, DONE], "acknowledged"),
        ([BALANCER, DONE], "acknowledged"),
        ([broken(sent=True), DONE], "acknowledged"),
        ([REFUSED, REFUSED, DONE], "failed"),
        ([broken(sent=False), broken(sent=False)], "failed"),
        ([broken(sent=True), broken(sent=False)], "unknown"),
        ([broken(sent=True), REFUSED], "unknown"),
        ([REFUSED, broken(sent=True)], "unknown"),
    ],
)
def test_an_event_is_acknowledged_only_by_the_application_itself(script, result, monkeypatch):
    monkeypatch.setattr("load.PAUSE", 0.001)
    load = Load(cluster=None)
    load._send(Line(*script), 7)
    for name in ("acknowledged", "failed", "unknown"):
        assert getattr(load.outcome, name) == ({7} if name == result else set()), name


def test_reasons_are_counted_by_store():
    load = Load(cluster=None)
    load._send(Line(REFUSED, DONE), 1)
    assert dict(load.outcome.reasons) == {"503 redis: no master": 1}
    assert dict(load.outcome.replicas) == {"node1": 1}


def test_ids_are_asked_for_in_portions():
    assert [len(chunk) for chunk in chunks(map(str, range(2500)))] == [1000, 1000, 500]
