# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What can be backed up of a service: its kinds of backups, as plain data. The code of a kind lies in backup.py of its component."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

HOUR, DAY = 3600, 86400

Record = Mapping[str, Any]


def needs(records: Iterable[Record]) -> set[str]:
    """The labels of the backups that these records say they need, as a differential one needs its full one."""
    return {label for record in records for label in record.get("needs", [])}


@dataclass(frozen=True)
class Backup:
    """A kind of backup of a service.

    kind: its name in settings, timers, paths and records. title: what messages call it. playbook: the one that restores it.
    asked: what its code needs to know (ha, secrets).
    source: whom its code pulls from, in the words of a plan.
    stale_s, verify_stale_s: how old the last good backup, and the last verified one, may be before status turns red.
    point: up to when a restore brings everything back, in the words of a plan.
    scratch: how much disk and memory (bytes) a verification needs, of the size of the newest backup.
    depends: which other backups these need, by their labels.
    schedule, verify_schedule: times of systemd (OnCalendar), and for how long it is kept.
    isolated: whether it is verified without any network; what it has to fetch before, the function `fetch` of its code fetches.
    files: whether a backup is a directory of the program's own; else the component's code keeps it, under a label, and deletes it by the label.
    elsewhere: whether a backup lies in a repository of the service's own, and takes no room of the backup host's.
    store: whether restore_all.yml restores it, by the files KIND_plan.yml and KIND.yml of role restore, and KIND_fetch.yml where a backup is files.
    account: who it runs as on the backup host. limit_s: after which a run is ended.
    refused: why it can't be taken as the service is set up, of the variables of the service's hosts: what is wrong, and the remedy.
    packages, secrets: what it needs on backup hosts, and among the passwords. barred: packages that these can't be installed beside.
    """

    kind: str
    title: str
    playbook: str
    asked: Callable[[Mapping[str, Any], Mapping[str, str]], Mapping[str, Any]]
    source: str = ""
    stale_s: int = 36 * HOUR
    verify_stale_s: int = 3 * DAY
    point: str = "to the last backup"
    scratch: Callable[[int], tuple[int, int]] = lambda size: (size, size)
    depends: Callable[[Iterable[Record]], set[str]] = needs
    schedule: tuple[str, ...] = ("*-*-* 02:00",)
    verify_schedule: tuple[str, ...] = ("*-*-* 04:00",)
    retention_days: int = 7
    isolated: bool = False
    files: bool = True
    elsewhere: bool = False
    store: bool = False
    account: str = "utmstack-backup"
    limit_s: int = 6 * HOUR
    refused: Callable[[Mapping[str, Mapping[str, Any]]], tuple[str, str] | tuple[()]] = lambda _hosts: ()
    packages: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    barred: tuple[str, ...] = ()


def program_kinds(
    kinds: Mapping[str, Backup], ha: Mapping[str, Any], secrets: Mapping[str, str], host: str
) -> dict[str, dict[str, Any]]:
    """Return what the program of a backup host is told of each kind that it takes, passwords among it."""
    return {
        kind: {
            "title": kinds[kind].title,
            "account": kinds[kind].account,
            "limit_s": kinds[kind].limit_s,
            "stale_s": kinds[kind].stale_s,
            "verify_stale_s": kinds[kind].verify_stale_s,
            "retention_days": times["retention_days"],
            "verified": bool(times["verify"]),
            "settings": dict(kinds[kind].asked(ha, secrets)),
        }
        for kind, times in ha["backup"]["times"][host].items()
    }


def timer_path(kind: str, act: str) -> str:
    """Return the file of a kind's timer for take or verify."""
    return f"/etc/systemd/system/utmstack-backup{'-verify' if act == 'verify' else ''}@{kind}.timer"


COPY_TIMER = "/etc/systemd/system/utmstack-backup-copy.timer"


def timers(times: Mapping[str, Mapping[str, Any]], jitter: str, copied: str = "") -> list[dict[str, str]]:
    """Return the timers of a backup host, as module file_set takes files.

    times: by kind take and verify, times of systemd. jitter: by how much each may be later, as systemd takes a span. copied: when all is copied
    to the remote, empty where there is none.
    """
    what = {"take": "Back up", "verify": "Verify the newest backup of"}
    found = [
        _timer(timer_path(kind, act), f"{what[act]} {kind}", own[act], jitter)
        for kind, own in times.items()
        for act in what
        if own[act]
    ]
    return [*found, _timer(COPY_TIMER, "Copy the backups to the remote", [copied], jitter)] if copied else found


def _timer(path: str, what: str, moments: Iterable[str], jitter: str) -> dict[str, str]:
    lines = (
        "# Written by utmstack.ha, role backup, changes made here are lost.",
        "[Unit]",
        f"Description={what} by a timer",
        "PartOf=utmstack-backup.target",
        "",
        "[Timer]",
        *(f"OnCalendar={one}" for one in moments),
        f"RandomizedDelaySec={jitter}",
        "Persistent=true",
        "",
    )
    return {"path": path, "content": "\n".join(lines)}


def former_timers(times: Mapping[str, Mapping[str, Any]], known: Iterable[str], copied: str = "") -> list[str]:
    """Return the files of the timers that a backup host may have and must not: of kinds, verifications or a remote that are left out."""
    present = {entry["path"] for entry in timers(times, "", copied)}
    possible = [timer_path(kind, act) for kind in known for act in ("take", "verify")] + [COPY_TIMER]
    return [path for path in possible if path not in present]
