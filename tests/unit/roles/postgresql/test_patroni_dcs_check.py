# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""When a Patroni that does not reach etcd is restarted. What is doubled: the answers of Patroni and etcd."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parents[4] / "roles" / "postgresql" / "files" / "patroni_dcs_check.py"
CONFIG = {
    "restapi": {"connect_address": "10.0.1.12:8008"},
    "etcd3": {"hosts": ["10.0.1.11:2379", "10.0.1.12:2379"], "username": "patroni", "password": "secret"},
}
NOW, LIMIT = 10_000.0, 60.0


@pytest.fixture(scope="module")
def check():
    spec = importlib.util.spec_from_file_location("patroni_dcs_check", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def answers(seen: float | None, tokens: dict[str, str | None]):
    """A network in which Patroni says when it reached etcd, None where it is silent, and etcd's members give these tokens."""

    def ask(url: str, body: dict | None) -> dict:
        if url == "https://10.0.1.12:8008/patroni":
            if seen is None:
                raise OSError("refused")
            return {"state": "running", "dcs_last_seen": seen}
        assert (url.endswith("/v3/auth/authenticate"), body) == (True, {"name": "patroni", "password": "secret"})
        token = tokens.get(url.split("/")[2])
        if token is None:
            raise OSError("timed out")
        return {"header": {}, "token": token}

    return ask


ALL = {"10.0.1.11:2379": "t1", "10.0.1.12:2379": "t2"}


@pytest.mark.parametrize(
    ("seen", "started", "tokens", "stuck"),
    [
        pytest.param(NOW - 3, 0, ALL, False, id="it reaches etcd"),
        pytest.param(NOW - 61, 0, ALL, True, id="it does not, and etcd lets its user in"),
        pytest.param(NOW - 61, 0, {"10.0.1.12:2379": "t2"}, True, id="one member of etcd is away"),
        pytest.param(NOW - 61, 0, {}, False, id="etcd lets nobody in, as without a quorum"),
        pytest.param(0, NOW - 30, ALL, False, id="it has just started"),
        pytest.param(0, NOW - 61, ALL, True, id="it has never reached etcd since its start"),
        pytest.param(None, 0, ALL, False, id="Patroni is silent, as while it starts"),
    ],
)
def test_a_patroni_is_restarted_only_where_etcd_is_not_the_cause(check, seen, started, tokens, stuck):
    assert check.is_stuck(CONFIG, started, NOW, LIMIT, answers(seen, tokens)) is stuck
