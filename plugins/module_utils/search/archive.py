# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Products that come as an archive: verified, unpacked beside their place and then renamed, so that nothing half is ever there.

The way to open a URL is handed in; everything else is files.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import posixpath
import re
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass

from ..common import directories
from . import upgrade as search_upgrade

MANIFEST = ".utmstack-ha.json"
CHUNK_BYTES = 1 << 20
# An archive with what comes out of it: the vendors' tar.gz grow to 1.7 times their size, zips of jars hardly at all.
SPACE_FACTOR = 3
# How the products' makers name the processors that Python's platform.machine() tells.
ARCHITECTURES = {"x86_64": "x64", "aarch64": "arm64"}
_LOCAL = re.compile(r"(?:file://)?(/.*)")
_DIGEST = re.compile(r"\b[0-9a-fA-F]{32,128}\b")


class ArchiveError(Exception):
    """What is wrong with an archive and what to do about it, as a sentence."""


@dataclass(frozen=True)
class Checksum:
    """An algorithm of hashlib, and either the digest in hexadecimal or the URL of a file with the digest."""

    algorithm: str
    digest: str = ""
    url: str = ""

    @property
    def text(self) -> str:
        return f"{self.algorithm}:{self.digest or self.url}"


def parse_checksum(text: str) -> Checksum:
    """Read `sha512:<hexadecimal>` or `sha512:<URL or path of a checksum file>`. Raises ArchiveError."""
    algorithm, colon, value = text.partition(":")
    if algorithm not in ("sha256", "sha512"):
        raise ArchiveError(
            f"The checksum {text!r} names no algorithm that is accepted. Write it like sha512:<hexadecimal digits>, or "
            "sha512:<URL of the file with the checksum>; sha256 is accepted too."
        )
    if "/" in value:
        return Checksum(algorithm, url=value)
    length = hashlib.new(algorithm).digest_size * 2
    if not re.fullmatch(f"[0-9a-fA-F]{{{length}}}", value):
        raise ArchiveError(f"The checksum {text!r} does not have the {length} hexadecimal digits of a {algorithm}.")
    return Checksum(algorithm, digest=value.lower())


def digest_in(text: str, algorithm: str) -> str:
    """The digest that a checksum file tells, with or without a file name beside it; '' where it tells none."""
    length = hashlib.new(algorithm).digest_size * 2
    return next((found.lower() for found in _DIGEST.findall(text) if len(found) == length), "")


def for_machine(url: str, machine: str) -> str:
    """The URL with `{machine}` (x86_64, aarch64) and `{arch}` (x64, arm64) filled in."""
    return url.replace("{machine}", machine).replace("{arch}", ARCHITECTURES.get(machine, machine))


def local_path(url: str) -> str:
    """The path on this host that an absolute path or a file:// URL means, '' for any other URL."""
    match = _LOCAL.fullmatch(url)
    return match[1] if match else ""


class Source:
    """Where an archive comes from. `opened` is a function URL -> response with headers and read(), raising OSError."""

    def __init__(self, url: str, checksum: str, opened: Callable):
        self.url = url
        self.checksum = parse_checksum(checksum)
        self.opened = opened

    def expected_digest(self) -> str:
        """The digest that the archive must have. Raises ArchiveError."""
        if self.checksum.digest:
            return self.checksum.digest
        text = self._text(self.checksum.url)
        digest = digest_in(text, self.checksum.algorithm)
        if not digest:
            raise ArchiveError(f"{self.checksum.url} holds no {self.checksum.algorithm}, it begins with {text[:60]!r}.")
        return digest

    def fetch(self, directory: str) -> tuple[str, str]:
        """Have the archive on this host, verified; a download goes to `directory`. Returns its path and checksum.

        Raises ArchiveError; what was downloaded is left to the caller to remove.
        """
        expected = self.expected_digest()
        path = local_path(self.url)
        if path:
            if not os.path.isfile(path):
                raise ArchiveError(
                    f"{path} does not exist on this host. Copy the archive there, or correct elasticsearch_archive_url."
                )
            require_space(directory, os.path.getsize(path) * SPACE_FACTOR, path)
            digest = self._digest(path)
        else:
            path = os.path.join(directory, posixpath.basename(self.url.partition("?")[0]) or "archive")
            digest = self._download(path)
        if digest != expected:
            raise ArchiveError(
                f"{self.url} has the {self.checksum.algorithm} {digest}, but {expected} is expected. Nothing was installed. "
                "Compare with what its maker publishes, and correct elasticsearch_archive_checksum or elasticsearch_archive_url."
            )
        return path, f"{self.checksum.algorithm}:{digest}"

    def _text(self, url: str) -> str:
        path = local_path(url)
        try:
            if path:
                with open(path, encoding="utf-8", errors="replace") as file:
                    return file.read(4096)
            with self.opened(url) as response:
                return response.read(4096).decode("utf-8", "replace")
        except OSError as error:
            raise ArchiveError(
                f"The checksum cannot be read from {url}: {error}. Copy that file there, correct elasticsearch_archive_url, or set "
                "elasticsearch_archive_checksum to sha512: and the digits."
            ) from error

    def _digest(self, path: str) -> str:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, self.checksum.algorithm).hexdigest()

    def _download(self, path: str) -> str:
        digest = hashlib.new(self.checksum.algorithm)
        try:
            with self.opened(self.url) as response, open(path, "wb") as file:
                size = int(response.headers.get("Content-Length") or 0)
                require_space(os.path.dirname(path), size * SPACE_FACTOR, self.url)
                while chunk := response.read(CHUNK_BYTES):
                    digest.update(chunk)
                    file.write(chunk)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise
            raise ArchiveError(
                f"{self.url} cannot be downloaded: {error}. Where this host has no way there, copy the archive to it and "
                "give its path."
            ) from error
        return digest.hexdigest()


def require_space(directory: str, needed: int, what: str) -> None:
    """Raise ArchiveError where the file system has not so many bytes left."""
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise ArchiveError(
            f"{directory} has {free >> 20} MiB left, but {what} needs about {needed >> 20} MiB there. Nothing was installed. "
            "Make room, or give another directory."
        )


# -- unpacking --------------------------------------------------------------------------------------------------------


def common_top(names: list[str]) -> str:
    """The one directory, with a slash, that everything in an archive lies in; '' where there is none."""
    tops = {name.removeprefix("./").split("/", 1)[0] for name in names if name.strip("./")}
    if len(tops) != 1:
        return ""
    top = f"{tops.pop()}/"
    return top if all(name.removeprefix("./").startswith(top) for name in names if name.strip("./")) else ""


def place_of(name: str, top: str, target: str) -> str:
    """Where a member belongs, '' for the top directory itself. Raises ArchiveError for one that leads out of the target."""
    inner = name.removeprefix("./")
    inner = inner[len(top) :] if inner.startswith(top) else ""
    if not inner.strip("/"):
        return ""
    place = os.path.normpath(os.path.join(target, inner))
    if not place.startswith(target + os.sep):
        raise ArchiveError(f"The archive has a member {name!r} that leads out of its place. It is not unpacked.")
    return place


def unpack(path: str, target: str) -> None:
    """Unpack a zip or tar archive into the new directory `target`, without the directory that all of it lies in.

    Everything belongs to root; everyone may read, and execute what the archive says is executable. Raises ArchiveError.
    """
    try:
        os.mkdir(target)
        os.chmod(target, directories.OPEN)
        if zipfile.is_zipfile(path):
            _unpack_zip(path, target)
        elif tarfile.is_tarfile(path):
            _unpack_tar(path, target)
        else:
            raise ArchiveError(f"{path} is neither a zip nor a tar archive.")
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise ArchiveError(f"{path} cannot be unpacked: {error}.") from error


def _write(place: str, source, executable: bool) -> None:
    directories.make(os.path.dirname(place))
    with open(place, "wb") as file:
        shutil.copyfileobj(source, file, CHUNK_BYTES)
    os.chmod(place, 0o755 if executable else 0o644)


def _unpack_zip(path: str, target: str) -> None:
    with zipfile.ZipFile(path) as archive:
        top = common_top(archive.namelist())
        for member in archive.infolist():
            place = place_of(member.filename, top, target)
            if place and member.is_dir():
                directories.make(place)
            elif place:
                with archive.open(member) as source:
                    _write(place, source, bool(member.external_attr >> 16 & 0o111))


def _unpack_tar(path: str, target: str) -> None:
    with tarfile.open(path) as archive:
        members = archive.getmembers()
        top = common_top([member.name + ("/" if member.isdir() else "") for member in members])
        for member in members:
            place = place_of(member.name + ("/" if member.isdir() else ""), top, target)
            if place and member.isdir():
                directories.make(place)
            elif place and member.issym():
                # Judged like a member: where it points to must lie in the archive as well.
                place_of(posixpath.join(posixpath.dirname(member.name), member.linkname), top, target)
                directories.make(os.path.dirname(place))
                os.symlink(member.linkname, place)
            elif place and (member.isfile() or member.islnk()):
                _write(place, archive.extractfile(member), bool(member.mode & 0o111))


# -- what is installed ------------------------------------------------------------------------------------------------


def installed(home: str) -> dict:
    """What the manifest in `home` says: {archive: checksum, plugins: {name: checksum}}. Empty where nothing is installed."""
    try:
        with open(os.path.join(home, MANIFEST), encoding="utf-8") as file:
            return json.load(file)
    except (FileNotFoundError, NotADirectoryError):
        return {}


def write_manifest(home: str, manifest: dict) -> None:
    """Tell what is installed. It is the last thing written, in one piece."""
    path = os.path.join(home, MANIFEST)
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump(manifest, file, indent=2, sort_keys=True)
        file.write("\n")
    os.chmod(path + ".new", 0o644)
    os.replace(path + ".new", path)


def differs(found: str, wanted: Checksum) -> bool:
    """Whether what is installed has another checksum than the one wanted, as far as that can be told without a download."""
    algorithm, colon, digest = found.partition(":")
    return (
        bool(wanted.digest)
        and (algorithm, digest) != (wanted.algorithm, wanted.digest)
        and algorithm == wanted.algorithm
    )


@dataclass(frozen=True)
class PluginChange:
    """Names of plugins to fetch and to remove."""

    add: list[str]
    remove: list[str]

    def __bool__(self) -> bool:
        return bool(self.add or self.remove)


def plan_plugins(found: dict[str, str], wanted: dict[str, Checksum]) -> PluginChange:
    """Which plugins to fetch and to remove. Only those that this module has installed are ever removed."""
    stale = [name for name in found if name in wanted and differs(found[name], wanted[name])]
    return PluginChange(
        add=[name for name in wanted if name not in found] + stale,
        remove=[name for name in found if name not in wanted],
    )


def version_key(version: str) -> tuple[int, ...]:
    """The numbers of a version, so that versions can be compared. Raises ArchiveError for a text that is none."""
    match = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)(?:[.-].*)?", version)
    if not match:
        raise ArchiveError(f"{version!r} is no version. Write it like 8.19.4.")
    return tuple(int(part) for part in match.groups())


def refusal(previous: tuple[str, str] | None, name: str, version: str, data_directory: str) -> str:
    """Why data that was written by `previous` (product, version) must not meet this product and version, or ''."""
    if previous is None:
        return ""
    product, before = previous
    if product != name:
        return (
            f"{data_directory} holds data of {product} {before}, which {name} cannot read. Set elasticsearch_flavor back to "
            f"{product}, or move the data away on all hosts of the cluster to begin anew."
        )
    version_key(before)
    reason = search_upgrade.step_fault(product, before, version)
    return f"{data_directory} holds data of {product} {before}. {reason}" if reason else ""
