# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A remote to which a repository is copied, by rclone: its commands, each with a limit of its own, and what they print as plain values.

Everything but the sealed configuration, which must be readable without any password of the platform, is encrypted by rclone with the
passphrase of the repository. Nothing at the remote is ever written over but pgBackRest's lists of what it has, and nothing is synchronized.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..common.backup import FAILED, UNVERIFIED, BackupError
from ..common.command import CommandError, Result, run

CONFIG = "/etc/utmstack-ha/rclone.conf"
MARKER = ".utmstack-backup"
# What is encrypted, and what is sealed already: names of rclone's remotes with the path in them.
ENCRYPTED, SEALED = "encrypted", "sealed"
QUESTION_LIMIT = 900
COPY_LIMIT = 48 * 3600
# Below so many files each is looked for by its name; above, all that is there is listed.
FEW_FILES = 200
DIRECTORY_MISSING = 3
_ERROR = re.compile(r"(?:ERROR|CRITICAL) *: (?:: )?(.*)|(Failed to .*)")
# What rclone says of a wrong CA, region, clock and credentials, and of a missing place. What fits none of them could not be reached.
_CAUSES = (
    ("ca", re.compile(r"x509:|certificate|tls: ")),
    ("region", re.compile(r"AuthorizationHeaderMalformed|PermanentRedirect")),
    ("clock", re.compile(r"RequestTimeTooSkewed")),
    (
        "credentials",
        re.compile(
            r"InvalidAccessKeyId|SignatureDoesNotMatch|Access ?Denied|Forbidden|Unauthorized|\b40[13]\b|unable to authenticate|permission denied"
        ),
    ),
    ("place", re.compile(r"NoSuchBucket|bucket.*(?:not found|not exist)|directory not found|couldn't find root")),
)


class Remote:
    """The remote of this backup host.

    settings: config, the file of rclone's settings, whose remote is called `remote`; base, the path there; title, what messages call it;
    s3, whether its settings are those of an S3 repository; ca_file; bandwidth; passphrase.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = settings
        self.base, self.title = settings["base"], settings["title"]
        self._environment: dict[str, str] = {}
        self._known: dict[str, Any] = {}

    def place(self, tree: str, path: str = "") -> str:
        """What rclone calls a path in one of the two trees."""
        if tree == ENCRYPTED:
            return f"encrypted:{path}"
        return f"remote:{self.base}/{tree}" + (f"/{path}" if path else "")

    def call(self, command: str, *arguments: str, limit_s: float = QUESTION_LIMIT, stdin: str | None = None) -> Result:
        """Run a command of rclone's. Raises BackupError where it can't be started or does not end in time."""
        words = ["rclone", "--config", self.settings.get("config") or CONFIG, "--contimeout=15s", "--timeout=60s"]
        words += ["--retries=3", "--retries-sleep=5s", "--low-level-retries=3", "--stats=0"]
        if self.settings.get("ca_file"):
            words.append(f"--ca-cert={self.settings['ca_file']}")
        if self.settings.get("bandwidth"):
            words.append(f"--bwlimit={self.settings['bandwidth']}")
        try:
            return run([*words, command, *arguments], limit_s, environment=self._encryption(), stdin=stdin)
        except CommandError as error:
            raise BackupError(f"rclone {command}: {error.reason}", UNVERIFIED) from error

    def answer(self, command: str, *arguments: str, limit_s: float = QUESTION_LIMIT, stdin: str | None = None) -> str:
        """The same, of a command that must end with 0; returns what it printed."""
        done = self.call(command, *arguments, limit_s=limit_s, stdin=stdin)
        if done.rc:
            raise self.failure(command, done)
        return done.stdout

    def failure(self, command: str, done: Result) -> BackupError:
        """Why a command failed, with the setting to look at. What is wrong at the remote says nothing of what lies there."""
        told = said(done)
        what, remedy = explain(told, self.settings)
        return BackupError(f"the remote {self.title} {what} (rclone {command}: {told}). {remedy}", UNVERIFIED)

    def reach(self, cluster: str) -> None:
        """Raise BackupError unless the remote can be listed and written to, and is this cluster's."""
        root = self.base.split("/")[0] if self.buckets() else ""
        if root:
            # An empty bucket and a missing one are listed alike below a path.
            self.answer("lsf", "--max-depth=1", f"remote:{root}")
        marker = f"remote:{self.base}/{MARKER}"
        found = self.call("lsf", f"remote:{self.base}", "--max-depth=1", f"--include=/{MARKER}")
        if found.rc not in (0, DIRECTORY_MISSING):
            raise self.failure("lsf", found)
        if MARKER not in found.stdout.split():
            self.answer("rcat", marker, stdin=f"{cluster}\n")
        owner = self.answer("cat", marker).strip()
        if owner != cluster:
            setting = "backup_s3_prefix" if self.settings.get("s3") else "backup_remote_path"
            raise BackupError(
                f"{self.base} of the remote {self.title} is cluster {owner}'s. Set another {setting}", FAILED
            )

    def buckets(self) -> bool:
        """Whether the first part of a path is a bucket, which nobody makes by writing to it."""
        return bool(self._features().get("Features", {}).get("BucketBased"))

    def hashes(self) -> list[str]:
        """By which checksums the remote knows what it has. Without one only what is read back is proven."""
        return list(self._features().get("Hashes") or [])

    def files(self, tree: str) -> dict[str, int]:
        """What a tree has: size by path. Raises BackupError where that can't be known."""
        done = self.call("lsf", "--recursive", "--files-only", "--format=sp", "--separator=\t", self.place(tree))
        if done.rc == DIRECTORY_MISSING:
            return {}
        if done.rc:
            raise self.failure("lsf", done)
        found = {}
        for line in done.stdout.splitlines():
            size, _tab, path = line.partition("\t")
            found[path] = int(size)
        return found

    def copy(self, source: Path, tree: str, paths: Iterable[str], replace: bool = False) -> None:
        """Copy these files. One that is there in another form is written over only where that is asked for. Raises BackupError."""
        paths = list(paths)
        if not paths:
            return
        options = ["--checksum"] if replace else ["--checksum", "--immutable"]
        if len(paths) <= FEW_FILES:
            options.append("--no-traverse")
        with listed(paths) as names:
            done = self.call(
                "copy", *options, f"--files-from-raw={names}", str(source), self.place(tree), limit_s=COPY_LIMIT
            )
        if done.rc:
            raise self.failure("copy", done)

    def differing(self, source: Path, tree: str, paths: Iterable[str], download: bool = False) -> tuple[list[str], int]:
        """Compare these files with the copies: what is wrong, as sentences, and how many have no checksum there, so that sizes alone were compared.

        Each file must be told to match: of an empty source rclone says that all is well. download: read everything back.
        """
        paths = list(paths)
        if not paths:
            return [], 0
        how = ["check", "--download"] if download else ["cryptcheck"] if tree == ENCRYPTED else ["check"]
        if not download and tree == ENCRYPTED and not self.hashes():
            how = ["check"]
        with listed(paths) as names:
            done = self.call(
                *how,
                "--one-way",
                "--combined=-",
                f"--files-from-raw={names}",
                str(source),
                self.place(tree),
                limit_s=COPY_LIMIT,
            )
        states = {line[2:]: line[0] for line in done.stdout.splitlines() if len(line) > 2 and line[1] == " "}
        wrong = [
            f"{path} {_STATES.get(states.get(path, ''), 'was not compared')}"
            for path in paths
            if states.get(path) != "="
        ]
        if wrong and all(states.get(path, "!") == "!" for path in paths):
            # Nothing was found out: either the remote is away, or it answers, and what it has can't be read.
            self.answer("lsf", "--max-depth=1", f"remote:{self.base}")
            if not states:
                raise self.failure(how[0], done)
        unknown = re.search(r"(\d+) hashes could not be checked", done.stderr)
        return wrong, int(unknown[1]) if unknown else len(paths) if how == ["check"] and not self.hashes() else 0

    def fetch(self, tree: str, target: Path) -> None:
        """Copy a tree back. What was fetched before and is the same is not fetched again. Raises BackupError."""
        done = self.call("copy", "--checksum", self.place(tree), str(target), limit_s=COPY_LIMIT)
        if done.rc not in (0, DIRECTORY_MISSING):
            raise self.failure("copy", done)

    def remove(self, tree: str, path: str) -> None:
        """Remove one directory. Raises BackupError."""
        if not path.strip("/") or ".." in path.split("/"):
            raise BackupError(f"{path!r} is no directory of a backup")
        done = self.call("purge", self.place(tree, path))
        if done.rc not in (0, DIRECTORY_MISSING):
            raise self.failure("purge", done)

    def _features(self) -> dict[str, Any]:
        if not self._known:
            try:
                self._known = json.loads(self.answer("backend", "features", "remote:"))
            except ValueError as error:
                raise BackupError(f"rclone backend features printed no JSON: {error}", UNVERIFIED) from error
        return self._known

    def _encryption(self) -> dict[str, str]:
        """The encrypted remote, in rclone's environment: what rclone takes for a password is that in another form, which it makes itself."""
        if not self._environment:
            try:
                made = run(["rclone", "obscure", "-"], QUESTION_LIMIT, stdin=self.settings["passphrase"])
            except CommandError as error:
                raise BackupError(f"rclone: {error.reason}. Run site.yml", UNVERIFIED) from error
            if made.rc:
                raise BackupError(f"rclone obscure: {made.said}", UNVERIFIED)
            own = {
                "TYPE": "crypt",
                "REMOTE": f"remote:{self.base}/{ENCRYPTED}",
                "PASSWORD": made.stdout.strip(),
                # Names tell only of kinds and times; an operator sees what is there without a key.
                "FILENAME_ENCRYPTION": "off",
                "DIRECTORY_NAME_ENCRYPTION": "false",
            }
            self._environment = {f"RCLONE_CONFIG_ENCRYPTED_{name}": value for name, value in own.items()}
            # AWS's library would have another idea of the CAs, and ends where both are given.
            self._environment["AWS_CA_BUNDLE"] = ""
        return self._environment


_STATES = {"*": "differs", "+": "is not there", "!": "could not be compared"}


class listed:
    """A file with these paths, one a line, for as long as the block lasts."""

    def __init__(self, paths: Iterable[str]) -> None:
        self.text = "".join(f"{path}\n" for path in paths)
        self.path = ""

    def __enter__(self) -> str:
        handle, self.path = tempfile.mkstemp(prefix="utmstack-backup-copy-")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(self.text)
        return self.path

    def __exit__(self, *_unused: Any) -> None:
        os.unlink(self.path)


def said(done: Result) -> str:
    """The first error that rclone printed: those that follow tell of its being tried again."""
    lines = [" ".join(line.split()) for line in done.stderr.splitlines()]
    for line, following in zip(lines, [*lines[1:], ""]):
        found = _ERROR.search(line)
        if found and "retr" not in line.lower():
            # The cause of an error of AWS's library is on a line of its own.
            return (found[1] or found[2]) + (f", {following}" if following.startswith("caused by") else "")
    return done.said or f"exit code {done.rc}"


def explain(text: str, settings: Mapping[str, Any]) -> tuple[str, str]:
    """What is wrong with a remote, of an error of rclone's, and the remedy with the names of the settings."""
    s3 = bool(settings.get("s3"))
    cause = next((name for name, known in _CAUSES if known.search(text)), "")
    if cause == "ca":
        name = "backup_s3_ca_file" if s3 else "backup_remote_ca_file"
        return (
            "has a certificate that is not trusted",
            f"Set {name} to a file with its CA on this host, and let its name be in the certificate",
        )
    if cause == "region":
        name = "backup_s3_region" if s3 else "backup_remote.region"
        return "has the bucket in another region", f"Correct {name}"
    if cause == "clock":
        return "takes this host's clock for wrong", "Set the clock of the host right"
    if cause == "credentials":
        names = "backup_s3_key and backup_s3_secret" if s3 else "backup_remote and backup_remote_secrets"
        return "refuses these credentials", f"Correct {names}, or let them list, read and write there"
    if cause == "place":
        name, what = ("backup_s3_bucket", "bucket") if s3 else ("backup_remote_path", "place")
        return f"has no such {what}", f"Make it, or correct {name}"
    names = "backup_s3_endpoint" if s3 else "backup_remote"
    return "can't be used", f"Look whether it runs and this host may reach it, and at {names}"
