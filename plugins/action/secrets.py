# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads the platform's passwords on the controller, and makes and stores those that are missing."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.parsing.vault import AnsibleVaultError, is_encrypted, parse_vaulttext_envelope
from ansible.plugins.action import ActionBase

from ..module_utils.common.secrets import append, complete, trouble
from ..module_utils.services.passwords import kept, passwords


class ActionModule(ActionBase):
    """Failures tell names, never values; a successful result is marked as not to be logged."""

    _requires_connection = False
    _VALID_ARGS = frozenset(("directory", "store"))

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return all passwords; in check mode the missing ones are made but not stored."""
        result = super().run(tmp, task_vars)
        path = self._path()
        given = self._given(task_vars or {})
        with alone(path.parent, create=not self._task.check_mode):
            return {**result, "_ansible_no_log": True, **self._complete(path, given)}

    def _complete(self, path: Path, given: Mapping[str, str]) -> dict[str, Any]:
        """Read the file, and store what it lacks."""
        text, encrypt = self._read(path)
        stored = self._parse(path, text)
        check(given, "the inventory")
        check(stored, str(path))
        secrets, made = complete(passwords(), kept(), given, stored)
        to_keep = self._kept(stored)
        secrets.update(to_keep)
        made_now = sorted(made)
        made = {**made, **to_keep}
        open_to_others = path.exists() and bool(path.stat().st_mode & 0o077)
        if not self._task.check_mode:
            if made:
                new = append(text, made)
                if self._parse(path, new) != {**stored, **made}:
                    raise AnsibleActionFail(
                        f"{path} is no plain list of 'name: value' lines, so nothing can be added to it."
                    )
                store(path, encrypt(new))
            elif open_to_others:
                close(path)
        return {
            "changed": bool(made) or open_to_others,
            "secrets": secrets,
            "path": str(path),
            "generated": made_now,
        }

    def _kept(self, stored: Mapping[str, str]) -> dict[str, str]:
        """Return what the task wants stored and is not, or is otherwise."""
        store = self._task.args.get("store") or {}
        unknown = sorted(set(store) - set(kept()))
        if unknown:
            raise AnsibleActionFail(f"{', '.join(unknown)} can't be stored; only {', '.join(kept())} can.")
        return {name: str(value) for name, value in store.items() if value and stored.get(name) != value}

    def _path(self) -> Path:
        directory = self._task.args.get("directory")
        if not directory:
            raise AnsibleActionFail(
                "There is no directory for the passwords, since this inventory is no file. Set ha_secrets_dir to a "
                "directory on the controller that only you can read."
            )
        if not os.path.isabs(str(directory)):
            raise AnsibleActionFail(
                f"ha_secrets_dir is {str(directory)!r}. Set it to an absolute path on the controller."
            )
        path = Path(str(directory)) / "passwords.yml"
        # What is behind a link may only be away for the moment: a disk that is not mounted, a checkout that is not there yet.
        for link in (path.parent, path):
            if link.is_symlink() and not link.exists():
                raise AnsibleActionFail(
                    f"{link} leads to {os.readlink(link)}, which is not there, so the passwords of this cluster can't be told from "
                    "missing ones. Have it there, or remove the link where new passwords are wanted."
                )
        # A link to the file stays one.
        return path.resolve()

    def _given(self, variables: Mapping[str, Any]) -> dict[str, str]:
        given = {}
        for name in (*passwords(), *kept()):
            try:
                value = self._templar.template(variables.get(name))
            except AnsibleError:
                # Not chained: the template's text may be a part of the password.
                raise AnsibleActionFail(f"{name} can't be templated. Correct it in the inventory.") from None
            if value not in (None, ""):
                given[name] = value
        return given

    def _read(self, path: Path) -> tuple[str, Any]:
        """Return the file's text, and how to make bytes of a new one: encrypted with the same secret, if it was."""
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return "", str.encode
        except OSError as error:
            raise AnsibleActionFail(
                f"{path} can't be read: {error.strerror}. Correct that, or set ha_secrets_dir to another directory."
            ) from None
        if not is_encrypted(content):
            return text_of(path, content), str.encode
        vault = self._loader._vault
        try:
            plain, _identity, secret = vault.decrypt_and_get_vault_id(content)
        except AnsibleError:
            raise AnsibleActionFail(
                f"{path} is encrypted, and no vault password that was given opens it. Use --ask-vault-pass or "
                "--vault-password-file."
            ) from None
        identity = parse_vaulttext_envelope(content)[3]
        identity = None if identity == "default" else identity
        return text_of(path, plain), lambda text: vault.encrypt(text, secret=secret, vault_id=identity)

    def _parse(self, path: Path, text: str) -> dict[str, str]:
        """Return the passwords of the file; single values in it may be encrypted, too."""
        try:
            content = self._loader.load(text, file_name=str(path)) if text.strip() else {}
            values = {} if content is None else {str(name): content[name] for name in content if content[name]}
            # str() also decrypts a value that is encrypted by itself.
            return {
                name: value if isinstance(value, (int, float, list, dict)) else str(value)
                for name, value in values.items()
            }
        except AnsibleVaultError:
            raise AnsibleActionFail(
                f"{path} has encrypted values, and no vault password that was given opens them. Use --ask-vault-pass or "
                "--vault-password-file."
            ) from None
        except (AnsibleError, TypeError):
            raise AnsibleActionFail(f"{path} is no YAML of 'name: value' lines. Correct it.") from None


def check(given: Mapping[str, Any], source: str) -> None:
    """Refuse passwords that a component can't take; those of other names are not looked at."""
    known = passwords()
    wrong = [
        f"{name} in {source} {'. '.join(found)}."
        for name, value in given.items()
        if name in known and (found := trouble(value, known[name]))
    ]
    if wrong:
        raise AnsibleActionFail("\n".join(wrong))


@contextmanager
def alone(directory: Path, create: bool) -> Iterator[None]:
    """Let one run at a time read and complete the passwords of a directory: two that begin together have the same ones."""
    descriptor = None
    # Who may not write there, and a file system without locks, is no reason to stop: what can't be stored is told as such.
    with suppress(OSError):
        if create:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def text_of(path: Path, content: bytes) -> str:
    """Return the text of the file."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise AnsibleActionFail(f"{path} is no text in UTF-8. Write it anew as such.") from None


def close(path: Path) -> None:
    """Let nobody but the owner read the file."""
    try:
        path.chmod(0o600)
    except OSError as error:
        raise AnsibleActionFail(
            f"{path} can be read by others, and can't be closed: {error.strerror}. Let its owner run chmod 600, or make it yours."
        ) from None


def store(path: Path, content: bytes) -> None:
    """Write the file whole or not at all, readable by its owner only."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".passwords.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise AnsibleActionFail(
            f"{path} can't be written: {error.strerror}. Set ha_secrets_dir to a directory that you can write."
        ) from None
