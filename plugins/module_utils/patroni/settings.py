# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who has set what in a cluster's dynamic configuration: what runs have set is noted in it, and goes when it is wanted no more.

The note is a key of its own, which Patroni stores and passes over (3.0 to 4.1: it takes only the keys that it knows). It has the form
of the configuration and the values that were set, so what an operator has changed since by `patronictl edit-config` is told from it.
Note and settings are changed by one request. A path is a tuple of keys, such as ("postgresql", "parameters", "work_mem").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..postgresql import parameters as postgresql
from . import cluster as patroni
from . import rules as postgresql_rules

PARAMETERS = ("postgresql", "parameters")
# What Patroni itself keeps there, by `patronictl pause`.
_STATE = ("pause",)


def leaves(config: Mapping[str, Any], path: tuple = ()) -> dict[tuple, Any]:
    """Path to value of all that is no dictionary; an empty dictionary counts as a value."""
    found = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            found.update(leaves(value, (*path, key)))
        else:
            found[*path, key] = value
    return found


def tree(values: Mapping[tuple, Any]) -> dict:
    """The configuration that has these leaves."""
    config: dict = {}
    for path, value in values.items():
        place = config
        for key in path[:-1]:
            place = place.setdefault(key, {})
        if value == {}:
            place.setdefault(path[-1], {})
        else:
            place[path[-1]] = value
    return config


def _same(path, one, other):
    return postgresql.same(str(path[-1]).lower() if path[:2] == PARAMETERS else "", one, other)


def _named(path, asked):
    """Whether a setting is wanted: itself, or as a part of what is, or as what has parts that are. An empty dictionary has no parts."""
    return any(one[: len(path)] == path or (value != {} and path[: len(one)] == one) for one, value in asked.items())


def plan(
    current: Mapping[str, Any], wanted: Mapping[str, Any], owner: str, earlier: Mapping[str, Any], later: Iterable = ()
) -> dict:
    """What to send so that `current` becomes what is `wanted`, and what runs have set before goes where it is wanted no more.

    owner: the key of the note. earlier: what counts as noted where there is no note yet. later: parameters of PostgreSQL that are left as
    they are for now. Returns {patch, removed: names that go back to their defaults, foreign: name to value of what nobody here has set}.
    """
    note = current.get(owner)
    noted = leaves(note if isinstance(note, Mapping) else earlier)
    own = {key: value for key, value in current.items() if key != owner and key not in _STATE}
    present, asked = leaves(own), leaves(wanted)
    kept = {path: value for path, value in asked.items() if not (path[:2] == PARAMETERS and path[-1] in later)}
    gone = [
        path
        for path, value in noted.items()
        if not _named(path, asked) and path in present and _same(path, present[path], value)
    ]
    patch = patroni.plan_config(current, tree({**dict.fromkeys(gone), **kept}))
    after = patroni.merge(own, {key: value for key, value in patch.items() if key != owner})
    waiting = {path: noted[path] for path in asked if path not in kept and path in noted}
    set_now = {path: value for path, value in kept.items() if value is not None} | waiting
    new = tree(set_now)
    if leaves(new) != leaves(note if isinstance(note, Mapping) else {}):
        # Keys that are gone need a null each: Patroni merges.
        patch[owner] = patroni.merge_patch(note if isinstance(note, Mapping) else {}, new)
    foreign = {path: value for path, value in leaves(after).items() if not _named(path, asked)}
    return {
        "patch": patch,
        "removed": sorted(".".join(map(str, path)) for path in gone),
        "foreign": {".".join(map(str, path)): value for path, value in sorted(foreign.items(), key=str)},
    }


def untried(current: Mapping[str, Any], wanted: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters, with the wanted values, that a server takes over at a start only and that no server has been seen to start with.

    Not among them: what differs from what the leader runs with (its restart is pending, so the present value is unproven as well, and the
    sooner it is taken back the better); what goes back to its default; and anything where nobody leads, since then nobody serves.
    """
    leader = next((member for member in status["members"] if member["name"] == status["leader"]), None)
    if leader is None:
        return {}
    pending = {name.lower() for name in leader["pending_restart_reason"]}
    if leader["pending_restart"] and not pending:
        return {}  # Patroni 3 does not say which: any of them may be one that has to go.
    old, new = patroni.parameters(current), patroni.parameters(wanted)
    changed = {
        name: value
        for name, value in new.items()
        if value is not None and (name not in old or not postgresql.same(name.lower(), old[name], value))
    }
    return {name: changed[name] for name in sorted(postgresql_rules.tried(changed)) if name.lower() not in pending}


def trial_members(status: Mapping[str, Any], present: Iterable[str]) -> dict[str, Any]:
    """Who tries parameters: {down: members whose PostgreSQL does not run anyway, standby: who may be restarted for it or none, reason,
    stuck: standbys whose PostgreSQL runs and takes no session, so that Patroni can't give it other settings either}.

    present: members that this run reaches. The only synchronous standby stays: the leader would wait for it at each write.
    """
    members, present = status["members"], set(present)
    here = [member for member in members if member["reachable"] and member["name"] in present]
    found = {
        "down": [member["name"] for member in here if _failed(member["state"])],
        "stuck": [one["name"] for one in here if one["state"] == "unknown" and one["role"] not in patroni.LEADERS],
        "standby": None,
        "reason": "",
    }
    sound = [member for member in members if not patroni.member_faults(member, status)]
    able = [member for member in sound if member["name"] in present and member["role"] not in patroni.LEADERS]
    synchronous = [member for member in sound if member["role"] in patroni.SYNCHRONOUS]
    if len(synchronous) == 1:
        able = [member for member in able if member not in synchronous]
    if len(members) < 3:
        return {**found, "reason": "fewer than three members are there"}
    if not able:
        return {**found, "reason": "no standby can be spared for it now"}
    asynchronous = [member for member in able if member["role"] not in patroni.SYNCHRONOUS]
    return {**found, "standby": (asynchronous or able)[0]["name"]}


def _failed(state):
    return state in ("start failed", "crashed", "stopped") or state.startswith("restart failed")
