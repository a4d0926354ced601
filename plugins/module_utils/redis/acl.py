# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Users of Redis and Sentinel as lines of an ACL file. Passwords are in it as SHA-256 only, as Redis itself keeps them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]*")
# Rules that would give a user a second way in, or another state, than what is said about it here.
_FORBIDDEN = ("nopass", "resetpass", "reset", "on", "off")


def hashed(password: str) -> str:
    """A password as Redis keeps it."""
    return hashlib.sha256(password.encode()).hexdigest()


def hashes(text: str) -> dict[str, list[str]]:
    """User to its hashed passwords, of an ACL file."""
    users = re.findall(r"^user (\S+) on (.*)$", text, re.MULTILINE)
    return {user: re.findall(r"#([0-9a-f]{64})(?= |$)", rest) for user, rest in users}


def line(name: str, password: str, rules: str, former: Iterable[str] = ()) -> str:
    """One user's line. former: hashed passwords that are accepted as well."""
    accepted = dict.fromkeys((hashed(password), *former))
    return f"user {name} on {' '.join(f'#{one}' for one in accepted)} {' '.join(rules.split())}"


def acl_file(
    own: Iterable[Mapping[str, Any]],
    extra: Iterable[Mapping[str, Any]] = (),
    setting: str = "users",
    former: str = "",
) -> str:
    """The ACL file for the role's own users and the inventory's; the user that needs no login is off.

    former: the present file; what it accepts of the own users' passwords is accepted further on. Raises ValueError with every fault
    of `extra`, which `setting` names.
    """
    own = list(own)
    known = {"default", *(user["name"] for user in own)}
    faults = []
    for number, user in enumerate(extra):
        faults += [f"{setting}[{number}] ({user.get('name') or 'no name'}): {fault}" for fault in _faults(user, known)]
        known.add(str(user.get("name")))
    if faults:
        raise ValueError("; ".join(faults))
    kept = hashes(former)
    users = [line(user["name"], user["password"], user["rules"], kept.get(user["name"], ())) for user in own]
    users += [line(user["name"], user["password"], user["rules"]) for user in extra]
    return "".join(f"{text}\n" for text in ["user default off", *users])


def _faults(user: Mapping[str, Any], known: set[str]) -> list[str]:
    found = []
    name, password, rules = (str(user.get(key) or "") for key in ("name", "password", "rules"))
    if not _NAME.fullmatch(name):
        found.append("a name is letters, digits and . _ @ - only")
    elif name in known:
        found.append("there is such a user already; take another name")
    if len(password) < 12:
        what = (
            f"the password has {len(password)} characters"
            if password
            else "has no password, so anyone could log in as this user"
        )
        found.append(f"{what}; give it one of 12 or more")
    if not rules.strip():
        found.append("has no rules, so it may do nothing; say what it may do, for example '~app:* +@read'")
    for rule in rules.split():
        if rule.lower() in _FORBIDDEN or rule.startswith((">", "#", "<", "!")):
            found.append(
                f"{rule[:1] + '…' if rule[0] in '>#<!' else rule} is no rule for rules; set password, or take the user out"
            )
    return found
