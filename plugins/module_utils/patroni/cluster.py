# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a Patroni cluster is and what may be done to it: decisions on plain values, no network.

A status is what `status` returns: the RETURN of module patroni_info. A member's `role` is that of the cluster's leader
key (leader, standby_leader, sync_standby, quorum_standby, replica), its `state` is what its PostgreSQL does.
"""

from __future__ import annotations

from ..common.order import order
from ..postgresql import parameters as postgresql

LEADERS = ("leader", "standby_leader")
SYNCHRONOUS = ("sync_standby", "quorum_standby")
DEFAULT_MAXIMUM_LAG = 1048576
"""Patroni's own default of maximum_lag_on_failover, in bytes."""


# -- status ---------------------------------------------------------------------------------------------------------


def status(cluster, direct, config=None, history=None, expected=(), maximum_lag=None, without=()):
    """The state of a cluster, from what its members answered.

    `cluster`: body of GET /cluster, None when no member could read the DCS. `direct`: {member's base URL: body of GET
    /patroni, or a text why there was none}. `config`, `history`: bodies of those GETs. `expected`: names of members that
    should be there. `maximum_lag`: bytes above which a lag is a problem, by default maximum_lag_on_failover. `without`: names
    of members whose own faults are none of the cluster's, as of a host that is known to be away.
    """
    config = config or {}
    entries = cluster["members"] if cluster else [_entry(url, answer) for url, answer in sorted(direct.items())]
    members = [_member(entry, direct.get(api_base(entry.get("api_url", "")))) for entry in entries]
    _add_streams(members, direct)
    _add_lag(members, direct)
    leader = next((member["name"] for member in members if member["role"] in LEADERS), None)
    answers = [answer for answer in direct.values() if isinstance(answer, dict)]
    lag_limit = maximum_lag if maximum_lag is not None else _integer(config.get("maximum_lag_on_failover"))
    result = {
        "scope": next((answer["patroni"]["scope"] for answer in answers if "patroni" in answer), None),
        "leader": leader,
        "members": members,
        "timeline": next((member["timeline"] for member in members if member["name"] == leader), None),
        "synchronous_mode": synchronous_mode(config),
        "synchronous_standbys": [member["name"] for member in members if member["role"] in SYNCHRONOUS],
        "maximum_lag_bytes": DEFAULT_MAXIMUM_LAG if lag_limit is None else lag_limit,
        "paused": bool((cluster or {}).get("pause") or any(answer.get("pause") for answer in answers)),
        "failsafe_mode": postgresql.boolean(config.get("failsafe_mode", False)) or False,
        "failsafe_active": any(answer.get("failsafe_mode_is_active") for answer in answers),
        "dcs_reachable": cluster is not None,
        "pending_restart": [member["name"] for member in members if member["pending_restart"]],
        "scheduled_switchover": (cluster or {}).get("scheduled_switchover"),
        "config": config,
        "history": [_event(line) for line in history or []],
    }
    result["problems"] = problems(result, expected, without)
    result["healthy"] = not result["problems"]
    return result


def api_base(api_url):
    """The base URL of a member's REST API, from the api_url it announces."""
    return api_url.removesuffix("/patroni")


def _entry(url, answer):
    """A stand-in for a member's entry in /cluster, for when the DCS cannot be read."""
    answer = answer if isinstance(answer, dict) else {}
    name = answer.get("patroni", {}).get("name") or url.split("//")[-1].rpartition(":")[0]
    role = "leader" if answer.get("role") in ("primary", "master") else "replica"
    if answer.get("sync_standby") or answer.get("quorum_standby"):
        role = "sync_standby" if answer.get("sync_standby") else "quorum_standby"
    return {"name": name, "role": role, "state": answer.get("state", "unknown"), "api_url": url}


def _member(entry, answer):
    """One member, what it says itself going before what the DCS has heard of it up to loop_wait seconds ago."""
    unreachable = None if isinstance(answer, dict) else answer or "was not asked"
    answer = answer if isinstance(answer, dict) else {}
    known = answer or entry
    state = known.get("state", "unknown")
    replication = answer.get("replication_state") or (state if state in ("streaming", "in archive recovery") else None)
    version = answer.get("server_version")
    return {
        "name": entry["name"],
        "role": {"master": "leader", "primary": "leader"}.get(entry["role"], entry["role"]),
        "state": "running" if state in ("streaming", "in archive recovery") else state,
        "replication_state": replication,
        "replicates_from": None,
        "timeline": known.get("timeline") or None,
        "lag_bytes": entry["lag"] if isinstance(entry.get("lag"), int) else None,
        "replay_lag_bytes": None,
        "replay_paused": bool(answer.get("xlog", {}).get("paused")),
        "pending_restart": bool(known.get("pending_restart", False)) and not _settled(known),
        "pending_restart_reason": _reasons(known),
        "scheduled_restart": (known.get("scheduled_restart") or {}).get("schedule"),
        "tags": dict(known.get("tags") or {}),
        "host": entry.get("host"),
        "port": entry.get("port"),
        "api_url": api_base(entry.get("api_url", "")),
        "reachable": unreachable is None,
        "unreachable_because": unreachable,
        "patroni_version": answer.get("patroni", {}).get("version"),
        "postgresql_version": f"{version // 10000}.{version % 10000}" if version else None,
        "postmaster_start_time": answer.get("postmaster_start_time"),
        "system_identifier": answer.get("database_system_identifier"),
        "primary": answer.get("role") in ("primary", "master") and answer.get("state") == "running",
        "unlocked": bool(answer.get("cluster_unlocked")),
        "watchdog_failed": bool(answer.get("watchdog_failed")),
        "dcs_last_seen": answer.get("dcs_last_seen"),
    }


def _settled(known):
    """Whether a restart would change nothing: PostgreSQL goes on to ask for one after a value was taken back that it never had."""
    return bool(known.get("pending_restart_reason")) and not _reasons(known)


def _reasons(known):
    reasons = known.get("pending_restart_reason") or {}
    return {name: reason for name, reason in reasons.items() if reason.get("old_value") != reason.get("new_value")}


def _add_streams(members, direct):
    """Who streams from whom. Patroni before 3.1 tells only on the sending side."""
    by_name = {member["name"]: member for member in members}
    for sender in members:
        answer = direct.get(sender["api_url"])
        for stream in (answer.get("replication") or []) if isinstance(answer, dict) else []:
            receiver = by_name.get(stream.get("application_name"))
            if receiver and receiver is not sender and stream.get("state") == "streaming":
                receiver["replicates_from"] = sender["name"]
                receiver["replication_state"] = receiver["replication_state"] or "streaming"


def _add_lag(members, direct):
    """Lag in bytes from the members' own positions, which are fresher than the DCS."""
    leader = next((member for member in members if member["role"] in LEADERS), None)
    position = _xlog(direct.get(leader["api_url"])).get("location") if leader else None
    for member in members:
        xlog = _xlog(direct.get(member["api_url"]))
        if leader is None or position is None or member is leader or xlog.get("replayed_location") is None:
            continue
        replayed = xlog["replayed_location"]
        member["lag_bytes"] = max(0, position - max(replayed, xlog.get("received_location") or 0))
        member["replay_lag_bytes"] = max(0, position - replayed)


def _xlog(answer):
    return answer.get("xlog", {}) if isinstance(answer, dict) else {}


def _event(line):
    names = ("timeline", "lsn", "reason", "timestamp", "new_leader")
    return dict(zip(names, list(line) + [None] * len(names), strict=False))


def _integer(value):
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def synchronous_mode(config):
    """The dynamic configuration's synchronous mode in one word: off, on, strict or quorum."""
    value = config.get("synchronous_mode", False)
    if str(value).lower() == "quorum":
        return "quorum"
    if not postgresql.boolean(value):
        return "off"
    return "strict" if postgresql.boolean(config.get("synchronous_mode_strict", False)) else "on"


# -- health ---------------------------------------------------------------------------------------------------------


def problems(status, expected=(), without=()):
    """Why the cluster is not healthy, a sentence each. A pending restart and a lost reply of history are none."""
    members, leader = status["members"], status["leader"]
    missing = [name for name in expected if name not in _names(members) and name not in without]
    found = [f"{name} is not a member of the cluster." for name in missing]
    if not status["dcs_reachable"]:
        found.append("No member can read the cluster's state in the DCS.")
    if status["failsafe_active"]:
        found.append("Failsafe mode is active: the primary goes on without the DCS, and there is no failover.")
    if leader is None:
        found.append("No member holds the leader lock.")
    primaries = [member["name"] for member in members if member["primary"]]
    if len(primaries) > 1:
        found.append(f"{' and '.join(primaries)} all run as primary.")
    if status["paused"]:
        found.append("The cluster is paused (maintenance mode): there is no automatic failover.")
    for member in members:
        if member["name"] not in without:
            found += [f"{member['name']} {fault}." for fault in member_faults(member, status)]
    wants_standby = status["synchronous_mode"] != "off" and (len(members) > 1 or len(expected) > 1)
    if wants_standby and status["dcs_reachable"] and not status["synchronous_standbys"]:
        found.append(f"synchronous_mode is {status['synchronous_mode']}, but no member is a synchronous standby.")
    return found


def _names(members):
    return [member["name"] for member in members]


def member_faults(member, status):
    """What is wrong with one member, in words that follow its name."""
    if not member["reachable"]:
        return [f"does not answer at {member['api_url']}: {member['unreachable_because']}"]
    faults = []
    leads = member["role"] in LEADERS
    if member["state"] != "running":
        faults.append(f"is in state '{member['state']}', not running")
    elif member["role"] == "leader" and not member["primary"]:
        faults.append("holds the leader lock, but its PostgreSQL is not primary")
    elif not leads and member["primary"]:
        faults.append("runs as primary without the leader lock")
    elif not leads and member["replication_state"] != "streaming":
        faults.append(f"does not stream (replication state: {member['replication_state'] or 'none'})")
    if not leads and member["timeline"] and status["timeline"] and member["timeline"] != status["timeline"]:
        faults.append(f"is on timeline {member['timeline']}, the leader on {status['timeline']}")
    if not leads and (member["lag_bytes"] or 0) > status["maximum_lag_bytes"]:
        faults.append(f"lags by {member['lag_bytes']} bytes, more than {status['maximum_lag_bytes']}")
    if member["replay_paused"]:
        faults.append("has its WAL replay paused")
    if member["watchdog_failed"]:
        faults.append("cannot use its watchdog")
    leader = next((other for other in status["members"] if other["name"] == status["leader"]), None)
    identifiers = {one["system_identifier"] for one in (member, leader) if one and one["system_identifier"]}
    if len(identifiers) > 1:
        faults.append("has the database of another cluster (its system identifier differs from the leader's)")
    return faults


def new_faults(before, after):
    """What is wrong in status `after` that was not in status `before`, sentences: for who acts on a cluster and waits until
    it is as whole as it was.
    """
    sound = [member["name"] for member in before["members"] if not member_faults(member, before)]
    found = [f"{name} is not a member of the cluster." for name in sound if name not in _names(after["members"])]
    for member in after["members"]:
        if member["name"] in sound:
            found += [f"{member['name']} {fault}." for fault in member_faults(member, after)]
    if before["leader"] and not after["leader"]:
        found.append("No member holds the leader lock.")
    if before["synchronous_standbys"] and not after["synchronous_standbys"]:
        found.append("No member is a synchronous standby.")
    return found


# -- dynamic configuration ------------------------------------------------------------------------------------------


def plan_config(current, wanted):
    """The smallest PATCH that makes `current` what `wanted` asks for, {} when it is so already.

    `wanted` is merged into `current`: a null removes, a dictionary is merged, all else replaces. Values that PostgreSQL or
    Patroni would read as the same are left alone.
    """
    return _plan(current, wanted, ())


def _plan(current, wanted, path):
    patch = {}
    for key, value in wanted.items():
        here, old = (*path, key), current.get(key)
        if value is None:
            if key in current:
                patch[key] = None
        elif isinstance(value, dict):
            # Patroni stores a new dictionary as it comes, nulls and all.
            part = _plan(old, value, here) if isinstance(old, dict) else _without_nulls(value)
            if part or not isinstance(old, dict):
                patch[key] = part
        elif key not in current or not postgresql.same(_parameter(here), old, value):
            patch[key] = _typed(old, value)
    return patch


def _parameter(path):
    return str(path[-1]).lower() if path[:2] == ("postgresql", "parameters") else ""


def _without_nulls(value):
    return {k: _without_nulls(v) if isinstance(v, dict) else v for k, v in value.items() if v is not None}


def _typed(old, value):
    """`value` as a number where the present one is a number: templates turn numbers into strings."""
    if isinstance(old, int) and not isinstance(old, bool) and isinstance(value, str) and value.strip().isdigit():
        return int(value)
    return value


def merge(current, patch):
    """What Patroni makes of `current` when it gets `patch`."""
    merged = dict(current)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def merge_patch(current, wanted):
    """The PATCH that makes `current` exactly `wanted`, two dictionaries: what is not named goes."""
    patch = {key: None for key in current if key not in wanted}
    for key, value in wanted.items():
        old = current.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            if part := merge_patch(old, value):
                patch[key] = part
        elif key not in current or type(old) is not type(value) or old != value:
            patch[key] = value
    return patch


def parameters(config):
    """The PostgreSQL parameters of a dynamic configuration."""
    return (config.get("postgresql") or {}).get("parameters") or {}


def config_faults(config, patch, versions=()):
    """Why Patroni must not be given `patch`, which would make its configuration `config`; sentences.

    `versions`: those of the members' Patroni, as far as they are known. Limits: Patroni's documentation of its dynamic
    configuration; outside of them it silently uses other values.
    """
    faults = []
    timing = {"ttl": (30, 20), "loop_wait": (10, 1), "retry_timeout": (10, 3)}
    if set(timing) & set(patch):
        value = {}
        for name, (default, least) in timing.items():
            value[name] = _integer(config.get(name, default))
            if value[name] is None or value[name] < least:
                faults.append(f"{name} is {config.get(name)!r}, but Patroni takes whole seconds from {least} on.")
        if not faults and value["loop_wait"] + 2 * value["retry_timeout"] > value["ttl"]:
            faults.append(
                f"loop_wait + 2 * retry_timeout is {value['loop_wait']} + 2 * {value['retry_timeout']} ="
                f" {value['loop_wait'] + 2 * value['retry_timeout']}, more than ttl ({value['ttl']}):"
                " raise ttl or lower the others."
            )
    old = [version for version in versions if version and int(version.split(".")[0]) < 4]
    if old and "synchronous_mode" in patch and synchronous_mode(config) == "quorum":
        faults.append(
            f"synchronous_mode quorum needs Patroni 4 on every member, but {old[0]} runs on one, which takes it for off."
        )
    return faults


def config_change(before, after):
    """What a change from `before` to `after`, two dynamic configurations, means for the PostgreSQL servers.

    Returns {restart_parameters: names that a server takes over only by a restart, lowered: those of the five
    shared-memory parameters that go down, raised: those that go up}.
    """
    old, new = parameters(before), parameters(after)
    changed = [n for n in {*old, *new} if not postgresql.same(n.lower(), old.get(n), new.get(n))]
    return {
        "restart_parameters": postgresql.needs_restart(changed),
        "lowered": postgresql.lowered(old, new),
        "raised": postgresql.raised(old, new),
    }


def strays(members, given, hosts):
    """Names of those of `hosts` whose member streams from one that a tag names, which is not the user's: a run has left it so.

    `members`: those of a status. `given`: {name: tags that the inventory gives that member}.
    """
    return [
        member["name"]
        for member in members
        if "replicatefrom" in member["tags"]
        and member["name"] in hosts
        and "replicatefrom" not in given.get(member["name"], {})
    ]


def restart_order(members, lowered=(), raised=(), only_pending=False, present=None):
    """Names of members in the order in which to restart them, the same wherever it is computed.

    Standbys first, asynchronous before synchronous ones, the leader last. Where one of the five shared-memory parameters
    goes down, the leader first: a standby must not have less than its primary. Where some go down and others up, standbys,
    leader, and the standbys once more, which then take over what they could not before. Besides `lowered` and `raised`
    the members' own reasons (Patroni 4) count, so that a later run finds the order again. `present`: the members that can be
    restarted now, all without it. A leader stays as it is where a parameter goes up and a standby that runs can't have it first.
    """
    lowered, raised = set(lowered), set(raised)
    for member in members:
        for name, values in member.get("pending_restart_reason", {}).items():
            change = {name: values.get("old_value")}, {name: values.get("new_value")}
            lowered.update(postgresql.lowered(*change))
            raised.update(postgresql.raised(*change))
    chosen = [member for member in members if member.get("pending_restart") or not only_pending]
    rank = {"replica": 0, "quorum_standby": 1, "sync_standby": 2}
    standbys = sorted(member["name"] for member in chosen if member["role"] not in LEADERS)
    standbys = order(standbys, late={member["name"]: rank.get(member["role"], 0) for member in chosen})
    leaders = _names(m for m in chosen if m["role"] in LEADERS)
    if present is not None:
        running = [member["name"] for member in chosen if member.get("reachable", True)]
        left_behind = [name for name in standbys if name not in present and name in running]
        standbys = [name for name in standbys if name in present]
        leaders = [] if raised and left_behind else [name for name in leaders if name in present]
    if not lowered or not leaders:
        return standbys + leaders
    return standbys + leaders + standbys if raised else leaders + standbys


# -- switchover -----------------------------------------------------------------------------------------------------


def candidate_faults(name, status, maximum_lag):
    """Why `name` cannot take over from the leader now, in words that follow its name; [] when it can.

    `maximum_lag` in bytes. In synchronous mode only a synchronous standby is sure to have every acknowledged write.
    """
    member = next((member for member in status["members"] if member["name"] == name), None)
    if member is None:
        return ["is not a member of the cluster"]
    faults = member_faults(member, {**status, "maximum_lag_bytes": maximum_lag})
    if member["reachable"] and not faults and (member["replay_lag_bytes"] or 0) > maximum_lag:
        faults.append(f"has {member['replay_lag_bytes']} bytes of WAL to replay, more than {maximum_lag}")
    if (
        postgresql.boolean(member["tags"].get("nofailover", False))
        or str(member["tags"].get("failover_priority")) == "0"
    ):
        faults.append("has a tag that forbids it to become primary")
    mode = status["synchronous_mode"]
    if mode != "off" and member["role"] not in SYNCHRONOUS:
        faults.append(f"is no synchronous standby, while synchronous_mode is {mode}")
    return faults


def plan_switchover(status, leader=None, candidate=None, maximum_lag=None):
    """What a switchover has to do: {needed, leader, candidates: names that may take over, reason}.

    `leader`: who hands over, by default whoever leads. `candidate`: who takes over, by default Patroni's choice.
    `maximum_lag` in bytes, by default maximum_lag_on_failover. Returns {faults} when it must not be done.
    """
    current = status["leader"]
    if candidate and candidate not in _names(status["members"]):
        return {"faults": [f"{candidate} is not a member of the cluster."]}
    if leader and leader not in _names(status["members"]):
        return {"faults": [f"{leader} is not a member of the cluster."]}
    if leader and leader == candidate:
        return {"faults": [f"{leader} is named both as leader and as candidate."]}
    if current is None:
        return {"faults": ["No member holds the leader lock: this is no case for a planned switchover."]}
    if candidate and candidate == current:
        return {"needed": False, "leader": current, "candidates": [], "reason": f"{candidate} leads already."}
    if leader and leader != current:
        if candidate:
            return {"faults": [f"{current} leads, not {leader}: the leader has changed meanwhile."]}
        return {"needed": False, "leader": current, "candidates": [], "reason": f"{leader} does not lead."}
    faults = []
    if not status["dcs_reachable"]:
        faults.append("No member can read the cluster's state in the DCS.")
    leading = next(member for member in status["members"] if member["name"] == current)
    faults += [f"{current}, the leader, {fault}." for fault in member_faults(leading, status)]
    if status["paused"] and not candidate:
        faults.append("The cluster is paused: Patroni then wants a candidate.")
    limit = status["maximum_lag_bytes"] if maximum_lag is None else maximum_lag
    names = [candidate] if candidate else [name for name in _names(status["members"]) if name != current]
    refused = {name: candidate_faults(name, status, limit) for name in names}
    able = [name for name in names if not refused[name]]
    if not able:
        faults += [f"{name} cannot take over: it {', and it '.join(why)}." for name, why in refused.items()]
        if not names:
            faults.append("There is no other member that could take over.")
    if faults:
        return {"faults": faults}
    return {"needed": True, "leader": current, "candidates": able, "reason": f"{current} leads."}
