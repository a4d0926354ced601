# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an etcd cluster says of itself, and what is wrong with it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from . import client as etcd


@dataclass
class View:
    """What one endpoint said: replies to /v3/maintenance/status and /health, or why there is none."""

    status: dict | None = None
    health: str = ""
    error: str = ""

    @property
    def cluster_id(self) -> str:
        return self.status["header"]["cluster_id"] if self.status else ""

    @property
    def member_id(self) -> str:
        return self.status["header"]["member_id"] if self.status else ""

    @property
    def leader_id(self) -> str:
        """The leader's number, empty while there is none (the gateway leaves out zeros)."""
        leader = self.status.get("leader", "0") if self.status else "0"
        return "" if leader == "0" else leader


@dataclass
class Observation:
    """All that was seen: endpoint -> View, the members as one endpoint lists them, alarms, authentication."""

    views: dict[str, View]
    members: list[dict] = field(default_factory=list)
    alarms: list[dict] = field(default_factory=list)
    auth_enabled: bool | None = None
    auth_error: str = ""
    error: str = ""
    cluster_id: str = ""


def view(client: etcd.Client, endpoint: str) -> View:
    """Ask one endpoint how it is. Neither request needs a user (etcd 3.4, 3.5) nor changes anything."""
    seen = View()
    try:
        seen.status = client.ask(endpoint, "/v3/maintenance/status", {})
    except etcd.EtcdError as error:
        seen.error = str(error)
        return seen
    try:
        health = client.ask(endpoint, "/health")
    except etcd.EtcdError as error:
        seen.health = str(error)
    else:
        if str(health.get("health")).lower() != "true":
            seen.health = health.get("reason") or "unhealthy"
    return seen


def best_endpoint(views: dict[str, View]) -> str:
    """The endpoint to ask about the cluster: its leader, else one that follows a leader, else one that answers, else ''.

    Where endpoints belong to different clusters, the one with a leader and most members counts.
    """
    size = Counter((seen.cluster_id, seen.leader_id) for seen in views.values() if seen.status)

    def merit(endpoint: str):
        seen = views[endpoint]
        return (
            bool(seen.leader_id),
            size[seen.cluster_id, seen.leader_id],
            seen.member_id == seen.leader_id,
            not seen.health,
        )

    answering = [endpoint for endpoint, seen in views.items() if seen.status]
    return max(answering, key=merit, default="")


def observe(client: etcd.Client) -> Observation:
    """Look at all members at once. Never raises: what can't be asked is in the observation."""
    found = Observation(client.everywhere(client.endpoints, lambda endpoint: view(client, endpoint)))
    chosen = best_endpoint(found.views)
    if not chosen:
        return found
    leads = bool(found.views[chosen].leader_id)
    found.cluster_id = found.views[chosen].cluster_id
    try:
        # Logging in is a write: without a leader it would only run into its time limit.
        if leads and client.username:
            found.auth_enabled = bool(client.token) or client.log_in(chosen)
    except etcd.EtcdError as error:
        found.auth_error = str(error)
        found.auth_enabled = True if error.says(etcd.WRONG_PASSWORD) else None
    ask = client.call if found.auth_enabled and not found.auth_error else client.ask
    try:
        found.members = ask(chosen, "/v3/cluster/member/list", {}).get("members", [])
        if leads:
            found.alarms = ask(chosen, "/v3/maintenance/alarm", {"action": "GET"}).get("alarms", [])
        if leads and found.auth_enabled is None and not found.auth_error:
            found.auth_enabled = auth_status(client, chosen)
    except etcd.EtcdError as error:
        found.error = str(error)
    others = [url for member in found.members for url in member.get("clientURLs", [])[:1] if url not in found.views]
    found.views.update(client.everywhere(others, lambda endpoint: view(client, endpoint)))
    return found


def auth_status(client: etcd.Client, endpoint: str) -> bool:
    """Whether authentication is enabled, asked without a user: only then is the question refused. Raises EtcdError."""
    try:
        client.ask(endpoint, "/v3/auth/user/list", {})
    except etcd.EtcdError as error:
        if error.says(etcd.NO_TOKEN):
            return True
        raise
    return False


def hexadecimal(number: str) -> str:
    """A member's or cluster's number as etcdctl prints it."""
    return format(int(number), "x")


def _member(listed: dict, found: Observation, alarms: list[str]) -> dict:
    """One member as it is listed, joined with what its endpoint said."""
    urls = listed.get("clientURLs", [])
    seen = next((found.views[url] for url in urls if url in found.views and found.views[url].status), None)
    stranger = seen is not None and (seen.cluster_id, seen.member_id) != (found.cluster_id, listed["ID"])
    status = seen.status if seen and not stranger else {}
    errors = []
    if not listed.get("name"):
        errors.append("was added but has never started")
    elif seen is None:
        said = [found.views[url].error for url in urls if url in found.views]
        errors.append(f"does not answer ({said[0] if said else 'its address is unknown'})")
    elif stranger:
        errors.append(f"answers as a member of another cluster ({hexadecimal(seen.cluster_id)})")
    elif not seen.leader_id:
        errors.append("sees no leader")
    elif seen.health and not found.alarms:  # while there are alarms, /health of all members tells only that
        errors.append(f"is unhealthy ({seen.health})")
    if listed.get("isLearner"):
        errors.append("is a learner that has not been promoted")
    errors += [f"raised the alarm {alarm}" for alarm in alarms]
    return {
        "name": listed.get("name", ""),
        "id": hexadecimal(listed["ID"]),
        "client_urls": urls,
        "peer_urls": listed.get("peerURLs", []),
        "healthy": not errors,
        "leader": bool(status) and seen.leader_id == listed["ID"],
        "learner": bool(listed.get("isLearner", False)),
        "version": status.get("version"),
        "db_size_bytes": int(status["dbSize"]) if "dbSize" in status else None,
        "raft_term": int(status["raftTerm"]) if "raftTerm" in status else None,
        "raft_applied_index": int(status["raftAppliedIndex"]) if "raftAppliedIndex" in status else None,
        "error": " and ".join(errors),
    }


def assess(found: Observation, expected: list[str] = (), without: list[str] = (), ignore_alarms: bool = False) -> dict:
    """What the observation means.

    expected: names that must be members. without: names whose own troubles are not counted, such as that of a member
    which is about to be restarted. Returns the values that etcd_info documents.
    """
    alarms = [
        {"member_id": hexadecimal(item["memberID"]), "alarm": item["alarm"]}
        for item in found.alarms
        if item.get("alarm", "NONE") != "NONE"
    ]
    raised: dict[str, list[str]] = {}
    for one in alarms:
        raised.setdefault(one["member_id"], []).append(one["alarm"])
    members = [
        _member(item, found, [] if ignore_alarms else raised.get(hexadecimal(item["ID"]), [])) for item in found.members
    ]
    members.sort(key=lambda member: (member["name"] == "", member["name"]))
    names = {member["name"] for member in members}
    leaders = [member["name"] for member in members if member["leader"]]
    problems = [
        f"{member['name'] or ', '.join(member['peer_urls'])} {member['error']}."
        for member in members
        if member["error"] and member["name"] not in without
    ]
    if not found.members:
        problems += [f"{url} does not answer ({seen.error})." for url, seen in found.views.items() if seen.error]
    elif not leaders and not any(seen.leader_id for seen in found.views.values()):
        problems.insert(0, "No member leads: too few of them are up to form a quorum.")
    elif len(leaders) != 1:
        problems.insert(0, f"The members disagree on who leads: {', '.join(leaders) or 'the leader does not answer'}.")
    listed = {url for member in members for url in member["client_urls"]}
    problems += [
        f"{url} answers as a member of another cluster ({hexadecimal(seen.cluster_id)})."
        for url, seen in found.views.items()
        if found.members and seen.status and url not in listed and seen.cluster_id != found.cluster_id
    ]
    if found.members:
        problems += [f"{name} is not a member." for name in expected if name not in names and name not in without]
    if found.auth_error:
        problems.append(f"Logging in failed: {found.auth_error}.")
    if found.error:
        problems.append(f"The members cannot be listed: {found.error}.")
    return {
        "cluster_id": hexadecimal(found.cluster_id) if found.cluster_id else None,
        "members": members,
        "leader": leaders[0] if len(leaders) == 1 else None,
        "healthy": bool(members) and not problems,
        "problems": problems,
        "alarms": alarms,
        "auth_enabled": found.auth_enabled,
    }


def leader_endpoint(client: etcd.Client, found: Observation) -> str:
    """The leader's client URL, where membership is changed. Raises EtcdError where there is none."""
    answers = assess(found)
    for member in answers["members"]:
        if member["leader"]:
            return next(url for url in member["client_urls"] if found.views.get(url, View()).status)
    raise etcd.EtcdError(f"No leader can be asked: {' '.join(answers['problems'])}")
