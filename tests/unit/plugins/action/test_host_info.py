# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The clock of a host, read by the controller's own."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ansible.template import Templar
from ansible_collections.utmstack.ha.plugins.action import host_info


@pytest.mark.parametrize(("login", "asked_again"), [(0.5, False), (7.0, True)])
def test_the_action_repeats_a_reading_that_is_not_exact(monkeypatch, login, asked_again):
    now = [1000.0]
    monkeypatch.setattr(host_info.time, "time", lambda: now[0])
    task = SimpleNamespace(args={}, check_mode=False, async_val=0, action="utmstack.ha.host_info")
    connection = SimpleNamespace(_shell=SimpleNamespace(tmpdir="unused"))
    action = host_info.ActionModule(task, connection, None, None, Templar(), None)
    commands = []

    def module(task_vars):
        now[0] += login
        return {"time": now[0] + 2.0}

    def command(text, **_options):
        commands.append(text)
        now[0] += 0.2
        return {"stdout": f"Welcome\n{now[0] + 1.9:.3f}\n"}

    monkeypatch.setattr(action, "_execute_module", module)
    monkeypatch.setattr(action, "_low_level_execute_command", command)
    clock = action.run(task_vars={})["clock"]
    assert bool(commands) is asked_again
    assert clock["uncertainty_s"] < 0.3
    assert abs(clock["offset_s"] - 2.0) <= clock["uncertainty_s"]


def test_a_host_that_cannot_be_asked_has_no_clock(monkeypatch):
    task = SimpleNamespace(args={}, check_mode=False, async_val=0, action="utmstack.ha.host_info")
    connection = SimpleNamespace(_shell=SimpleNamespace(tmpdir="unused"))
    action = host_info.ActionModule(task, connection, None, None, Templar(), None)
    monkeypatch.setattr(action, "_execute_module", lambda task_vars: {"unreachable": True, "msg": "no route"})
    assert action.run(task_vars={}) == {"unreachable": True, "msg": "no route"}
