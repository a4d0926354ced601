# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Users, roles and authentication of etcd: what there is, what is wanted, and the steps between."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

from . import client as etcd

ROOT = "root"
ACCESS = {"READ": "read", "WRITE": "write", "READWRITE": "readwrite"}

# What a permission covers: the first key and the key after the last one (empty for a single key), base64 as on the wire.
Range = tuple[str, str]


@dataclass
class User:
    """`roles` None: not ours to say. `password_ok`: whether the wanted password works, None where it can't be tried."""

    roles: set[str] | None = field(default_factory=set)
    password_ok: bool | None = None


@dataclass
class State:
    """All that decides who may do what."""

    enabled: bool
    users: dict[str, User] = field(default_factory=dict)
    roles: dict[str, dict[Range, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """One request that changes something."""

    path: str
    body: dict


def _wire(key: bytes) -> str:
    return base64.b64encode(key).decode()


def key_range(prefix: str | None, key: str | None) -> Range:
    """What a permission for a prefix or for a single key covers.

    The end of a prefix is the prefix with its last byte that can be raised, raised; "\\0" means all keys from the first
    on (etcd: client/v3/op.go, getPrefix).
    """
    if prefix is None:
        return _wire(key.encode()), ""
    raw = prefix.encode()
    stem = raw.rstrip(b"\xff")
    end = stem[:-1] + bytes([stem[-1] + 1]) if stem else b"\0"
    return _wire(raw or b"\0"), _wire(end)


def describe(covered: Range) -> str:
    """A range as a person reads it: `/service/*` for a prefix."""
    first, end = base64.b64decode(covered[0]), base64.b64decode(covered[1])
    text = first.decode(errors="backslashreplace")
    if not end:
        return text
    for prefix in (text, ""):
        if key_range(prefix, None) == covered:
            return f"{prefix}*"
    return f"{text} to {end.decode(errors='backslashreplace')}"


def wanted_state(params: dict) -> tuple[State, dict[str, str]]:
    """What the module's parameters ask for, and the passwords by user. Raises ValueError for what etcd can't take."""
    state, passwords = State(enabled=params["enabled"]), {}
    for role in params["roles"]:
        state.roles[role["name"]] = {
            key_range(item["prefix"], item["key"]): item["access"].upper() for item in role["permissions"]
        }
    for user in params["users"]:
        name = user["name"]
        passwords[name] = user["password"]
        state.users[name] = User(None if user["roles"] is None else set(user["roles"]), True)
    if ROOT in state.users:
        state.users[ROOT].roles = {ROOT} | (state.users[ROOT].roles or set())
        state.roles.setdefault(ROOT, {})
    elif params["enabled"] and params["username"] != ROOT:
        raise ValueError("etcd enables authentication only where there is a user root: declare it in users.")
    return state, passwords


def log_in(client: etcd.Client, endpoint: str, passwords: dict[str, str]) -> bool:
    """Log in as the client's user, with the declared password where its own is refused (a rotation that is done or half done).

    Returns whether authentication is enabled. Raises EtcdError.
    """
    try:
        return client.log_in(endpoint)
    except etcd.EtcdError as error:
        declared = passwords.get(client.username)
        if not error.says(etcd.WRONG_PASSWORD) or declared in (None, client.password):
            raise
        client.password = declared
        return client.log_in(endpoint)


def read_state(client: etcd.Client, endpoint: str, passwords: dict[str, str]) -> State:
    """What there is now, passwords tried. Raises EtcdError."""
    state = State(enabled=log_in(client, endpoint, passwords))
    for name in client.call(endpoint, "/v3/auth/role/list", {}).get("roles", []):
        # The gateway leaves out fields that are zero, and READ is zero.
        permissions = client.call(endpoint, "/v3/auth/role/get", {"role": name}).get("perm", [])
        state.roles[name] = {
            (item.get("key", ""), item.get("range_end", "")): item.get("permType", "READ") for item in permissions
        }
    for name in client.call(endpoint, "/v3/auth/user/list", {}).get("users", []):
        roles = client.call(endpoint, "/v3/auth/user/get", {"name": name}).get("roles", [])
        state.users[name] = User(set(roles))
        if state.enabled and name in passwords:
            tried = (name, passwords[name]) == (client.username, client.password)
            state.users[name].password_ok = tried or works(client, endpoint, name, passwords[name])
    return state


def works(client: etcd.Client, endpoint: str, name: str, password: str) -> bool:
    """Whether the password is the user's. Raises EtcdError."""
    try:
        return client.authenticate(endpoint, name, password) is not None
    except etcd.EtcdError as error:
        if error.says(etcd.WRONG_PASSWORD):
            return False
        raise


def plan(current: State, wanted: State, passwords: dict[str, str]) -> list[Step]:
    """The requests that lead from current to wanted, in an order that etcd accepts and that locks nobody out.

    Roles come before the users that hold them, and authentication is enabled last. Where it is not enabled yet, the
    password of an existing user can't be tried, so it is set. What is not declared is left alone.
    """
    steps = []
    if current.enabled and not wanted.enabled:
        steps.append(Step("/v3/auth/disable", {}))
    for name, permissions in wanted.roles.items():
        present = current.roles.get(name)
        if present is None:
            steps.append(Step("/v3/auth/role/add", {"name": name}))
            present = {}
        if name == ROOT:
            continue
        for covered in present.keys() - permissions.keys():
            steps.append(Step("/v3/auth/role/revoke", {"role": name, **_keys(covered)}))
        for covered, access in permissions.items():
            if present.get(covered) != access:
                permission = {"permType": access, **_keys(covered)}
                steps.append(Step("/v3/auth/role/grant", {"name": name, "perm": permission}))
    for name, user in wanted.users.items():
        steps += _user_steps(name, current.users.get(name), user, passwords[name], wanted.enabled)
    if wanted.enabled and not current.enabled:
        steps.append(Step("/v3/auth/enable", {}))
    return steps


def _keys(covered: Range) -> dict[str, str]:
    return {"key": covered[0], "range_end": covered[1]}


def _user_steps(name: str, present: User | None, wanted: User, password: str, enabled: bool) -> list[Step]:
    steps = []
    if present is None:
        steps.append(Step("/v3/auth/user/add", {"name": name, "password": password}))
    elif present.password_ok is False or (present.password_ok is None and enabled):
        steps.append(Step("/v3/auth/user/changepw", {"name": name, "password": password}))
    held = present.roles if present else set()
    if wanted.roles is not None:
        steps += [Step("/v3/auth/user/grant", {"user": name, "role": role}) for role in sorted(wanted.roles - held)]
        steps += [Step("/v3/auth/user/revoke", {"name": name, "role": role}) for role in sorted(held - wanted.roles)]
    return steps


def applied(current: State, wanted: State) -> State:
    """What there will be once the plan has been carried out."""
    users = dict(current.users)
    for name, user in wanted.users.items():
        held = current.users[name].roles if name in current.users else set()
        users[name] = User(held if user.roles is None else user.roles, True)
    return State(wanted.enabled, users, {**current.roles, **wanted.roles})


def shown(state: State, passwords: dict[str, str]) -> dict:
    """A state for people, without secrets."""
    roles = {
        name: sorted(f"{ACCESS[access]} {describe(covered)}" for covered, access in permissions.items())
        for name, permissions in sorted(state.roles.items())
    }
    users = {}
    for name, user in sorted(state.users.items()):
        users[name] = {"roles": sorted(user.roles or [])}
        if name in passwords:
            users[name]["password"] = {True: "as declared", False: "another one", None: "not known"}[user.password_ok]
    return {"authentication": "enabled" if state.enabled else "disabled", "roles": roles, "users": users}
