# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""When the bank beside the tests of operations takes its accounts for right."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "testinfra"))

from bank import Bank  # noqa: E402

CLUSTER = SimpleNamespace(
    vip="10.0.1.100", hosts={"node1": "10.0.1.11"}, ca="/ca.crt", passwords={"postgresql_drill_password": "secret"}
)
FINE = {"sum_right": True, "missing": 0, "twice": 0, "lock_wait_s": None}


@pytest.mark.parametrize(
    ("changes", "right", "waited"),
    [
        ({}, True, None),
        ({"lock_wait_s": 77.5}, True, 77.5),
        ({"sum_right": False}, False, None),
        ({"missing": 1}, False, None),
        ({"twice": 1}, False, None),
        (dict.fromkeys(FINE), False, None),
    ],
    ids=["kept", "kept after a wait", "a wrong sum", "a transfer lost", "one made twice", "nothing read back"],
)
def test_both_clients_must_have_kept_everything(changes, right, waited):
    bank = Bank(CLUSTER)
    bank.verdicts = {"bank": FINE, "bank_direct": FINE | changes}
    assert bank.figures == {"sum_right": right, "lock_wait_s": waited}
