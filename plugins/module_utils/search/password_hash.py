# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Passwords as OpenSearch keeps them: hashed by bcrypt, Debian's package python3-bcrypt."""

from __future__ import annotations

try:
    import bcrypt
except ImportError:
    bcrypt = None

# bcrypt reads no more than this of a password. Its releases differ in whether they say so.
MOST_BYTES = 72


def make(password: str, cost: int = 12) -> str:
    """The bcrypt hash of a password with a salt of its own. Raises ValueError, for one that is too long too."""
    if len(password.encode()) > MOST_BYTES:
        raise ValueError(f"bcrypt takes passwords of up to {MOST_BYTES} bytes")
    hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()
    # 2b and 2y are two names of one method; OpenSearch's own tool writes the latter.
    return hashed.replace("$2b$", "$2y$", 1)


def verify(password: str, hashed: str) -> bool:
    """Whether the hash is that of the password. Anything that is no bcrypt hash is not."""
    try:
        return bcrypt.checkpw(password.encode(), hashed.encode())
    except ValueError:
        return False
