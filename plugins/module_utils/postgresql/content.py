# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether PostgreSQL has the users and databases that the role declares: by one query, and not by a call of a module for each of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .scram import verifier


def differences(
    found: Mapping[str, Any],
    users: Iterable[Mapping[str, Any]],
    memberships: Mapping[str, Iterable[str]],
    databases: Iterable[Mapping[str, str]],
    kept: str = "",
) -> list[str]:
    """Return what is not as it should be, a few words each, without any password.

    found: what roles/postgresql/files/content.sql selects: `users`, name to its verifier (`password`) and the attributes that it has
        (`flags`), `members`, a list of [role, member], `databases`, name to `owner` and `encoding`, and `lookup`.
    users: each {name, password, role_attr_flags}, as community.postgresql.postgresql_user takes them.
    memberships: user to the roles that it is a member of.
    kept: the user whose password is changed elsewhere.
    """
    wrong = []
    for user in users:
        name = user["name"]
        known = (found["users"] or {}).get(name)
        if known is None:
            wrong.append(f"user {name} is missing")
            continue
        if name != kept and known["password"] != verifier(str(user["password"]), name):
            wrong.append(f"user {name} has another password")
        if not _has(set(known["flags"]), user.get("role_attr_flags") or ""):
            wrong.append(f"user {name} has other attributes")
    members = {tuple(pair) for pair in found["members"] or ()}
    wrong += [
        f"user {name} is no member of {role}"
        for name, roles in memberships.items()
        for role in roles
        if (role, name) not in members
    ]
    for database in databases:
        known = (found["databases"] or {}).get(database["name"])
        if known != {"owner": database["owner"], "encoding": "UTF8"}:
            wrong.append(f"database {database['name']} is missing, or has another owner or encoding")
    return wrong


def _has(present: set[str], wanted: str) -> bool:
    """Whether a role has the attributes of a list such as CREATEDB,NOLOGIN. An attribute that is not known is never there, nor its absence."""
    known = {"SUPERUSER", "CREATEROLE", "CREATEDB", "INHERIT", "LOGIN", "REPLICATION", "BYPASSRLS"}
    flags = {flag.upper() for flag in wanted.split(",") if flag}
    forbidden = {flag.removeprefix("NO") for flag in flags - known}
    return forbidden <= known - present and flags & known <= present
