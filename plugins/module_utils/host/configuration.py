# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The configuration of the platform as a backup: what of the controller is needed to have it again, as an archive that only the operator opens.

The archive is made on the controller, in memory, and sealed there; backup hosts get what is sealed. What opens it is on none of them.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import posixpath
import tarfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..common import age
from ..common.backup import UNVERIFIED, BackupError, checksums, directory_bytes

SEALED, MANIFEST, README = "configuration.age", "manifest.json", "README-RESTORE"
INVENTORY, SECRETS, BESIDE = "inventory", "secrets", "playbook"
OPENED_S = 90 * 86400
LIMIT_BYTES = 64 << 20
VARIABLES = ("group_vars", "host_vars")
SKIPPED = (".git", "__pycache__", ".svn", ".hg")

Files = dict[str, tuple[bytes, bool]]


# -- on the controller ------------------------------------------------------------------------------------------------


def collect(sources: Iterable[str], secrets: str, playbook: str = "", config: str = "") -> Files:
    """Return the files that are needed, name in the archive to content and whether it can be executed.

    sources: of the inventory, files or directories. secrets: ha_secrets_dir. playbook: a directory beside whose playbooks variables may lie.
    config: an ansible.cfg. What a link leads to is taken in its place. Raises BackupError.
    """
    found: Files = {}
    places = [Path(source) for source in dict.fromkeys(sources) if os.path.exists(source)]
    hidden = Path(secrets).resolve() if secrets else None
    inside = ""
    for number, source in enumerate(places, 1):
        root = INVENTORY if len(places) == 1 else f"{INVENTORY}/{number}"
        directory = source if source.is_dir() else source.parent
        if source.is_dir():
            _add(found, source, root, hidden)
        else:
            _add_file(found, source, f"{root}/{source.name}")
            for name in VARIABLES:
                _add(found, directory / name, f"{root}/{name}", hidden)
        if hidden and hidden == (directory / ".secrets").resolve() and not inside:
            inside = f"{root}/.secrets"
    if hidden and hidden.is_dir():
        _add(found, hidden, inside or SECRETS, None)
    if playbook:
        for name in VARIABLES:
            _add(found, Path(playbook) / name, f"{BESIDE}/{name}", hidden)
    if config:
        _add_file(found, Path(config), "ansible.cfg")
    size = sum(len(content) for content, _executable in found.values())
    if size > LIMIT_BYTES:
        raise BackupError(
            f"inventory and secrets have {size >> 20} MiB, more than {LIMIT_BYTES >> 20}. Keep what is no configuration elsewhere"
        )
    return found


def where_secrets(files: Mapping[str, Any]) -> str:
    """Return the directory of the secrets within the archive."""
    inside = sorted({name.split("/.secrets/")[0] + "/.secrets" for name in files if "/.secrets/" in name})
    return inside[0] if inside else SECRETS


def digest(files: Files) -> str:
    """Return a checksum of all names and contents. It says nothing of them to whoever does not have them all."""
    found = hashlib.sha256()
    for name, (content, executable) in sorted(files.items()):
        for part in (name.encode(), b"x" if executable else b"-", content):
            found.update(len(part).to_bytes(8, "big") + part)
    return found.hexdigest()


def instructions(cluster: str, recipients: Iterable[str]) -> str:
    """Return how to open it without this collection."""
    keys = "\n".join(f"  {age.name(one)}" for one in recipients)
    return f"""Configuration of the cluster {cluster}: its inventory, passwords, CA and what else the controller needs.

{SEALED} is sealed with age (https://age-encryption.org, Debian's package age) to these public keys:
{keys}

With the private key of one of them, and nothing else of the platform:
  age --decrypt --identity FILE_OF_THE_PRIVATE_KEY {SEALED} > configuration.tar
  tar --extract --file configuration.tar --directory NEW_EMPTY_DIRECTORY

With the collection utmstack.ha, on any controller:
  ansible-playbook playbooks/restore_config.yml -e archive={SEALED} -e identity=FILE_OF_THE_PRIVATE_KEY -e directory=NEW_DIRECTORY
  ansible-playbook -i NEW_DIRECTORY/{INVENTORY} playbooks/site.yml

If passwords.yml is encrypted by ansible-vault, its vault password is needed, too, and is not in here.
The passphrase of the backups (backup_passphrase) is in passwords.yml. configuration.tar has all passwords: remove it when you are done.
"""


def archive(files: Files, facts: Mapping[str, Any]) -> bytes:
    """Return the files as a tar, with facts in its manifest.

    The owner's rights alone are in it, and the time is that of no file, so that the same content makes the same archive.
    """
    everything = {**files, MANIFEST: (json.dumps(facts, indent=2, sort_keys=True).encode(), False)}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, (content, executable) in sorted(everything.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o700 if executable else 0o600
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def members(data: bytes) -> tuple[dict[str, Any], Files]:
    """Return manifest and files of an archive. Raises BackupError for one that could write anywhere but below a directory of its own."""
    files: Files = {}
    size = 0
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            for entry in tar:
                name = entry.name
                if not entry.isreg():
                    raise BackupError(f"the archive has {name!r}, which is no plain file")
                if not _safe(name) or name in files:
                    raise BackupError(f"the archive has a file named {name!r}, which does not belong into it")
                size += entry.size
                if size > 2 * LIMIT_BYTES:
                    raise BackupError("the archive is larger than any configuration")
                files[name] = (tar.extractfile(entry).read(), bool(entry.mode & 0o100))
        facts = json.loads(files.pop(MANIFEST)[0])
        if not isinstance(facts["cluster"], str) or facts["digest"] != digest(files):
            raise BackupError("the archive's files are not those that its manifest tells of")
    except (tarfile.TarError, KeyError, ValueError, TypeError) as error:
        raise BackupError(f"what was opened is no archive of a configuration: {error}") from error
    return facts, files


def differs(directory: Path, files: Files) -> list[str]:
    """Return the files that a directory has otherwise, or has more of, than an archive, by name."""
    here = _present(directory)
    return sorted(name for name in {*here, *files} if here.get(name) != files.get(name, (None,))[0])


def write(directory: Path, files: Files, stamp: str) -> str:
    """Write the files as the whole of a directory, readable by their owner only; what was there stays beside it. Returns its new path, or nothing.

    Raises OSError.
    """
    fresh, kept = directory.with_name(f".{directory.name}.restoring"), ""
    if fresh.exists():
        # Of a run that was killed.
        _remove(fresh)
    fresh.mkdir(mode=0o700, parents=True)
    for name, (content, executable) in sorted(files.items()):
        path = fresh / name
        for parent in reversed(path.relative_to(fresh).parents):
            (fresh / parent).mkdir(mode=0o700, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o700 if executable else 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            os.fsync(file.fileno())
    if directory.exists() and any(directory.iterdir()):
        copy = directory.with_name(f"{directory.name}.before-restore-{stamp}")
        if copy.exists():
            raise FileExistsError(17, "a safety copy is never written over", str(copy))
        os.rename(directory, copy)
        kept = str(copy)
    elif directory.exists():
        directory.rmdir()
    os.rename(fresh, directory)
    return kept


# -- on backup hosts: the interface of a kind -------------------------------------------------------------------------


def take(settings: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """No backup host can take it. Raises BackupError."""
    raise BackupError(
        "the configuration is sealed on the controller, by site.yml or playbooks/backup.yml -e kind=configuration"
    )


def verify(settings: Mapping[str, Any], directory: Path, scratch: Path) -> dict[str, Any]:
    """Look whether it is sealed to the present recipients, and when it was opened last. Nothing here can open it. Raises BackupError."""
    facts = inspect(directory)
    recipients = settings["recipients"]
    lacking = age.missing((directory / SEALED).read_text(encoding="ascii"), recipients)
    if lacking:
        raise BackupError(f"it is not sealed to {', '.join(lacking)}. Run playbooks/backup.yml -e kind=configuration")
    how = "Run playbooks/verify_backup.yml -e kind=configuration -e identity=FILE on the controller, with the file of the private key"
    opened = [
        one["started"]
        for one in settings["records"]
        if one["act"] == "verify" and one["verdict"] == "ok" and one.get("checks", {}).get("opened")
    ]
    if not opened:
        raise BackupError(
            f"nobody has opened it yet, so nobody knows whether the private key is still there. {how}", UNVERIFIED
        )
    days = int(max(0.0, settings.get("now", time.time()) - max(opened)) / 86400)
    if days > OPENED_S / 86400:
        raise BackupError(f"it was last opened {days} days ago. {how}", UNVERIFIED)
    return {
        "checks": {"header": f"sealed to {len(recipients)} recipients", "last opened": f"{days} days ago"},
        "point": facts["point"],
    }


def inspect(directory: Path) -> dict[str, Any]:
    """Return the facts of a backup that lies in a directory. Raises BackupError where it is none."""
    try:
        facts = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
        age.header((directory / SEALED).read_text(encoding="ascii"))
        point = {"time": int(facts["made"])}
        manifest = {"digest": facts["digest"], "recipients": facts["recipients"]}
    except age.AgeError as error:
        raise BackupError(f"{directory / SEALED} can't be read: {error}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackupError(f"{directory} holds no configuration: {error}") from error
    return {
        "source": "controller",
        "point": point,
        "bytes": directory_bytes(directory),
        "files": checksums(directory),
        "needs": [],
        "manifest": manifest,
        "software": facts.get("software", {}),
    }


# -- files ------------------------------------------------------------------------------------------------------------


def _safe(name: str) -> bool:
    parts = name.split("/")
    return (
        bool(name)
        and not posixpath.isabs(name)
        and all(part not in ("", ".", "..") for part in parts)
        and "\\" not in name
        and name.isprintable()
    )


def _walk(root: Path) -> Iterator[Path]:
    """The files below a directory, through links; a link that leads back is not followed again."""
    seen: set[tuple[int, int]] = set()
    for place, folders, names in os.walk(root, followlinks=True):
        identity = os.stat(place)
        if (identity.st_dev, identity.st_ino) in seen:
            folders[:] = []
            continue
        seen.add((identity.st_dev, identity.st_ino))
        folders[:] = sorted(one for one in folders if one not in SKIPPED)
        yield from (Path(place, one) for one in sorted(names))


def _add(found: Files, root: Path, name: str, hidden: Path | None) -> None:
    if not root.is_dir():
        return
    for path in _walk(root):
        if hidden and path.resolve().is_relative_to(hidden):
            continue
        _add_file(found, path, f"{name}/{path.relative_to(root).as_posix()}")


def _add_file(found: Files, path: Path, name: str) -> None:
    if not path.is_file():
        return
    try:
        found[name] = (path.read_bytes(), bool(path.stat().st_mode & 0o100))
    except OSError as error:
        raise BackupError(
            f"{path} can't be read: {error.strerror}. Let the account that runs Ansible read it"
        ) from error


def _present(directory: Path) -> dict[str, bytes]:
    if not directory.is_dir():
        return {}
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in _walk(directory) if path.is_file()}


def _remove(directory: Path) -> None:
    for path in sorted(directory.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    directory.rmdir()
