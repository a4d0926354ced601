# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What can be said of a sealed text in age's format (age-encryption.org/v1) without any key, and of the keys that it is sealed to."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable

BEGIN, END = "-----BEGIN AGE ENCRYPTED FILE-----", "-----END AGE ENCRYPTED FILE-----"
VERSION = b"age-encryption.org/v1"
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


class AgeError(Exception):
    """Something could not be sealed or opened; why, without any part of it."""


def fault(recipient: object) -> tuple[str, str] | tuple[()]:
    """Return what is wrong with a public key and the remedy; nothing where it can be sealed to.

    Taken are X25519 keys of age and ssh-ed25519 keys: those that both implementations open, and that need no device to verify a backup.
    """
    remedy = "Give the line `# public key: age1…` of age-keygen, or a line of an ssh-ed25519 .pub file"
    if not isinstance(recipient, str):
        return "is no text", remedy
    text = recipient.strip()
    if text.upper().startswith("AGE-SECRET-KEY-"):
        return "is a PRIVATE key, which must not be in an inventory", f"Take it away and make a new one. {remedy}"
    if text.split(" ")[0] == "ssh-ed25519":
        try:
            blob = _ssh_blob(text)
        except (ValueError, binascii.Error, IndexError):
            blob = b""
        whole = len(blob) == 51 and blob.startswith(b"\0\0\0\x0bssh-ed25519\0\0\0\x20")
        return () if whole else ("is no whole ssh-ed25519 key", remedy)
    if text.startswith("ssh-"):
        return f"is {text.split()[0]}", f"Of SSH keys only ssh-ed25519 is taken. {remedy}"
    if text.startswith("age1") and not _x25519(text):
        return "is no whole age1… key, or one of a plugin", remedy
    return () if text.startswith("age1") else ("is no public key of age", remedy)


def name(recipient: str) -> str:
    """Return a recipient without the comment of an SSH key."""
    return " ".join(recipient.split()[:2])


def missing(text: str, recipients: Iterable[str]) -> list[str]:
    """Return which recipients the header of a sealed text does not name; nothing where it names all. Raises AgeError.

    The header says of an SSH key which one it is. Of an age1 key it says only that there is one, so these are counted.
    """
    stanzas = header(text)
    tags = {words[1] for words in stanzas if words[0] == "ssh-ed25519" and len(words) > 1}
    count = sum(1 for words in stanzas if words[0] == "X25519")
    found = []
    for one in recipients:
        if one.startswith("ssh-"):
            found += [] if ssh_tag(one) in tags else [name(one)]
        else:
            count -= 1
            found += [] if count >= 0 else [one]
    return found


def header(text: str) -> list[list[str]]:
    """Return the stanzas of a sealed text, each as its words. Raises AgeError where it is none."""
    lines = unarmored(text).split(b"\n---", 1)[0].split(b"\n")
    if lines[0] != VERSION:
        raise AgeError("it does not begin as a file of age does")
    return [line[3:].decode("ascii", "replace").split() for line in lines if line.startswith(b"-> ")]


def ssh_tag(recipient: str) -> str:
    """Return by what a header names an SSH key: four bytes of its checksum."""
    return base64.b64encode(hashlib.sha256(_ssh_blob(recipient)).digest()[:4]).decode().rstrip("=")


def opens(content: bytes, recipients: Iterable[str]) -> str:
    """Return what among some bytes opens what is sealed: a private key of age, or that of an SSH recipient; empty where nothing does."""
    if b"AGE-SECRET-KEY-1" in content:
        return "a private key of age"
    if b"-----BEGIN OPENSSH PRIVATE KEY-----" not in content:
        return ""
    body = content.split(b"-----BEGIN OPENSSH PRIVATE KEY-----", 1)[1].split(b"-----END", 1)[0]
    try:
        # The public half is in clear also where the private one has a passphrase.
        blob = base64.b64decode(b"".join(body.split()))
    except binascii.Error:
        return ""
    mine = [one for one in recipients if one.startswith("ssh-") and _ssh_blob(one) in blob]
    return f"the private key of {name(mine[0])}" if mine else ""


def armored(data: bytes) -> str:
    """Return sealed bytes as text."""
    body = base64.b64encode(data).decode()
    return "\n".join([BEGIN, *(body[place : place + 64] for place in range(0, len(body), 64)), END, ""])


def unarmored(text: str) -> bytes:
    """Return the bytes of a sealed text. Raises AgeError."""
    lines = text.strip().splitlines()
    if len(lines) < 3 or lines[0] != BEGIN or lines[-1] != END:
        raise AgeError("it is not a whole file of age in text form")
    try:
        return base64.b64decode("".join(lines[1:-1]), validate=True)
    except binascii.Error:
        raise AgeError("it is not a whole file of age in text form") from None


def _ssh_blob(recipient: str) -> bytes:
    return base64.b64decode(recipient.split()[1], validate=True)


def _x25519(text: str) -> bool:
    """Whether a text is an age1 key of 32 bytes with the right checksum (BIP 173)."""
    data = [_BECH32.find(letter) for letter in text[4:]]
    if len(data) != 58 or min(data) < 0:
        return False
    value = 1
    for five in [ord(letter) >> 5 for letter in "age"] + [0] + [ord(letter) & 31 for letter in "age"] + data:
        top, value = value >> 25, (value & 0x1FFFFFF) << 5 ^ five
        for bit, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            value ^= generator if top >> bit & 1 else 0
    return value == 1
