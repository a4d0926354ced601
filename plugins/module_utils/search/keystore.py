# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which entries of a keystore to write or remove, without opening it: its values can't be read back.

What was written is remembered as salted digests, together with the digest of the keystore file itself. Where somebody else
has changed the file, all values are written again.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

ROUNDS = 100_000
# Those that the servers read again on `POST _nodes/reload_secure_settings` (their documentation, "Secure settings").
RELOADABLE = ("s3.client.*", "gcs.client.*", "azure.client.*", "xpack.notification.*", "xpack.monitoring.exporters.*")
# Only read while there are no users yet.
UNUSED_LATER = ("bootstrap.password",)


@dataclass(frozen=True)
class Plan:
    """Names to write and to remove, and what follows for a server that runs."""

    add: list[str] = field(default_factory=list)
    remove: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.add or self.remove)

    @property
    def reload(self) -> list[str]:
        """Names whose change the server takes up by a reload."""
        return [name for name in self.add + self.remove if reloadable(name)]

    @property
    def restart(self) -> list[str]:
        """Names whose change needs a restart."""
        return [name for name in self.add + self.remove if not reloadable(name) and name not in UNUSED_LATER]


def reloadable(name: str) -> bool:
    """Whether a running server can read the entry again."""
    return any(fnmatchcase(name, pattern) for pattern in RELOADABLE)


def is_file(name: str) -> bool:
    """Whether the entry holds a file, as Google's credentials do."""
    return name.endswith("_file")


def remember(value: str) -> dict[str, str]:
    """What is kept of a value: a salt and a digest, hexadecimal."""
    salt = os.urandom(16)
    return {"salt": salt.hex(), "digest": _digest(value, salt)}


def recalls(kept: dict[str, str] | None, value: str) -> bool:
    """Whether what is kept stands for the value."""
    return bool(kept) and hmac.compare_digest(kept["digest"], _digest(value, bytes.fromhex(kept["salt"])))


def _digest(value: str, salt: bytes) -> str:
    return hashlib.pbkdf2_hmac("sha256", value.encode(), salt, ROUNDS).hex()


def plan_entries(record: dict, wanted: dict[str, str], file_digest: str, listed: list[str] | None) -> Plan:
    """What to do. record: {file: digest of the keystore as we left it, entries: {name: what is kept}}, empty at first.

    file_digest: the keystore's present one, '' where there is none. listed: the names in it, asked only where the file isn't as
    we left it. Only entries that we have written are ever removed.
    """
    known = record.get("entries", {})
    if not file_digest:
        return Plan(add=sorted(wanted))
    gone = [name for name in known if name not in wanted]
    if record.get("file") == file_digest:
        add = [name for name in wanted if not recalls(known.get(name), wanted[name])]
        return Plan(add=sorted(add), remove=sorted(gone))
    return Plan(add=sorted(wanted), remove=sorted(set(gone).intersection(listed or [])))


def record_of(record: dict, wanted: dict[str, str], plan: Plan, file_digest: str) -> dict:
    """The record after the plan has been carried out."""
    known = record.get("entries", {})
    entries = {
        name: remember(value) if name in plan.add or name not in known else known[name]
        for name, value in wanted.items()
    }
    return {"file": file_digest, "entries": entries}


def fault(wanted: dict[str, str]) -> str:
    """What is wrong with the entries, or ''. Never tells a value."""
    for name, value in wanted.items():
        if not name or name != name.lower() or not name.isascii() or " " in name:
            return f"{name!r} is no name of an entry: they have lower case letters, digits, dots and underscores."
        if not value:
            return f"The entry {name} has no value. Give it one, or leave it out and it is removed."
        if not is_file(name) and ("\n" in value or "\r" in value):
            return (
                f"The value of {name} has more than one line. Only entries with a name that ends in _file take a file."
            )
    return ""
