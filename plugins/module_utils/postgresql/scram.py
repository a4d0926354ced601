# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How PostgreSQL keeps a password: the verifier of SCRAM-SHA-256 (RFC 5802, 7677), in the form of its pg_authid."""

from __future__ import annotations

import hashlib
import hmac
import re
import stringprep
import unicodedata
from base64 import b64decode, b64encode

# PostgreSQL's own figures.
ITERATIONS, SALT_BYTES = 4096, 16
_VERIFIER = re.compile(r"SCRAM-SHA-256\$(\d+):([^$]+)\$([^:]+):(.+)")
# RFC 4013, section 2.3.
_PROHIBITED = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
    stringprep.in_table_a1,
)


def prepared(password: str) -> str:
    """The password as SASLprep (RFC 4013) has it, or as it is where that refuses it, which is what PostgreSQL and libpq do."""
    mapped = "".join(
        " " if stringprep.in_table_c12(one) else one for one in password if not stringprep.in_table_b1(one)
    )
    text = unicodedata.normalize("NFKC", mapped)
    if not text or any(table(one) for one in text for table in _PROHIBITED):
        return password
    if any(map(stringprep.in_table_d1, text)):
        ends = stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
        if not ends or any(map(stringprep.in_table_d2, text)):
            return password
    return text


def keys(password: str, salt: bytes, iterations: int) -> tuple[bytes, bytes]:
    """StoredKey and ServerKey of a password (RFC 5802, section 3)."""
    salted = hashlib.pbkdf2_hmac("sha256", prepared(password).encode(), salt, iterations)
    client, server = (hmac.digest(salted, name, "sha256") for name in (b"Client Key", b"Server Key"))
    return hashlib.sha256(client).digest(), server


def verifier(password: str, user: str) -> str:
    """What CREATE ROLE … PASSWORD takes in the place of the password; what is a verifier already is returned as it is.

    The salt is always the same for a user and a password, so that a second run finds what the first one wrote. It comes of both by as
    many rounds as the verifier itself, so it is no shorter way to the password.
    """
    if _VERIFIER.fullmatch(password):
        return password
    salt = hashlib.pbkdf2_hmac(
        "sha256", prepared(password).encode(), b"utmstack.ha salt of " + user.encode(), ITERATIONS, SALT_BYTES
    )
    stored, server = (b64encode(key).decode() for key in keys(password, salt, ITERATIONS))
    return f"SCRAM-SHA-256${ITERATIONS}:{b64encode(salt).decode()}${stored}:{server}"


def is_verifier_of(text: str, password: str) -> bool:
    """Whether a password is the one of a verifier, whatever its salt is."""
    found = _VERIFIER.fullmatch(text)
    if not found:
        return False
    stored, _server = keys(password, b64decode(found[2]), int(found[1]))
    return hmac.compare_digest(stored, b64decode(found[3]))
