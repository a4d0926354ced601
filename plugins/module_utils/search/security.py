# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Users and roles that the search engine keeps itself: what there is, what is wanted, and the steps between.

Privileges are named as Elasticsearch names them (and `manage_snapshots`, which it has not), and translated for OpenSearch,
whose security plugin has action groups instead. What has no translation is passed on as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from . import client as search_client
from .client import part

ELASTICSEARCH_CLUSTER = {"manage_snapshots": ["cluster:admin/repository/*", "cluster:admin/snapshot/*"]}

# The action groups are OpenSearch's own (security plugin: static_config/static_action_groups.yml).
OPENSEARCH_CLUSTER = {
    "all": ["cluster_all"],
    "monitor": ["cluster_monitor"],
    "manage": ["cluster_monitor", "cluster:admin/*", "cluster_manage_index_templates"],
    "manage_index_templates": ["cluster_manage_index_templates"],
    "manage_ingest_pipelines": ["cluster_manage_pipelines"],
    "manage_pipeline": ["cluster_manage_pipelines"],
    "manage_ilm": ["cluster:admin/opendistro/ism/*"],
    "manage_slm": ["cluster:admin/opensearch/snapshot_management/*"],
    "manage_snapshots": ["manage_snapshots"],
    "create_snapshot": ["cluster:admin/repository/get", "cluster:admin/snapshot/create", "cluster:admin/snapshot/get"],
    "monitor_snapshot": [
        "cluster:admin/repository/get",
        "cluster:admin/snapshot/get",
        "cluster:admin/snapshot/status*",
    ],
}
OPENSEARCH_INDEX = {
    "all": ["indices_all"],
    "create_index": ["create_index", "indices:admin/auto_create"],
    "auto_configure": ["indices:admin/auto_create", "indices:admin/mapping/put"],
    "create_doc": ["indices:admin/mapping/put", "indices:data/write/bulk*", "indices:data/write/index*"],
    "delete_index": ["indices:admin/delete"],
    "maintenance": ["indices:admin/flush*", "indices:admin/forcemerge*", "indices:admin/refresh*"],
    "monitor": ["indices_monitor"],
    "view_index_metadata": [
        "indices:admin/aliases/get*",
        "indices:admin/get",
        "indices:admin/mappings/fields/get*",
        "indices:admin/mappings/get",
        "indices:admin/resolve/index",
        "indices:monitor/settings/get",
    ],
}
# OpenSearch checks the frame of a request for several indices (_bulk, _msearch, scrolling) as something of the cluster.
READING, WRITING = "cluster_composite_ops_ro", "cluster_composite_ops"
ONLY_READING = {"read", "view_index_metadata", "monitor"}


@dataclass
class User:
    """A user as it is. `password_ok`: whether the wanted password works; `stored`: whether the cluster keeps it."""

    roles: set[str] = field(default_factory=set)
    enabled: bool = True
    reserved: bool = False
    password_ok: bool | None = None
    stored: bool = True


@dataclass
class State:
    """What the cluster keeps: users, and roles in the server's own form, reduced to what says something."""

    users: dict[str, User] = field(default_factory=dict)
    roles: dict[str, dict] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """One request that changes something. `summary` is for people and has no secret."""

    method: str
    path: str
    body: object
    summary: str


def _translated(names: list[str], table: dict[str, list[str]]) -> list[str]:
    return sorted({one for name in names for one in table.get(name, [name])})


def role_body(role: dict, opensearch: bool) -> dict:
    """A role of the module's parameters in the server's form."""
    indices = role["indices"]
    if not opensearch:
        body = {
            "cluster": _translated(role["cluster"], ELASTICSEARCH_CLUSTER),
            "indices": [_sorted({"names": one["names"], "privileges": one["privileges"]}) for one in indices],
        }
    else:
        cluster = _translated(role["cluster"], OPENSEARCH_CLUSTER)
        if indices:
            asked = {name for one in indices for name in one["privileges"]}
            cluster = sorted({*cluster, READING if asked <= ONLY_READING else WRITING})
        body = {
            "cluster_permissions": cluster,
            "index_permissions": [
                _sorted(
                    {
                        "index_patterns": one["names"],
                        "allowed_actions": _translated(one["privileges"], OPENSEARCH_INDEX),
                    }
                )
                for one in indices
            ],
        }
    return reduced(body)


def _sorted(item: dict) -> dict:
    return {name: sorted(value) if isinstance(value, list) else value for name, value in item.items()}


def reduced(role: dict) -> dict:
    """A role of the server's without what is empty or says nothing about rights, and with lists in one order."""
    kept = {}
    for name in sorted(role):
        value = role[name]
        if name in _SILENT or value in (None, [], {}, False):
            continue
        if isinstance(value, list) and value and isinstance(value[0], dict):
            value = sorted((reduced(_sorted(one)) for one in value), key=repr)
        elif isinstance(value, list):
            value = sorted(value)
        kept[name] = value
    return kept


_SILENT = ("metadata", "transient_metadata", "description", "reserved", "hidden", "static")


class Elasticsearch:
    """Its API of native users and roles."""

    tried_at = "/_security/_authenticate"

    def read(self, client: search_client.Client, users: list[str], roles: list[str]) -> State:
        """What there is of these users and roles. Raises SearchError."""
        state = State()
        if roles:
            found = client.get(f"/_security/role/{','.join(map(part, roles))}", "The roles", missing=(404,)) or {}
            state.roles = {name: reduced(role) for name, role in found.items()}
        if users:
            found = client.get(f"/_security/user/{','.join(map(part, users))}", "The users", missing=(404,)) or {}
            for name, user in found.items():
                reserved = bool(user.get("metadata", {}).get("_reserved"))
                state.users[name] = User(set(user["roles"]), user["enabled"], reserved)
                if reserved:
                    state.users[name].stored = self._stored(client, name)
        return state

    @staticmethod
    def _stored(client: search_client.Client, name: str) -> bool:
        """Whether a built-in user's password is in the cluster, and not only in the keystore of each node."""
        reply = client.ask(f"/.security/_doc/reserved-user-{part(name)}?_source=false")
        return reply.status != 404

    def put_role(self, name: str, body: dict) -> Step:
        return Step("PUT", f"/_security/role/{part(name)}", body, f"role {name}")

    def delete_role(self, name: str) -> Step:
        return Step("DELETE", f"/_security/role/{part(name)}", None, f"delete role {name}")

    def delete_user(self, name: str) -> Step:
        return Step("DELETE", f"/_security/user/{part(name)}", None, f"delete user {name}")

    def user_steps(self, wanted: dict, present: User | None) -> list[Step]:
        """How to make a user what is wanted."""
        name, path = wanted["name"], f"/_security/user/{part(wanted['name'])}"
        setting = Step("POST", f"{path}/_password", {"password": wanted["password"]}, f"password of {name}")
        if present is None:
            body = {"password": wanted["password"], "roles": sorted(wanted["roles"] or [])}
            return [Step("PUT", path, body, f"user {name}")]
        steps = []
        if _differs(wanted, present) and not present.reserved:
            roles = present.roles if wanted["roles"] is None else wanted["roles"]
            steps.append(Step("PUT", path, {"roles": sorted(roles), "enabled": True}, f"user {name}"))
        if not (present.password_ok and present.stored):
            steps.append(setting)
        return steps


class OpenSearch:
    """The security plugin's API of internal users and roles. A role is given to a user directly, without a mapping."""

    tried_at = "/_plugins/_security/authinfo"
    _api = "/_plugins/_security/api"

    def read(self, client: search_client.Client, users: list[str], roles: list[str]) -> State:
        """What there is of these users and roles. Raises SearchError."""
        state = State()
        if roles:
            found = client.get(f"{self._api}/roles", "The roles")
            state.roles = {name: reduced(role) for name, role in found.items() if name in roles}
        if users:
            found = client.get(f"{self._api}/internalusers", "The users")
            for name, user in found.items():
                if name in users:
                    state.users[name] = User(set(user["opendistro_security_roles"]), True, user["reserved"])
        return state

    def put_role(self, name: str, body: dict) -> Step:
        return Step("PUT", f"{self._api}/roles/{part(name)}", body, f"role {name}")

    def delete_role(self, name: str) -> Step:
        return Step("DELETE", f"{self._api}/roles/{part(name)}", None, f"delete role {name}")

    def delete_user(self, name: str) -> Step:
        return Step("DELETE", f"{self._api}/internalusers/{part(name)}", None, f"delete user {name}")

    def user_steps(self, wanted: dict, present: User | None) -> list[Step]:
        """How to make a user what is wanted. What else the plugin keeps of the user stays."""
        name, path = wanted["name"], f"{self._api}/internalusers/{part(wanted['name'])}"
        if present is None:
            body = {"password": wanted["password"], "opendistro_security_roles": sorted(wanted["roles"] or [])}
            return [Step("PUT", path, body, f"user {name}")]
        steps = []
        if _differs(wanted, present):
            operation = {"op": "add", "path": "/opendistro_security_roles", "value": sorted(wanted["roles"])}
            steps.append(Step("PATCH", path, [operation], f"user {name}"))
        if not present.password_ok:
            operation = {"op": "add", "path": "/password", "value": wanted["password"]}
            steps.append(Step("PATCH", path, [operation], f"password of {name}"))
        return steps


def _differs(wanted: dict, present: User) -> bool:
    return not present.enabled or (wanted["roles"] is not None and set(wanted["roles"]) != present.roles)


def api_of(engine: search_client.Engine) -> Elasticsearch | OpenSearch:
    """The API that this server has."""
    return OpenSearch() if engine.opensearch else Elasticsearch()


def log_in(client: search_client.Client, users: list[dict]) -> search_client.Engine:
    """Which server it is, as the client's user; with the declared password where its own is refused (a rotation done before).

    Raises SearchError.
    """
    try:
        return client.engine()
    except search_client.Refused as error:
        user, password = client.credentials or ("", "")
        declared = next((one["password"] for one in users if one["name"] == user), None)
        if error.reply.status != 401 or declared in (None, password):
            raise
        client.credentials = (user, declared)
        return client.engine()


def works(client: search_client.Client, api: Elasticsearch | OpenSearch, name: str, password: str) -> bool:
    """Whether the password is the user's. Raises SearchError."""
    reply = client.call(client.urls[0], "GET", api.tried_at, credentials=(name, password))
    if reply.status not in (200, 401):
        raise client.refusal(f"Whether {name}'s password works cannot be tried", reply)
    return reply.status == 200


def read(client: search_client.Client, api: Elasticsearch | OpenSearch, users: list[dict], roles: list[dict]) -> State:
    """What there is of the declared users and roles, passwords tried. Raises SearchError."""
    state = api.read(client, [user["name"] for user in users], [role["name"] for role in roles])
    for user in users:
        present = state.users.get(user["name"])
        if present and user["state"] == "present":
            kept = client.credentials == (user["name"], user["password"]) or user.get("update_password") == "on_create"
            present.password_ok = kept or works(client, api, user["name"], user["password"])
    return state


def plan(
    api: Elasticsearch | OpenSearch, current: State, users: list[dict], roles: list[dict], acting: str
) -> list[Step]:
    """The requests that lead from current to what is declared.

    Roles come before the users that hold them, what goes away goes last, and the password of the acting user after all.
    """
    steps = []
    for role in (one for one in roles if one["state"] == "present"):
        body = role_body(role, isinstance(api, OpenSearch))
        if current.roles.get(role["name"]) != body:
            steps.append(api.put_role(role["name"], body))
    last = []
    for user in (one for one in users if one["state"] == "present"):
        (last if user["name"] == acting else steps).extend(api.user_steps(user, current.users.get(user["name"])))
    steps += [
        api.delete_user(one["name"]) for one in users if one["state"] == "absent" and one["name"] in current.users
    ]
    steps += [
        api.delete_role(one["name"]) for one in roles if one["state"] == "absent" and one["name"] in current.roles
    ]
    return steps + last


def shown(current: State, users: list[dict], roles: list[dict], api: Elasticsearch | OpenSearch, after: bool) -> dict:
    """What is declared as it is, or as it will be, for people and without secrets."""
    told: dict = {"roles": {}, "users": {}}
    for role in roles:
        body = role_body(role, isinstance(api, OpenSearch)) if role["state"] == "present" else None
        body = body if after else current.roles.get(role["name"])
        if body is not None:
            told["roles"][role["name"]] = body
    for user in users:
        present = current.users.get(user["name"])
        if after and user["state"] == "present":
            held = present.roles if present and user["roles"] is None else set(user["roles"] or [])
            present = User(held, True, password_ok=True)
        if present and not (after and user["state"] == "absent"):
            password = "as declared" if present.password_ok else "another one"
            password += "" if present.stored else ", in the keystores only"
            told["users"][user["name"]] = {"roles": sorted(present.roles), "password": password}
            if not present.enabled:
                told["users"][user["name"]]["enabled"] = False
    return told


def remedy(reply: search_client.Reply) -> str:
    """What to do about a refused request, or ''."""
    if reply.has_no_handler:
        return " Is security enabled on this server (xpack.security.enabled), or OpenSearch's plugin for it installed?"
    if "Weak password" in reply.reason or "passwords must be" in reply.reason:
        return " Choose a longer one, of letters, digits and signs that are no word."
    if reply.status == 403 and ("reserved" in reply.reason or "static" in reply.reason):
        return " It is kept in the security plugin's own files (internal_users.yml, roles.yml); change it there."
    if "unknown cluster privilege" in reply.reason or "unknown index privilege" in reply.reason:
        return " Privileges are named as in Elasticsearch's documentation."
    return ""
