# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Debian's packages: versions compared as dpkg does, and what dpkg and apt print turned into plain values.

The package manager of a host is `Packages`, which gets the command runner handed in.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cmp_to_key
from pathlib import Path
from typing import Any

# Sources of a version that no repository has (any more): it is on the disk only.
_OWN_STATUS = "/var/lib/dpkg/status"
_VERSION_LINE = re.compile(r"^(?: \*\*\*|    ) (\S+) -?\d+$")
_SOURCE_LINE = re.compile(r"^ {7,}-?\d+ (.+)$")
# What dpkg-query is asked for, for parse_query.
QUERY_FORMAT = "${db:Status-Want} ${db:Status-Status} ${Version} ${Package}\\n"
_KEEP_FILES = ("--option", "Dpkg::Options::=--force-confdef", "--option", "Dpkg::Options::=--force-confold")
_LOCKED = ("Could not get lock", "Unable to acquire the dpkg frontend lock", "Unable to lock")
_DAMAGED = ("Unable to locate package", "no installation candidate", "Unable to parse", "cache file is corrupted")

# dpkg's maintainer scripts restart services by invoke-rc.d and deb-systemd-invoke, which ask this program first.
POLICY = Path("/usr/sbin/policy-rc.d")
# Held by the process of this collection that changes packages.
LOCK = Path("/run/utmstack-ha-packages.lock")
POLICY_TEXT = """#!/bin/sh
# utmstack.ha changes packages here. It starts and restarts services itself, in their order, so nothing else may.
exit 101
"""


class PackageError(Exception):
    """What the operator has to know."""


def _order(character: str) -> int:
    """The place of a character in dpkg's order: the tilde before the end, letters before the rest."""
    if character == "~":
        return -1
    return ord(character) if character.isalpha() else ord(character) + 256


def _compare_part(left: str, right: str) -> int:
    while left or right:
        texts = [re.match(r"\D*", part).group() for part in (left, right)]
        left, right = left[len(texts[0]) :], right[len(texts[1]) :]
        # The end of a text counts as 0, which only the tilde precedes.
        keys = [[_order(character) for character in text] + [0] for text in texts]
        numbers = [re.match(r"\d*", part).group() for part in (left, right)]
        left, right = left[len(numbers[0]) :], right[len(numbers[1]) :]
        keys = [(*key, int(number or 0)) for key, number in zip(keys, numbers, strict=True)]
        if keys[0] != keys[1]:
            return -1 if keys[0] < keys[1] else 1
    return 0


def _split(version: str) -> tuple[int, str, str]:
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "0", version
    upstream, dash, revision = rest.rpartition("-")
    return int(epoch), upstream if dash else rest, revision if dash else ""


def compare(left: str, right: str) -> int:
    """-1, 0 or 1: whether a version is older than, as old as or newer than another, as deb-version(7) orders them."""
    a, b = _split(left), _split(right)
    if a[0] != b[0]:
        return -1 if a[0] < b[0] else 1
    return _compare_part(a[1], b[1]) or _compare_part(a[2], b[2])


def newest(versions: Iterable[str]) -> str | None:
    """The newest of some versions; None of none."""
    return max(versions, key=cmp_to_key(compare), default=None)


def upstream(version: str) -> str:
    """The version that the project itself gave, without Debian's epoch, revision and repacking mark: 5:8.0.2-3 is 8.0.2."""
    return re.split(r"[+~]", _split(version)[1])[0]


def numbers(version: str) -> tuple[int, ...]:
    """The project's version as numbers to compare with: 3.5.16-4 is (3, 5, 16)."""
    return tuple(int(number) for number in re.findall(r"\d+", upstream(version)))


def choose(versions: Iterable[str], wanted: str) -> str | None:
    """The version that is meant: exactly the wanted one, or the newest Debian version of the project's version. None without one."""
    versions = list(versions)
    return wanted if wanted in versions else newest(version for version in versions if upstream(version) == wanted)


def parse_query(text: str) -> dict[str, dict[str, Any]]:
    """Package to {version, status, held}, out of what dpkg-query says in QUERY_FORMAT; those that are gone left out."""
    found = {}
    for line in text.splitlines():
        want, status, version, name = line.split(" ")
        if status not in ("not-installed", "config-files"):
            found[name] = {"version": version, "status": status, "held": want == "hold"}
    return found


def parse_policy(text: str) -> dict[str, dict[str, Any]]:
    """Package to {candidate, offered}, out of what `apt-cache policy` prints; offered: the versions that a repository has."""
    found: dict[str, dict[str, Any]] = {}
    version, package = "", {}
    for line in text.splitlines():
        if line and not line.startswith(" ") and line.endswith(":"):
            package = found.setdefault(line[:-1], {"candidate": None, "offered": []})
        elif line.startswith("  Candidate: "):
            candidate = line.partition(": ")[2]
            package["candidate"] = None if candidate == "(none)" else candidate
        elif match := _VERSION_LINE.match(line):
            version = match.group(1)
        elif (
            (match := _SOURCE_LINE.match(line)) and match.group(1) != _OWN_STATUS and version not in package["offered"]
        ):
            package["offered"].append(version)
    return found


def describe(names: Iterable[str], query: Mapping[str, Any], policy: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What is known of each package, by name; without those that neither the host nor a repository has."""
    return {
        name: {
            "installed": query[name]["version"] if name in query else None,
            "status": query[name]["status"] if name in query else "not-installed",
            "held": name in query and query[name]["held"],
            "candidate": policy.get(name, {}).get("candidate"),
            "offered": policy.get(name, {}).get("offered", []),
        }
        for name in names
        if name in query or name in policy
    }


def installed_size_kib(text: str) -> int:
    """The space that packages take once they are unpacked, out of what `apt-cache show` prints of them."""
    return sum(int(size) for size in re.findall(r"^Installed-Size: (\d+)$", text, re.MULTILINE))


class Packages:
    """The package manager of this host.

    run: takes a command and maybe what it reads, and returns (code, output, errors). seconds: how long to wait for another
    process that holds the package manager.
    """

    def __init__(
        self, run: Callable[..., tuple[int, str, str]], seconds: int, sleep: Callable[[float], None] = time.sleep
    ):
        self._run, self._seconds, self._sleep = run, seconds, sleep

    def installed(self, names: Iterable[str]) -> dict[str, dict[str, Any]]:
        """What dpkg says, as parse_query returns it."""
        # It fails for one unknown package among many, and tells of the others all the same.
        return (
            parse_query(self._run(["dpkg-query", "--show", "--showformat", QUERY_FORMAT, *names])[1]) if names else {}
        )

    def look(self, names: list[str]) -> dict[str, dict[str, Any]]:
        """What is installed, what repositories offer."""
        policy = parse_policy(self._checked(["apt-cache", "policy", *names])) if names else {}
        return describe(names, self.installed(names), policy)

    def refresh(self) -> None:
        """Fetch the repositories' lists anew. Raises PackageError where one of them could not be had."""
        self._locked(["apt-get", "update", "--quiet", "--option", "APT::Update::Error-Mode=any"])

    def broken(self) -> str:
        """What dpkg says of packages that are half installed or not set up yet; empty where there are none."""
        return self._run(["dpkg", "--audit"])[1].strip()

    def repair(self) -> bool:
        """Finish what an interrupted run of dpkg left half done; returns whether there was any.

        What is half unpacked can't be set up: it is unpacked again, from an archive that is fetched anew, since the power may have gone
        while it was written. Raises PackageError where something is left.
        """
        configure = ["dpkg", "--configure", "--pending", "--force-confdef", "--force-confold"]
        said = ""
        try:
            said = self._locked(configure).strip()
            if not self.broken():
                return bool(said)
        except PackageError as error:  # Most often a package that depends on one which is not unpacked yet.
            said = str(error)
        self.fetch_anew(said)
        self._locked(self._install({}, "--fix-broken"))
        self._locked(configure)
        return True

    def fetch_anew(self, said: str) -> None:
        """Trust no archive on the disk, and no list of packages where apt has said that it can't use one: it does not fetch lists again
        that are damaged, as long as the repository has the same. Raises PackageError where one could not be had.
        """
        self._locked(["apt-get", "clean"])
        if any(sign in said for sign in _DAMAGED):
            self._checked(["find", "/var/lib/apt/lists", "-type", "f", "-name", "*_*", "-delete"])
        self.refresh()

    def add(self, names: Iterable[str], refresh: bool) -> None:
        """Install packages in the versions that the repositories prefer; refresh: whether their lists are fetched before.

        Where that fails it is tried once more with lists and archives that are fetched anew: the present ones may be what an
        interrupted run has left.
        """
        command = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *_KEEP_FILES, *sorted(names)]
        try:
            if refresh:
                self.refresh()
            self._locked(command)
        except PackageError as error:
            self.fetch_anew(str(error))
            self.repair()
            self._locked(command)

    def fetch(self, versions: Mapping[str, str], free_kib: int) -> bool:
        """Have the archives on the disk. Returns whether any was missing; raises PackageError where the disk is too small.

        free_kib: the free space where packages are unpacked. While a package is unpacked its old files are still there, so
        all of its new ones need space.
        """
        wanted = [f"{name}={version}" for name, version in sorted(versions.items())]
        needed = installed_size_kib(self._checked(["apt-cache", "show", *wanted]))
        if needed > free_kib:
            raise PackageError(
                f"{' '.join(wanted)} need up to {needed // 1024} MiB below /usr, where {free_kib // 1024} MiB are free. Nothing was "
                "changed. Make space, for example by `apt-get clean`, and start again."
            )
        try:
            return "Need to get 0 B" not in self._locked(self._install(versions, "--download-only"))
        except PackageError as error:
            raise PackageError(f"The packages could not be fetched, and nothing was installed: {error}") from error

    def install(self, versions: Mapping[str, str]) -> None:
        """Install these versions, whether the packages are held or not; a package that is held stays so."""
        held = [name for name, package in self.installed(versions).items() if package["held"]]
        self._locked(self._install(versions))
        self.hold(held)

    def hold(self, names: Iterable[str]) -> list[str]:
        """Hold the packages that are installed; returns those that were not held before."""
        free = sorted(name for name, package in self.installed(list(names)).items() if not package["held"])
        if free:
            self._checked(["dpkg", "--set-selections"], "".join(f"{name} hold\n" for name in free))
        return free

    @staticmethod
    def _install(versions, *options):
        """The command. What a package would have to remove or what is recommended is no part of an upgrade; our files stay."""
        return [
            "apt-get", "install", "--yes", "--quiet", "--no-install-recommends", "--no-remove", "--allow-change-held-packages",
            *_KEEP_FILES, *options, *(f"{name}={version}" for name, version in sorted(versions.items())),
        ]  # fmt: skip

    def _checked(self, command, text=None):
        code, out, errors = self._run(command, text)
        if code != 0:
            raise PackageError(f"{(errors or out).strip()[-1500:]} (rc {code} of `{' '.join(command)}`)")
        return out

    def _locked(self, command):
        """Run it, and wait while another process has the package manager."""
        for _second in range(self._seconds):
            try:
                return self._checked(command)
            except PackageError as error:
                if not any(sign in str(error) for sign in _LOCKED):
                    raise
            self._sleep(1)
        try:
            return self._checked(command)
        except PackageError as error:
            raise PackageError(f"{error} It was tried for {self._seconds} s.") from error


def left_over(policy: Path = POLICY) -> bool:
    """Whether a run that died has left its policy behind, or has put away the host's own."""
    return _aside(policy).exists() or _ours(policy)


def _aside(policy):
    return policy.with_name(f"{policy.name}.utmstack-ha")


def _ours(policy):
    """Whether a policy is ours, of whatever version of this collection."""
    return policy.exists() and "# utmstack.ha " in policy.read_text(encoding="utf-8", errors="replace")


@contextmanager
def _alone(lock, seconds, sleep):
    """Hold a lock of this host, which the kernel releases where its holder dies; wait for it up to so many seconds."""
    with lock.open("a", encoding="utf-8") as file:
        for second in range(seconds + 1):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if second == seconds:
                    raise PackageError(
                        f"Another run still changes packages on this host, after {seconds} s. Nothing was changed. Wait until "
                        f"`fuser {lock}` names no process, and start again."
                    ) from error
            sleep(1)
        yield


@contextmanager
def services_left_alone(
    seconds: int, policy: Path = POLICY, lock: Path = LOCK, sleep: Callable[[float], None] = time.sleep
) -> Iterator[bool]:
    """While this lasts, no package restarts a service, not even one of a package that is pulled along. Yields `left_over`.

    A policy of the host's own comes back afterwards, also when an earlier run died in between; what somebody has put in its place
    meanwhile stays. One process of a host at a time: a run that was killed on the controller may still be at work here, and would
    end by taking away what this one stands on. Raises PackageError where that one is not done after so many seconds.
    """
    with _alone(lock, seconds, sleep):
        aside, died = _aside(policy), left_over(policy)
        if policy.exists() and not _ours(policy):
            os.replace(policy, aside)
        # In one piece, also where the power goes: half of it would be taken for the host's own, later.
        new = policy.with_name(f".{policy.name}.utmstack-ha")
        with new.open("w", encoding="utf-8") as file:
            file.write(POLICY_TEXT)
            file.flush()
            os.fchmod(file.fileno(), 0o755)
            os.fsync(file.fileno())
        os.replace(new, policy)
        try:
            yield died
        finally:
            if policy.exists() and not _ours(policy):
                aside.unlink(missing_ok=True)
            elif aside.exists():
                os.replace(aside, policy)
            else:
                policy.unlink(missing_ok=True)
