# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Seals bytes to public keys in age's format, and opens them, on the controller: by the program where it is installed, else by pyrage.

Everything goes through memory and pipes: no file has what is to be sealed. A sealed text can be opened by `age` anywhere, without this.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterable
from pathlib import Path

from ..module_utils.common.age import AgeError, armored, name, unarmored

LIMIT_S = 60.0
NO_TOOL = "Neither age nor the Python package pyrage is there. Install the package age, or run `pip install pyrage` beside Ansible"


def seal(data: bytes, recipients: Iterable[str]) -> str:
    """Return the data, sealed to all recipients, as text. Raises AgeError."""
    recipients = list(recipients)
    if not recipients:
        raise AgeError("there is no recipient")
    program = shutil.which("age")
    if program:
        arguments = [program, "--encrypt"] + [word for one in recipients for word in ("--recipient", name(one))]
        return armored(_pipe(arguments, data))
    pyrage = _pyrage()
    try:
        keys = [
            (pyrage.ssh if one.startswith("ssh-") else pyrage.x25519).Recipient.from_str(name(one))
            for one in recipients
        ]
        return armored(pyrage.encrypt(data, keys))
    except (pyrage.EncryptError, pyrage.RecipientError) as error:
        raise AgeError(f"pyrage: {error}") from None


def unseal(text: str, identity: Path) -> bytes:
    """Return what is in a sealed text. identity: the file of the private key. Raises AgeError."""
    data = unarmored(text)
    if not identity.is_file():
        raise AgeError(f"{identity} is no file. Give the file with the private key")
    program = shutil.which("age")
    if program:
        return _pipe([program, "--decrypt", "--identity", str(identity)], data)
    pyrage = _pyrage()
    try:
        keys = identity.read_bytes()
        if b"OPENSSH PRIVATE KEY" in keys:
            found = [pyrage.ssh.Identity.from_buffer(keys)]
        else:
            lines = [line.strip() for line in keys.decode().splitlines()]
            found = [pyrage.x25519.Identity.from_str(line) for line in lines if line.startswith("AGE-SECRET-KEY-")]
        return pyrage.decrypt(data, found)
    except (pyrage.DecryptError, pyrage.IdentityError, UnicodeDecodeError, OSError) as error:
        raise AgeError(f"pyrage: {error}") from None


def _pyrage():
    try:
        import pyrage
    except ImportError:
        raise AgeError(NO_TOOL) from None
    return pyrage


def _pipe(arguments: list[str], data: bytes) -> bytes:
    """Run age on bytes. It has no terminal, so a key with a passphrase can't be asked for."""
    process = subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        out, err = process.communicate(data, timeout=LIMIT_S)
    except BaseException as error:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            raise AgeError(f"age did not end within {LIMIT_S:g} s") from None
        raise
    if process.returncode:
        lines = [
            line
            for line in err.decode(errors="replace").splitlines()
            if line.strip() and "report unexpected" not in line
        ]
        raise AgeError(lines[0] if lines else f"age ended with {process.returncode}")
    return out
