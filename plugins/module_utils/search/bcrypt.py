# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""bcrypt by the system's own libcrypt, which every Debian has; Python has no module for it."""

from __future__ import annotations

import ctypes
import ctypes.util
import os

ALPHABET = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
# bcrypt reads no more than this of a password.
MOST_BYTES = 72


def _crypt(password: str, setting: str) -> str:
    library = ctypes.CDLL(ctypes.util.find_library("crypt") or "libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    library.crypt.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    result = (library.crypt(password.encode(), setting.encode()) or b"*0").decode()
    if result.startswith("*"):
        raise ValueError("the system's libcrypt knows no bcrypt, or the hash is none")
    return result


def make(password: str, cost: int = 12) -> str:
    """The bcrypt hash of a password with a salt of its own. Raises ValueError, for one that is too long too."""
    if len(password.encode()) > MOST_BYTES:
        raise ValueError(f"bcrypt takes passwords of up to {MOST_BYTES} bytes")
    salt = "".join(ALPHABET[byte % 64] for byte in os.urandom(21))
    # 22 characters carry 132 bits, of which 128 count: the last one has only four of its own.
    return _crypt(password, f"$2y${cost:02d}${salt}{ALPHABET[os.urandom(1)[0] % 4 * 16]}")


def verify(password: str, hashed: str) -> bool:
    """Whether the hash is that of the password. Anything that is no bcrypt hash is not."""
    try:
        return hashed.startswith("$2") and _crypt(password, hashed) == hashed
    except ValueError:
        return False
