# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What can be done to a Patroni cluster through its REST API, each until its result is there.

Every function takes a Client (patroni_client), returns a module's result and raises PatroniError with a message for the
operator. Nothing is waited for by time alone: what was waited for and what was seen instead is in the message.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from . import cluster as patroni
from . import settings as patroni_settings
from .client import NoAnswer, PatroniError, Reply

POLL_S = 0.25


def read_status(client, expected=(), maximum_lag=None, first=None, without=()):
    """The cluster's status (module_utils/patroni/cluster.py), asked from any member and from each one about itself.

    Raises NoAnswer when no member answers at all.
    """
    failure = None
    try:
        reply = client.ask_any("/cluster", first)
        cluster = reply.body
        urls = [patroni.api_base(member["api_url"]) for member in cluster["members"] if member.get("api_url")]
        config, history = _body(client, "/config", reply.url, {}), _body(client, "/history", reply.url, [])
    except NoAnswer as error:
        failure, cluster, urls, config, history = error, None, client.urls, {}, []
    answers = client.ask_each(urls, "/patroni")
    if failure and not any(isinstance(answer, Reply) and answer.status == 200 for answer in answers.values()):
        raise failure
    direct = {url: _own_words(answer) for url, answer in answers.items()}
    return patroni.status(cluster, direct, config, history, expected, maximum_lag, without)


def wait_for_status(client, wait_for, seconds, expected=(), maximum_lag=None, without=()):
    """The status once it is what is waited for ("leader" or "healthy"), or the last one within `seconds`.

    Raises NoAnswer when at the end no member answers.
    """
    done = {"leader": lambda status: _decided(status, None, ""), "healthy": lambda status: status["healthy"]}[wait_for]

    def look():
        return read_status(client, expected, maximum_lag, without=without)

    status, came = _wait_for(client, seconds, look, done)
    return status if came else look()


def _own_words(answer):
    if isinstance(answer, NoAnswer):
        return str(answer).partition("does not answer: ")[2]
    if answer.status != 200 or not isinstance(answer.body, dict):
        return f"it answers with {answer.status} ({answer.text})"
    return answer.body


def _body(client, path, first, default):
    """A GET's body, `default` while the cluster has none yet (a bootstrapping one answers /config with 502)."""
    try:
        return client.ask_any(path, first).body
    except NoAnswer:
        return default


def _wait_for(client, seconds, look, done):
    """Polls `look()` until `done(seen)` and returns (seen, True), or (last seen or None, False) after `seconds`.

    A `look` that gets no answer counts as nothing seen: members come and go during what is waited for.
    """
    end, seen = client.now() + seconds, None
    while True:
        try:
            seen = look()
            if done(seen):
                return seen, True
        except NoAnswer:
            pass
        if client.now() >= end:
            return seen, False
        client.sleep(POLL_S)


def _find(status, name):
    return next((member for member in status["members"] if member["name"] == name), None)


# -- dynamic configuration ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ownership:
    """Under which key of the configuration is noted what was set, and what counts as noted where there is no such key yet."""

    key: str = ""
    earlier: Mapping = field(default_factory=dict)


def reconcile_config(
    client,
    wanted,
    wait_timeout=30.0,
    check_mode=False,
    settle=False,
    owner=None,
    present=None,
    defer=False,
    expected=(),
    without=(),
):
    """Makes the dynamic configuration what `wanted` asks for and waits until each member has taken it over.

    With `settle` it waits also when nothing was to change: for members that were reloaded or restarted just before, whose
    pending restarts show in their next round only. owner: an Ownership, by which settings go that are wanted no more. present: names of
    members that can be restarted, all without it. With `defer`, parameters that are still to be tried stay as they are, and nothing is
    waited for but that the configuration can be read and is stored, since members may be down by what is taken back. expected, without:
    as `read_status` takes them, for the status that is returned.
    """
    owner = owner or Ownership()
    if defer:  # Between two leaders nobody leads, too, for as long as an election takes.
        _wait_for(client, wait_timeout, lambda: read_status(client), lambda now: _read_config(client) and now["leader"])
    for _attempt in range(3):
        before = _read_config(client)
        status = read_status(client, expected, without=without)
        deferred = patroni_settings.untried(before, wanted, status) if defer else {}
        planned = _plan(before, wanted, owner, deferred)
        patch = planned["patch"]
        after = patroni.merge(before, patch)
        faults = patroni.config_faults(after, patch, [member["patroni_version"] for member in status["members"]])
        if faults:
            raise PatroniError("Patroni must not get this configuration: " + " ".join(faults), faults=faults)
        change = patroni.config_change(before, after)
        result = {
            "changed": bool(patch),
            "patch": patch,
            "config": after,
            **change,
            "unapplied_members": [],
            "diff": {"before": before, "after": after},
            "removed": planned["removed"],
            "foreign": planned["foreign"],
            "deferred": deferred,
            "status": status,
            "trial": patroni_settings.trial_members(status, present or [one["name"] for one in status["members"]]),
        }
        if check_mode or not (patch or settle):
            return {**result, **_restarts(status, change, present, forecast=bool(patch))}
        if not patch:
            late = _wait_until_applied(client, status["members"], [], wait_timeout)
            return {**result, **_restarts(read_status(client), change, present), "unapplied_members": late}
        reply = _patch(client, patch)
        if reply.status == 409:
            continue  # Somebody else changed it between Patroni's read and write: look again.
        if reply.status != 200:
            raise PatroniError(f"{reply.url} does not take the configuration: {reply.status} ({reply.text})")
        # A member whose round began before may answer with what it had read then, until its next one.
        left, stored = _wait_for(
            client,
            wait_timeout,
            lambda later=deferred: _plan(_read_config(client), wanted, owner, later)["patch"],
            lambda left: not left,
        )
        if not stored:
            raise PatroniError(
                f"Patroni took the configuration, but this is still missing: {left or patch}", changed=True
            )
        if defer:
            return {**result, **_restarts(status, change, present)}
        late = _wait_until_applied(client, status["members"], change["restart_parameters"], wait_timeout)
        return {**result, **_restarts(read_status(client), change, present), "unapplied_members": late}
    raise PatroniError("Patroni's configuration was changed by somebody else at the same time, three times in a row")


def _plan(config, wanted, owner, deferred):
    if not owner.key:
        return {"patch": patroni.plan_config(config, wanted), "removed": [], "foreign": {}}
    return patroni_settings.plan(config, wanted, owner.key, owner.earlier, deferred)


def _read_config(client):
    reply = client.ask_any("/config")
    if not isinstance(reply.body, dict):
        raise PatroniError(f"{reply.url} answers /config with something that is no configuration: {reply.text}")
    return reply.body


def _patch(client, patch):
    failure = None
    for url in client.urls:
        try:
            return client.act(url, "PATCH", "/config", patch)
        except NoAnswer as error:
            failure = error
    raise failure


def _wait_until_applied(client, members, restart_parameters, seconds):
    """Names of the members that did not apply, within `seconds`, a configuration stored just now.

    A member applies the configuration at the end of the round in which it reads it from the DCS. So it has when it says
    that it waits for a restart, or when it has read the DCS in two rounds since. Only /patroni is asked, because /cluster
    makes the member read the DCS out of turn.
    """
    names = {member["api_url"]: member["name"] for member in members}
    waited_before = {member["name"] for member in members if member["pending_restart"]}
    rounds = {name: [] for name in names.values()}
    pending = set()

    def look():
        for url, reply in client.ask_each(names, "/patroni").items():
            answer = reply.body if isinstance(reply, Reply) and isinstance(reply.body, dict) else {}
            seen = rounds[names[url]]
            if answer.get("dcs_last_seen") and answer["dcs_last_seen"] not in seen[-1:]:
                seen.append(answer["dcs_last_seen"])
            if answer.get("pending_restart"):
                pending.add(names[url])
        ready = pending - waited_before if restart_parameters else set()
        return sorted(name for name, seen in rounds.items() if len(seen) < 3 and name not in ready)

    late, _done = _wait_for(client, seconds, look, lambda late: not late)
    return late


def _restarts(status, change, present=None, forecast=False):
    """Who waits for a restart and in which order; with `forecast` also those that would."""
    members = status["members"]
    if forecast and change["restart_parameters"]:
        members = [{**member, "pending_restart": True} for member in members]
    lowered, raised = change["lowered"], change["raised"]
    if not change["restart_parameters"] and any(
        m["pending_restart"] and not m["pending_restart_reason"] for m in members
    ):
        # Patroni 3 does not say what an earlier run changed: the order that is right in any case.
        lowered = raised = ["unknown"]
    order = patroni.restart_order(members, lowered, raised, only_pending=True, present=present)
    reasons = {m["name"]: m["pending_restart_reason"] for m in members if m["pending_restart"]}
    return {"pending_restart": reasons, "restart_order": order}


# -- switchover -----------------------------------------------------------------------------------------------------


def switch_over(client, leader=None, candidate=None, maximum_lag=None, wait_timeout=60.0, check_mode=False):
    """Has the leader hand over to another member, and waits until that one leads and the others stream from it."""
    before = read_status(client)
    plan = patroni.plan_switchover(before, leader, candidate, maximum_lag)
    if "faults" in plan:
        raise PatroniError("No switchover: " + " ".join(plan["faults"]), faults=plan["faults"])
    old = plan["leader"]
    facts = {"old_leader": old, "leader": old, "candidates": plan["candidates"], "reason": plan["reason"]}
    if not plan["needed"] or check_mode:
        return {"changed": plan["needed"], **facts, **_leader_diff(old, candidate if plan["needed"] else old)}
    started = client.now()
    request = {"leader": old, **({"candidate": candidate} if candidate else {})}
    said = _ask_for_switchover(client, _find(before, old)["api_url"], request, wait_timeout)
    seen, done = _wait_for(client, wait_timeout, lambda: read_status(client), lambda now: _decided(now, old, said))
    new = seen["leader"] if seen else None
    if not done or new == old:
        outcome = "still leads" if new == old else "nobody is seen to take writes in its place"
        raise PatroniError(
            f"{old} was to hand over, but {outcome} after {client.now() - started:.1f} s."
            f" Patroni says: {said}. Now: {_see(seen)}",
            changed=new != old,
            **{**facts, "leader": new},
        )
    facts.update(leader=new, seconds_to_new_leader=round(client.now() - started, 2), **_leader_diff(old, new))
    if candidate and new != candidate:
        raise PatroniError(f"{new} took over instead of {candidate}. Patroni says: {said}", changed=True, **facts)
    first = _find(seen, new)["api_url"]
    seen, done = _wait_for(
        client, wait_timeout, lambda: read_status(client, first=first), lambda now: not patroni.new_faults(before, now)
    )
    facts["seconds"] = round(client.now() - started, 2)
    if not done:
        raise PatroniError(
            f"{new} leads, but the cluster is less healthy than before after {facts['seconds']} s:"
            f" {_new_faults(before, seen)}",
            changed=True,
            **facts,
        )
    return {"changed": True, **facts}


def _leader_diff(old, new):
    return {"diff": {"before": {"leader": old}, "after": {"leader": new or "chosen by Patroni"}}}


def _ask_for_switchover(client, url, request, seconds):
    """What Patroni says to the request. Raises PatroniError when it refuses; no answer is no refusal."""
    try:
        reply = client.act(url, "POST", "/switchover", request, timeout=seconds)
    except NoAnswer as failure:
        return str(failure)
    if 400 <= reply.status < 500:
        meanwhile = ""
        if "leader name does not match" in reply.text:
            meanwhile = f": {read_status(client)['leader'] or 'nobody'} leads now, the leader has changed meanwhile"
        raise PatroniError(f"Patroni refuses the switchover: {reply.text}{meanwhile}", changed=False)
    return reply.text


def _decided(status, old, said):
    """Whether it is decided who leads: somebody else does and takes writes, or Patroni has given up."""
    leader = _find(status, status["leader"])
    return bool(leader and leader["primary"] and (leader["name"] != old or said.endswith(" failed")))


def _see(status):
    """A status in one line for a message."""
    if status is None:
        return "no member answers"
    members = [
        f"{member['name']} is {member['role']}, {member['state'] if member['reachable'] else 'does not answer'}"
        for member in status["members"]
    ]
    return "; ".join(members)


def _new_faults(before, after):
    return " ".join(patroni.new_faults(before, after)) if after else "No member answers."


# -- one member -----------------------------------------------------------------------------------------------------


def reload_member(client, name, wait_timeout=120.0, check_mode=False):
    """Has a member read its configuration file again, and waits until it lives by it, so that its flags are right."""
    started = client.now()
    member = _member(read_status(client), name)
    if check_mode:
        return {"changed": True, "member": name}
    reply = client.act(member["api_url"], "POST", "/reload", {})
    if reply.status not in (200, 202):
        raise PatroniError(f"{name} does not reload: {reply.status} ({reply.text})")
    if _wait_until_applied(client, [member], [], wait_timeout):
        raise PatroniError(
            f"{name} was asked to reload, but has not done two rounds of its loop in {wait_timeout:g} s", changed=True
        )
    after = _member(read_status(client), name)
    seconds = round(client.now() - started, 2)
    return {"changed": True, "member": name, "pending_restart": after["pending_restart"], "seconds": seconds}


def restart_member(client, name, only_pending=False, restart_timeout=60, wait_timeout=120.0, check_mode=False):
    """Restarts a member's PostgreSQL and waits until it is what it was before and the cluster is as whole as it was.

    `restart_timeout` (s) is Patroni's: a leader that does not start in that time loses its role. It is always sent, since
    Patroni's default for it is primary_start_timeout, and with that at 0 a restart has no time limit at all.
    """
    started = client.now()
    before = read_status(client)
    old = _member(before, name)
    result = {"member": name, "role": old["role"], "timeline": before["timeline"]}
    if only_pending and not old["pending_restart"]:
        return {"changed": False, **result, "reason": f"{name} waits for no restart."}
    if check_mode:
        return {"changed": True, **result}
    body = {"timeout": int(restart_timeout), **({"restart_pending": True} if only_pending else {})}
    end = started + wait_timeout
    said = _restart_once(client, old, body, end)
    if said == NOTHING_PENDING:
        return {"changed": False, **result, "reason": f"{name} waits for no restart any more."}
    now, done = _wait_for(
        client,
        end - client.now(),
        lambda: read_status(client),
        lambda now: _is_back(before, now, old) or _lost(now, old),
    )
    result["seconds"] = round(client.now() - started, 2)
    if now and _lost(now, old):
        raise PatroniError(
            f"{name} was the leader and is not any more: {now['leader']} took over during the restart. Now: {_see(now)}",
            changed=True,
            **{**result, "role": _member(now, name)["role"], "timeline": now["timeline"]},
        )
    if not done:
        raise PatroniError(
            f"{result['seconds']} s after the restart of {name} the cluster is less healthy than before:"
            f" {_new_faults(before, now) or 'PostgreSQL was not restarted.'} Patroni says: {said or 'nothing'}.",
            changed=True,
            **result,
        )
    after = _member(now, name)
    return {"changed": True, **result, "role": after["role"], "pending_restart": after["pending_restart"]}


NOTHING_PENDING = "restart conditions are not satisfied"


def _restart_once(client, old, body, end):
    """Has Patroni restart member `old`, after what it is doing already. Returns what Patroni says, None for success.

    A restart that was going on already counts as ours.
    """
    while True:
        said = _ask_for_restart(client, old["api_url"], body, body["timeout"] + client.timeout)
        if said is None or not said.endswith("already in progress"):
            return said
        if client.now() >= end:
            raise PatroniError(
                f"{old['name']} was not restarted, because of a {said}. Now: {_see(read_status(client))}"
            )
        client.sleep(POLL_S)
        try:
            if said.startswith("restart") and _restarted(read_status(client), old):
                return said
        except NoAnswer:
            continue


def _member(status, name):
    member = _find(status, name)
    if member is None:
        known = ", ".join(each["name"] for each in status["members"])
        raise PatroniError(f"{name} is not a member of the cluster, which has: {known}")
    if not member["api_url"]:
        raise PatroniError(f"{name} has no REST API URL")
    return member


def _ask_for_restart(client, url, body, seconds):
    """What Patroni says, None for success. Raises PatroniError when it refuses or has failed for good."""
    try:
        reply = client.act(url, "POST", "/restart", body, timeout=seconds)
    except NoAnswer as failure:
        return str(failure)
    if reply.status == 200:
        return None
    if reply.status == 503 and reply.text != "restart failed":
        return reply.text
    raise PatroniError(f"{url} does not restart PostgreSQL: {reply.status} ({reply.text})", changed=reply.status == 503)


def _restarted(status, old):
    member = _find(status, old["name"])
    return bool(member and member["postmaster_start_time"] not in (None, old["postmaster_start_time"]))


def _is_back(before, now, old):
    member = _find(now, old["name"])
    if not _restarted(now, old) or patroni.member_faults(member, now) or patroni.new_faults(before, now):
        return False
    return (member["role"] in patroni.LEADERS) == (old["role"] in patroni.LEADERS)


def _lost(now, old):
    return old["role"] in patroni.LEADERS and now["leader"] not in (None, old["name"])


def reinitialize_member(client, name, force=False, wait_timeout=3600.0, check_mode=False):
    """Throws a standby's data away and copies them anew, and waits until it streams on the leader's timeline."""
    started = client.now()
    before = read_status(client)
    old = _member(before, name)
    if old["role"] in patroni.LEADERS or old["primary"]:
        raise PatroniError(f"{name} leads the cluster: its data are the ones to keep, so it is not reinitialized")
    if before["leader"] is None:
        raise PatroniError(f"No member holds the leader lock, so there is nothing that {name} could be copied from")
    result = {"member": name, "role": old["role"], "timeline": before["timeline"]}
    if check_mode:
        return {"changed": True, **result}
    reply = client.act(old["api_url"], "POST", "/reinitialize", {"force": bool(force)})
    if reply.status != 200 and reply.text != "reinitialize already in progress":
        remedy = ". With force that would be broken off" if reply.text.endswith("in progress") else ""
        raise PatroniError(f"{name} is not reinitialized: {reply.text}{remedy}")
    now, done = _wait_for(client, wait_timeout, lambda: read_status(client), lambda now: _is_back(before, now, old))
    result["seconds"] = round(client.now() - started, 2)
    if not done:
        raise PatroniError(
            f"{name} is not back after {result['seconds']} s: {_new_faults(before, now)} Now: {_see(now)}",
            changed=True,
            **result,
        )
    return {"changed": True, **result, "role": _member(now, name)["role"], "timeline": now["timeline"]}
