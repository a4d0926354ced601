# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Passwords that the platform shares: what they may be made of, and how new ones are made. Each service has the names of its own."""

from __future__ import annotations

import re
import secrets
import string
from collections.abc import Callable, Iterable, Mapping

MINIMUM_LENGTH = 12
MAXIMUM_LENGTH = 128
GENERATED_LENGTH = 32

# Passwords pass through configuration files, URLs and HTTP headers. What is not printable ASCII is refused for all, since PostgreSQL's
# SASLprep (RFC 4013) and others change or refuse it. HAProxy's configuration gives a meaning to these characters, too.
HAPROXY_FORBIDS = "\"'\\$#"


def trouble(value: object, forbidden: str = "") -> tuple[str, str] | None:
    """Return what is wrong with a password and the remedy, or None. Neither contains any part of the password.

    forbidden: characters that the component's configuration can't take.
    """
    how = f"Set {MINIMUM_LENGTH} to {MAXIMUM_LENGTH} printable ASCII characters without spaces"
    if forbidden:
        how += f" and without {' '.join(forbidden)}"
    how += ", or leave it out and one is generated"
    if not isinstance(value, str):
        return "is no text", how + " (quote it in YAML)"
    if len(value) < MINIMUM_LENGTH:
        return f"has {len(value)} characters, too few", how
    if len(value) > MAXIMUM_LENGTH:
        return f"has {len(value)} characters, too many", how
    if not all("!" <= character <= "~" for character in value):
        return "contains a space, a control character or one outside ASCII", how
    if any(character in forbidden for character in value):
        return "contains a character that the component's configuration can't take", how
    return None


def generate(choice: Callable[[str], str] = secrets.choice) -> str:
    """Return a new password: 32 letters and digits, 190 bits from the operating system's generator."""
    return "".join(choice(string.ascii_letters + string.digits) for _unused in range(GENERATED_LENGTH))


def complete(
    names: Iterable[str],
    kept: Iterable[str],
    given: Mapping[str, str],
    stored: Mapping[str, str],
    make: Callable[[], str] = generate,
) -> tuple[dict[str, str], dict[str, str]]:
    """Return all passwords, and those of them that were made now and have to be stored.

    names: the passwords. kept: secrets that a service makes by itself, empty where nobody has them yet.
    What the user set wins over what is stored; what neither has is made.
    """
    names = list(names)
    made = {name: make() for name in names if name not in given and name not in stored}
    everything = {name: given.get(name) or stored.get(name) or made[name] for name in names}
    return {**everything, **{name: given.get(name) or stored.get(name) or "" for name in kept}}, made


def append(text: str, made: Mapping[str, str]) -> str:
    """Return the text of the YAML file with the new passwords at its end, in place of older values of the same names.

    Comments and order of the rest stay.
    """
    if not text.strip():
        text = (
            "---\n# Made by utmstack.ha, which reads them here at each run. Keep this file secret and backed up;\n"
            "# it may be encrypted as it is: ansible-vault encrypt passwords.yml\n"
        )
    for name in made:
        text = re.sub(rf"^{re.escape(name)}:.*\n?", "", text, flags=re.MULTILINE)
    lines = "".join(f"{name}: {value}\n" for name, value in made.items())
    return text + ("" if text.endswith("\n") else "\n") + lines
