# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Policies by which the server takes and deletes snapshots by itself.

Elasticsearch calls it snapshot lifecycle management (SLM), OpenSearch snapshot management (SM, a part of its plugin
index-management). One form is translated for both; it is near to Elasticsearch's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from . import client as search_client
from .client import part

_DAYS = {name: number for number, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"))}
_MONTHS = "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split()  # noqa: SIM905


class Unsupported(search_client.SearchError):
    """This server cannot do it."""


@dataclass(frozen=True)
class Policy:
    """What is wanted.

    schedule: Elasticsearch's cron (seconds first, UTC) or an interval. name: of the snapshots, for Elasticsearch. config: as
    for taking a snapshot. retention: expire_after, min_count, max_count, each or none.
    """

    schedule: str
    name: str
    repository: str
    config: dict = field(default_factory=dict)
    retention: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Present:
    """What the server has: the policy's body in its own form, where it is in its history, and how it went."""

    body: dict
    version: dict = field(default_factory=dict)
    status: dict = field(default_factory=dict)


def unix_cron(schedule: str) -> str:
    """Elasticsearch's cron (second minute hour day month weekday [year], Sunday is 1) in the form of Unix (Sunday is 0).

    Raises Unsupported for what Unix's form cannot say.
    """
    fields = schedule.split()
    if len(fields) not in (6, 7) or len(fields) == 7 and fields[6] != "*":
        raise Unsupported(
            f"OpenSearch cannot follow the schedule '{schedule}': give second, minute, hour, day, month and weekday,"
            " as in '0 30 1 * * ?'."
        )
    second, minute, hour, day, month, weekday = fields[:6]
    if not second.isdigit():
        raise Unsupported(f"OpenSearch cannot follow the schedule '{schedule}': the second has to be one number.")
    if re.search(r"[LW#]", re.sub("|".join([*_DAYS, *_MONTHS]), "", f"{day} {weekday}".upper())):
        raise Unsupported(f"OpenSearch cannot follow the schedule '{schedule}': it does not support L, W and #.")
    for number, name in enumerate(_MONTHS, 1):
        month = re.sub(name, str(number), month, flags=re.IGNORECASE)
    numbered = re.sub(r"(?<![/\d])\d+", lambda found: str((int(found[0]) - 1) % 7), weekday)
    for name, number in _DAYS.items():
        numbered = re.sub(name, str(number), numbered, flags=re.IGNORECASE)
    fields = zip((minute, hour, day, month, numbered), (59, 23, 31, 12, 6))
    # "From 5 on every 15th" needs its end to be said.
    return " ".join("*" if one == "?" else re.sub(r"(?<![-\d])(\d+)/", rf"\1-{last}/", one) for one, last in fields)


class Lifecycle:
    """Elasticsearch's SLM."""

    title = "snapshot lifecycle management"
    remedy = "Elasticsearch's own archives have it."

    def path(self, ident: str) -> str:
        return f"/_slm/policy/{part(ident)}"

    def body(self, wanted: Policy, ident: str) -> dict:
        """The policy in the server's form."""
        body = {"schedule": wanted.schedule, "name": wanted.name, "repository": wanted.repository}
        body["config"] = dict(wanted.config)
        if wanted.retention:
            body["retention"] = dict(wanted.retention)
        return body

    def read(self, client: search_client.Client, ident: str) -> Present | None:
        """What there is. Raises SearchError, Unsupported where the server has no policies at all."""
        reply = _ask(client, self, ident)
        if reply.status == 404 or ident not in reply.body:
            return None
        found = reply.body[ident]
        policy = found["policy"]
        body = {
            name: policy[name] for name in ("schedule", "name", "repository", "config", "retention") if policy.get(name)
        }
        body.setdefault("config", {})
        status = {
            "last_success": (found.get("last_success") or {}).get("snapshot_name"),
            "last_failure": (found.get("last_failure") or {}).get("snapshot_name"),
            "in_progress": (found.get("in_progress") or {}).get("name"),
        }
        return Present(body, {}, status)

    def put(self, client: search_client.Client, ident: str, body: dict, present: Present | None) -> None:
        client.act("PUT", self.path(ident), body, f"Setting the policy {ident}")

    def execute(self, client: search_client.Client, ident: str) -> str:
        """Take a snapshot now; its name. Raises SearchError."""
        reply = client.act("PUT", f"{self.path(ident)}/_execute", None, f"Executing the policy {ident}")
        return reply.body["snapshot_name"]

    def stopped(self, client: search_client.Client) -> bool:
        """Whether all policies rest. Raises SearchError."""
        return client.get("/_slm/status", "The state of snapshot lifecycle management")["operation_mode"] != "RUNNING"


class Management:
    """OpenSearch's SM. The snapshots' names begin with the policy's; the time comes from `date_format`."""

    title = "snapshot management"
    remedy = "It is part of the plugin index-management, which OpenSearch's own archives have."

    def path(self, ident: str) -> str:
        return f"/_plugins/_sm/policies/{part(ident)}"

    def body(self, wanted: Policy, ident: str) -> dict:
        """The policy in the server's form. Raises Unsupported."""
        cron = {"cron": {"expression": unix_cron(wanted.schedule), "timezone": "UTC"}}
        config = {name: value for name, value in wanted.config.items() if name != "feature_states"}
        if isinstance(config.get("indices"), list):
            config["indices"] = ",".join(config["indices"])
        body = {
            "description": f"Policy {ident}",
            "enabled": True,
            "creation": {"schedule": cron},
            "snapshot_config": {**config, "repository": wanted.repository},
        }
        if wanted.retention:
            named = {"expire_after": "max_age", "min_count": "min_count", "max_count": "max_count"}
            condition = {named[name]: value for name, value in wanted.retention.items()}
            body["deletion"] = {"schedule": cron, "condition": condition}
        return body

    def read(self, client: search_client.Client, ident: str) -> Present | None:
        """What there is. Raises SearchError, Unsupported where the server has no policies at all."""
        reply = _ask(client, self, ident)
        if reply.status == 404:
            return None
        policy = reply.body["sm_policy"]
        version = {"if_seq_no": reply.body["_seq_no"], "if_primary_term": reply.body["_primary_term"]}
        kept = ("description", "enabled", "creation", "deletion", "snapshot_config", "notification")
        return Present({name: policy[name] for name in kept if policy.get(name) is not None}, version)

    def put(self, client: search_client.Client, ident: str, body: dict, present: Present | None) -> None:
        if present is None:
            client.act("POST", self.path(ident), body, f"Making the policy {ident}")
            return
        query = "&".join(f"{name}={value}" for name, value in sorted(present.version.items()))
        client.act("PUT", f"{self.path(ident)}?{query}", body, f"Changing the policy {ident}")

    def execute(self, client: search_client.Client, ident: str) -> str:
        raise Unsupported(
            "OpenSearch executes policies only by their schedule. Take a snapshot with the module elasticsearch_snapshot."
        )

    def stopped(self, client: search_client.Client) -> bool:
        return False


def _ask(client: search_client.Client, api: Lifecycle | Management, ident: str) -> search_client.Reply:
    reply = client.ask(api.path(ident))
    if reply.has_no_handler:
        raise Unsupported(f"{client.engine()} has no {api.title} here: {reply.reason}. {api.remedy}")
    if reply.status >= 400 and reply.status != 404:
        raise client.refusal(f"The policy {ident} cannot be read", reply)
    return reply


def api_of(engine: search_client.Engine) -> Lifecycle | Management:
    """The kind of policies that this server has, if any."""
    return Management() if engine.opensearch else Lifecycle()


def covers(wanted: object, present: object) -> bool:
    """Whether what is there is what is wanted; what the server adds by itself does not count, numbers may be text."""
    if isinstance(wanted, dict):
        return isinstance(present, dict) and all(covers(value, present.get(name)) for name, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(present, list) and [str(one) for one in wanted] == [str(one) for one in present]
    return _text(wanted) == _text(present)


_UNITS = {"d": 86400000, "h": 3600000, "m": 60000, "s": 1000, "ms": 1}


def _text(value: object) -> str:
    """A value in one form: durations in ms, since OpenSearch tells 720h as 30d."""
    duration = re.fullmatch(r"(\d+)(d|h|m|s|ms)", str(value))
    if duration:
        return f"{int(duration[1]) * _UNITS[duration[2]]}ms"
    return str(value).lower() if isinstance(value, bool) else str(value)


def differs(wanted: dict, present: Present | None) -> bool:
    """Whether the policy has to be set: what is wanted is not there, or what was wanted once still is."""
    if present is None or not covers(wanted, present.body):
        return True
    return any(set(_at(present.body, path)) - set(_at(wanted, path)) - _ADDED.get(path, set()) for path in _OURS)


# Where a policy keeps only what was sent, and what the server adds there by itself.
_OURS = ("", "config", "retention", "deletion.condition", "snapshot_config")
_ADDED = {
    "": {"config"},
    "deletion.condition": {"min_count"},
    "snapshot_config": {"date_format", "date_format_timezone", "timezone"},
}


def _at(body: dict, path: str) -> dict:
    for name in filter(None, path.split(".")):
        body = body.get(name) or {}
    return body


def reconcile(client: search_client.Client, ident: str, wanted: Policy | None, execute: bool, check: bool) -> dict:
    """Set the policy as wanted (None: delete it), and execute it where asked.

    Raises SearchError, Unsupported where the server has no policies. Returns changed, before, after, snapshot, status, stopped.
    """
    api = api_of(client.engine())
    present = api.read(client, ident)
    before, after, changed = present and present.body, None, False
    if wanted is None:
        changed = present is not None
        if changed and not check:
            client.act("DELETE", api.path(ident), None, f"Deleting the policy {ident}", allowed=(404,))
    else:
        after = api.body(wanted, ident)
        changed = differs(after, present)
        if changed and not check:
            api.put(client, ident, after, present)
    snapshot = None
    if execute and wanted is not None and not (check and isinstance(api, Lifecycle)):
        snapshot = api.execute(client, ident)
    return {
        "changed": changed or execute and wanted is not None,
        "before": before,
        "after": after,
        "snapshot": snapshot,
        "status": present.status if present else {},
        "stopped": wanted is not None and api.stopped(client),
    }


def remedy(reason: str) -> str:
    """What to do about the server's reason for refusing a policy, or ''."""
    if "no such repository" in reason or "repository_missing" in reason or re.search(r"\[[^]]+\] missing", reason):
        return " Register the repository first, with elasticsearch_snapshot_repository."
    if "schedule" in reason and "cron" in reason.lower():
        return (
            " The schedule reads second, minute, hour, day, month, weekday, as '0 30 1 * * ?' for half past one (UTC)."
        )
    return ""
