# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Kind `postgresql` of backups: full and differential ones by pgBackRest, with all WAL since.

What pgBackRest says of its repository is not enough: it sees no gap in the WAL and takes a damaged manifest for a good one. So a backup is called
good only when it was restored into a scratch server, recovered, checked page by page, and its rows were counted.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from ..common.backup import SETTINGS, UNVERIFIED, BackupError, require_room
from . import rows, wal
from .access import PRIMARY, cluster
from .pgbackrest import (
    ACCOUNT,
    ARCHIVE_TIMEOUT,
    DB_CONNECT,
    DB_MISSING,
    HOST_CONNECT,
    QUESTION_LIMIT,
    Repository,
    failure,
    faults,
    tuned,
)
from .scratch import MEMORY_BYTES, Instance, checksums, instance, own, recovery_settings

FULL, DIFF = "full", "diff"
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
DAY_S = 86400
# After which pause a backup is tried again: no primary or standby was found, which is also said while the host's pgBackRest is busy; and the
# server that was backed up has gone, so that another one may lead by then.
PAUSES = {DB_MISSING: (20, 20, 20), DB_CONNECT: (60, 60), ARCHIVE_TIMEOUT: (60, 60), HOST_CONNECT: (60, 60)}
RUN_LIMIT = 6 * 3600
# Seconds after which a gap in the WAL counts: of several that are sent at once, a later one may be there first.
SETTLE_S = 60
# How often all WAL since the newest backup is recovered, not only what makes it consistent.
NEWEST_S = 6.5 * DAY_S
# What a restore needs beyond the data: what is written while it recovers and is checked.
MARGIN_BYTES = 2**30
# What a rate of WAL is measured over at least.
RATE_S = 3600
# Minutes without a witness that are no problem yet.
MISSED_WITNESSES = 3
# pgBackRest's largest number of full backups to keep, so that expire by name removes nothing else.
KEEP_ALL = "9999999"
# A primary that was not one before has archived nothing yet.
_ARCHIVED = "SELECT to_json(round(extract(epoch FROM now() - last_archived_time))) FROM pg_catalog.pg_stat_archiver"
pause = time.sleep


# -- take ---------------------------------------------------------------------------------------------------------------------------------------


def take(settings: Mapping[str, Any], directory: Path | None = None) -> dict[str, Any]:
    """Take a backup into the repository; returns what a record has of it. Nothing is written to `directory`.

    settings: stanza, config, account (see Repository); members, port, user, password, ca (see access.cluster); records of this kind, newest last;
    type: full, diff or empty for what is due; full_day: the day of the week on which a full one is due; repository: its directory, empty for S3;
    reserve_percent: of that volume, for WAL alone. Raises BackupError.
    """
    repository = Repository(settings)
    before = repository.info()
    kind, reason = due(
        settings, before["backups"], settings.get("records", ()), time.time(), _lacking(repository, before)
    )
    with cluster(settings, repository.account) as access:
        _room(settings, before["backups"], kind, access)
        census = rows.Census(access)
        witness = rows.chain(access, PRIMARY)
        mode = _run(repository, kind, float(settings.get("limit_s", RUN_LIMIT)))
        manifest = {"databases": census.end(), "type": kind, "why": reason, "from": mode}
        if witness:
            manifest["witness"] = {
                "before": witness.get("last") or 0,
                "after": rows.chain(access, PRIMARY).get("last") or 0,
            }
    after = repository.info()
    known = {one["label"] for one in before["backups"]}
    made = [one for one in after["backups"] if one["label"] not in known and one["type"] == kind]
    if not made:
        raise BackupError("pgbackrest backup ended with 0, but the repository has no new backup")
    if made[-1]["error"]:
        raise BackupError(f"backup {made[-1]['label']} has pages with wrong checksums: {_pages(made[-1])}")
    return facts(made[-1], after, manifest)


def due(
    settings: Mapping[str, Any],
    backups: Iterable[Mapping[str, Any]],
    records: Iterable[Mapping[str, Any]],
    now: float,
    lacking: Iterable[str] = (),
) -> tuple[str, str]:
    """Whether a full or a differential backup is to be taken, and why; pure.

    backups: of `info`, oldest first. lacking: what the WAL since the newest full one lacks. A differential backup is as good as its full one,
    so where anything is wrong with that, or has come between, it is a full one.
    """
    asked = settings.get("type") or ""
    if asked not in ("", FULL, DIFF):
        raise BackupError(f"the type of a backup is {FULL} or {DIFF}, not {asked!r}", SETTINGS)
    good = [one for one in backups if one["type"] == FULL and not one["error"]]
    if not good:
        return FULL, "no full backup is kept"
    if asked:
        return asked, "it was asked for"
    full = good[-1]
    started, stopped = full["timestamp"]["start"], full["timestamp"]["stop"]
    later = [one for one in records if one["started"] >= stopped]
    if any(one["act"] == "restore" for one in later):
        return FULL, "the cluster was restored since the last full backup"
    verified = [one for one in later if one["act"] == "verify" and root(one.get("label", "")) == full["label"]]
    if verified and verified[-1]["verdict"] == "failed":
        return FULL, f"backup {full['label']} was found damaged"
    if missing := list(lacking):
        return FULL, f"WAL since the last full backup is missing: {', '.join(wal.ranges(missing))}"
    day = str(settings.get("full_day") or DAYS[-1])
    if day not in DAYS:
        raise BackupError(f"the day of full backups is one of {', '.join(DAYS)}, not {day!r}", SETTINGS)
    if started < _last(day, now):
        return FULL, f"none was taken since {day}"
    return DIFF, f"the last full backup is of {day} or later"


def _last(day, now) -> float:
    """When the last such day of the week began, in local time."""
    moment = datetime.fromtimestamp(now)
    begin = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return (begin - timedelta(days=(moment.weekday() - DAYS.index(day)) % 7)).timestamp()


def root(label: str) -> str:
    """The label of the full backup that a backup is or comes from."""
    return label.partition("_")[0]


def _lacking(repository, info) -> list[str]:
    """What the WAL since the newest good full backup lacks. One segment that is on its way does not count."""
    full = [one for one in info["backups"] if one["type"] == FULL and not one["error"]]
    return _settled(repository, info, full[-1:])[0] if full else []


def _missing(repository, info, chosen) -> tuple[list[str], list[str], dict[str, str | None]]:
    """What the WAL since the full backup of this one lacks, what that of older ones does, and how far it goes without a gap, by backup.

    Where WAL was lost, a full backup begins anew. Older ones can be restored up to the gap, and go by retention, for which they must be no fault.
    """
    lacking, ends = _settled(repository, info, info["backups"])
    chain = [one for one in info["backups"] if root(one["label"]) == root(chosen["label"])]
    now = _settled(repository, info, chain)[0] if lacking else []
    return now, [name for name in lacking if name not in now], ends


def _settled(repository, info, backups) -> tuple[list[str], dict[str, str | None]]:
    """What the WAL of some backups lacks, after a second look where there is a gap; and how far it goes without one, by backup."""
    for attempt in (1, 2):
        lacking: list[str] = []
        ends: dict[str, str | None] = {}
        archives: dict[str, tuple[list[str], dict[int, str]]] = {}
        for backup in backups:
            archive = info["archives"].get(backup["database"]["id"])
            if archive is None:
                lacking.append(backup["archive"]["start"])
                ends[backup["label"]] = None
                continue
            if archive not in archives:
                archives[archive] = repository.archive(archive)
            try:
                found = wal.gaps(*archives[archive], backup["archive"]["start"])
                ends[backup["label"]] = wal.unbroken_end(*archives[archive], backup["archive"]["start"])
            except wal.WalError as error:
                raise BackupError(str(error)) from error
            lacking += [name for name in found if name not in lacking]
        if not lacking:
            break
        if attempt == 1:
            pause(SETTLE_S)
    return lacking, ends


def _room(settings, backups, kind, access) -> None:
    """Refuse a backup that would take what WAL needs. Raises BackupError (no room)."""
    directory = settings.get("repository") or ""
    if not directory:
        return
    same = [one["info"]["repository"]["delta"] for one in backups if one["type"] == kind]
    if same:
        needed = int(same[-1] * 1.2)
    else:
        total = access.ask(
            "SELECT to_json(sum(pg_database_size(oid))::bigint) FROM pg_catalog.pg_database", which=PRIMARY
        )
        # Compressed it takes a third or less of that.
        needed = int(total) // 2
    reserve = shutil.disk_usage(directory).total * int(settings.get("reserve_percent", 5)) // 100
    require_room(directory, needed + reserve, f"A {kind} backup of PostgreSQL with the reserve for its WAL")


def _run(repository: Repository, kind: str, limit_s: float) -> str:
    """Have pgBackRest take the backup, from a standby where there is one; returns from which. Raises BackupError."""
    until = time.monotonic() + limit_s
    tried: dict[int, int] = {}
    standby = "--backup-standby"
    while True:
        done = repository.call(
            "backup", f"--type={kind}", standby, "--no-expire-auto", limit_s=until - time.monotonic()
        )
        if done.rc == 0:
            return "standby" if standby == "--backup-standby" else "primary"
        pauses = PAUSES.get(done.rc, ())
        attempt = tried.get(done.rc, 0)
        if attempt >= len(pauses) or time.monotonic() + pauses[attempt] >= until:
            raise BackupError(failure("backup", done))
        pause(pauses[attempt])
        tried[done.rc] = attempt + 1
        if done.rc == DB_MISSING and tried[done.rc] > 1:
            standby = "--no-backup-standby"


def _pages(backup) -> str:
    """Which files have wrong pages, of `info` of one backup; a count where it does not say."""
    files = backup.get("error-list") or []
    return ", ".join(str(one) for one in files[:5]) or "see `pgbackrest info --set`"


def facts(
    backup: Mapping[str, Any], info: Mapping[str, Any], manifest: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What a record has of a backup of `info`."""
    return {
        "label": backup["label"],
        "source": (manifest or {}).get("from", ""),
        "point": {
            "time": backup["timestamp"]["stop"],
            "lsn": (backup.get("lsn") or {}).get("stop", ""),
            "timeline": int(backup["archive"]["stop"][:8], 16),
        },
        "bytes": backup["info"]["repository"]["delta"],
        "files": {},
        "needs": [label for label in backup.get("reference") or [] if label != backup["label"]],
        "manifest": {
            "restored_bytes": backup["info"]["size"],
            "system_identifier": info["system_identifier"],
            "wal": [backup["archive"]["start"], backup["archive"]["stop"]],
            **(manifest or {}),
        },
        "software": {"pgbackrest": backup["backrest"]["version"], "postgresql": info["version"]},
    }


def inspect(directory: Path | None = None, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What the repository has: {backups: facts of each, oldest first}. Raises BackupError where it can't be read."""
    info = Repository(settings or {}).info()
    return {"backups": [facts(one, info) for one in info["backups"]], "system_identifier": info["system_identifier"]}


# -- verify -------------------------------------------------------------------------------------------------------------------------------------


def verify(settings: Mapping[str, Any], directory: Path | None, scratch: Path) -> dict[str, Any]:
    """Check the repository, then restore its newest backup into a scratch server and check that.

    Takes what take() takes, and label: of the backup, where it is not the newest; to_newest: whether all WAL is recovered; where it is not said, once
    a week; memory_bytes: of the scratch server. Returns {label, checks, point, unbroken: the segment up to which everything is there, bytes: of
    what was restored, …}. Raises BackupError: FAILED where something is
    damaged, UNVERIFIED where nothing is known, NO_ROOM.
    """
    repository = Repository(settings)
    records = list(settings.get("records", ()))
    info = repository.info()
    if not info["backups"]:
        raise BackupError("the repository has no backup")
    chosen, record = newest(info["backups"], records, settings.get("label") or "")
    checks, wrong = {}, []
    limit = float(settings.get("limit_s", RUN_LIMIT))
    found = faults(repository.answer("verify", "--output=text", "--verbose", limit_s=limit))
    wrong += found
    checks["repository"] = "pgbackrest verify: all files have their checksums"
    wrong += _copies(repository, info["backups"])
    checks["manifests"] = f"{len(info['backups'])} manifests are the same as their copies"
    lacking, older, ends = _missing(repository, info, chosen)
    if older:
        checks["older gaps"] = ", ".join(wal.ranges(older))
    if lacking:
        wrong.append(f"WAL is missing: {', '.join(wal.ranges(lacking))}")
    checks["wal"] = f"no gap from {info['backups'][0]['archive']['start']} to {ends[chosen['label']]}"
    wrong += [f"backup {one['label']} has pages with wrong checksums" for one in info["backups"] if one["error"]]
    if wrong:
        raise BackupError("; ".join(wrong))
    to_newest = settings.get("to_newest")
    if to_newest is None:
        to_newest = not any(
            one["act"] == "verify"
            and one["verdict"] == "ok"
            and one.get("checks", {}).get("all WAL")
            and one["started"] > time.time() - NEWEST_S
            for one in records
        )
    needed = int(chosen["info"]["size"] * 1.1) + MARGIN_BYTES
    require_room(scratch, needed, f"A trial of backup {chosen['label']} in {scratch}")
    version = repository_version(info, chosen)
    with instance(
        scratch, version, repository.account, memory_bytes=int(settings.get("memory_bytes") or MEMORY_BYTES)
    ) as server:
        fetched = _restore(settings, repository, server, chosen, limit)
        moment = _recover(server, ends[chosen["label"]] if to_newest else "", chosen, limit)
        if to_newest:
            checks["all WAL"] = f"recovered to {ends[chosen['label']]}, last commit {moment or 'none'}"
        checks["recovery"] = (
            f"{len(fetched)} files of WAL, network {'cut off' if 'unshare' in server.apart else 'as the host has it'}"
        )
        checks["pages"] = _pages_checked(server, limit)
        checks["rows"] = _rows_checked(server, record["manifest"], to_newest, limit)
        server.stop()
        checks["checksums"] = _checksums(server, limit)
    return {
        "label": chosen["label"],
        "source": record.get("source", ""),
        "checks": checks,
        "point": facts(chosen, info)["point"],
        "unbroken": ends[chosen["label"]],
        "bytes": chosen["info"]["size"],
        "needs": [label for label in chosen.get("reference") or [] if label != chosen["label"]],
        "software": {"pgbackrest": chosen["backrest"]["version"], "postgresql": version},
    }


def newest(
    backups: Iterable[Mapping[str, Any]], records: Iterable[Mapping[str, Any]], label: str = ""
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The backup of a label, or the newest one that there is a record of, and this record; pure.

    Without a record there is nothing to compare rows with. Raises BackupError.
    """
    present = {one["label"]: one for one in backups}
    taken = {
        one["label"]: one for one in records if one["act"] == "take" and one["verdict"] == "ok" and one.get("label")
    }
    if label and label not in present:
        raise BackupError(f"backup {label} is not in the repository any more")
    known = [one for one in ([label] if label else present) if one in taken]
    if not known:
        raise BackupError(
            f"{label or 'no backup of the repository'} was {'not ' if label else ''}taken by this program, so there are no numbers of rows to"
            " compare with. Take a backup",
            UNVERIFIED,
        )
    return present[known[-1]], taken[known[-1]]


def repository_version(info: Mapping[str, Any], backup: Mapping[str, Any]) -> str:
    """The major version of the server that a backup is of, by the name of its archive (17-1)."""
    return info["archives"].get(backup["database"]["id"], info["version"]).partition("-")[0]


def _copies(repository, backups) -> list[str]:
    """Which of pgBackRest's files differ from their copies. It takes the copy without a word, and `verify` says ok."""
    stanza = repository.stanza
    names = [f"backup/{stanza}/backup.info", f"archive/{stanza}/archive.info"]
    names += [f"backup/{stanza}/{one['label']}/backup.manifest" for one in backups]
    wrong = []
    for name in names:
        texts = []
        for path in (name, f"{name}.copy"):
            done = repository.call("repo-get", path)
            if done.rc:
                wrong.append(f"{path} can't be read: {failure('repo-get', done)}")
            texts.append(hashlib.sha256(done.stdout.encode()).digest() if done.rc == 0 else None)
        if None not in texts and texts[0] != texts[1]:
            wrong.append(f"{name} and its copy differ: one of them is damaged")
    return wrong


def _restore(settings, repository: Repository, server: Instance, backup, limit: float) -> list[str]:
    """Restore a backup into the scratch server's directory; returns the list to which its WAL will be added as it is fetched."""
    place = own(server.place / "conf", server.account)
    config = place / "pgbackrest.conf"
    config.touch(mode=0o600)
    config.write_text(tuned(repository.config), encoding="utf-8")
    if os.geteuid() == 0:
        shutil.chown(config, server.account)
    local = Repository({**settings, "config": str(config)})
    options = [f"--pg1-path={server.data}", f"--lock-path={place}"]
    local.answer(
        "restore",
        *options,
        f"--set={backup['label']}",
        "--type=default",
        "--archive-mode=off",
        f"--tablespace-map-all={own(server.place / 'tablespaces', server.account)}",
        limit_s=limit,
    )
    # What ALTER SYSTEM and pgBackRest have written there. All that the trial needs is on its command line.
    for name in ("postgresql.auto.conf", "pg_hba.conf", "postgresql.conf"):
        path = server.data / name
        if path.exists():
            path.write_text("", encoding="utf-8")

    def fetch(name: str, path: Path) -> bool:
        done = local.call("archive-get", *options, "--no-archive-async", name, str(path), limit_s=QUESTION_LIMIT)
        if done.rc == 0:
            return True
        if done.rc == 1:
            return False
        raise BackupError(f"WAL {name} is damaged, or can't be fetched: {failure('archive-get', done)}")

    return server.fed(fetch).fetched


def _recover(server: Instance, end: str, backup, limit: float) -> str:
    """Start the server, have it recover and take writes; returns the time of the last commit that it found.

    end: the last segment, for all WAL; empty to stop where the backup is consistent. The timeline is always named: PostgreSQL's default,
    the newest, may be another branch.
    """
    further = recovery_settings(server.controldata())
    if end:
        further["recovery_target_timeline"] = str(int(end[:8], 16))
    else:
        further |= {"recovery_target": "immediate", "recovery_target_timeline": "current"}
    server.start(limit, recovery_target_action="promote", **further)
    server.recovered(limit)
    moment = server.access.ask("SELECT to_json(pg_last_xact_replay_timestamp())")
    wanted = backup["lsn"]["stop"]
    reached = server.access.ask(f"SELECT to_json(pg_current_wal_lsn() >= {rows.literal(wanted)}::pg_lsn)")
    if not reached:
        raise BackupError(f"the recovery ended before {wanted}, where the backup is consistent")
    if end:
        # The new timeline begins after what was recovered: within the last segment, or at its end.
        last = wal.segment(end)
        reached = wal.position(server.access.ask("SELECT to_json(pg_current_wal_lsn()::text)"))
        if reached < last.number * wal.SEGMENT_BYTES:
            raise BackupError(f"the recovery ended at {wal.lsn(reached)}, before segment {end}")
    return moment or ""


def _pages_checked(server: Instance, limit: float) -> str:
    """Have every table and index read and checked."""
    server.program("pg_amcheck", "--all", "--install-missing", "--no-password", limit_s=limit)
    return "pg_amcheck found nothing"


def _rows_checked(server: Instance, manifest: Mapping[str, Any], to_newest: bool, limit: float) -> str:
    """Compare the numbers of rows, and the chain of witnesses, with those of the record. After further WAL only the chain can be compared."""
    wanted = manifest.get("databases") or {}
    if not wanted:
        raise BackupError("the backup's record has no numbers of rows", UNVERIFIED)
    wrong, tables, rest = [], 0, 0
    witnesses = dict(manifest.get("witness") or {})
    if to_newest and witnesses:
        witnesses["after"] = 2**62
    wrong += rows.chain_faults(witnesses, rows.chain(server.access))
    present = set(rows.databases(server.access))
    for name, known in wanted.items():
        rest += known.get("uncounted", 0)
        if name not in present:
            wrong.append(f"database {name} is not there")
            continue
        found = rows.counts(server.access, name, known["tables"], until=time.monotonic() + limit, table_limit=limit)
        tables += len(found)
        if not to_newest:
            wrong += rows.differences(known["tables"], found, name)
    if wrong:
        raise BackupError("; ".join(wrong[:20]))
    compared = "counted after further WAL" if to_newest else "have the rows that they had"
    return (
        f"{tables} tables in {len(wanted)} databases {compared}"
        + (f", {rest} were not counted" if rest else "")
        + (
            f", witnesses up to {witnesses and rows.chain(server.access).get('last')}"
            if witnesses
            else ", no witnesses yet"
        )
    )


def _checksums(server: Instance, limit: float) -> str:
    """Have the checksum of every page compared, after a clean stop."""
    if not checksums(server.controldata()):
        return "the cluster has none"
    server.program("pg_checksums", "--check", f"--pgdata={server.data}", limit_s=limit)
    return "all pages have their checksums"


# -- what is given up, and each minute -------------------------------------------------------------------------------------------------------------


def expire(settings: Mapping[str, Any], labels: Iterable[str]) -> dict[str, Any]:
    """Remove backups by their labels, then the WAL before the oldest full one that is left; returns {removed, kept}.

    Only what is older than a verified chain goes, and no backup whose differential ones are kept. Raises BackupError where that is asked for.
    """
    repository = Repository(settings)
    info = repository.info()
    doomed = refuse_expire(info["backups"], settings.get("records", ()), labels)
    for label in doomed:
        repository.answer(
            "expire", f"--set={label}", "--repo1-retention-full-type=count", f"--repo1-retention-full={KEEP_ALL}"
        )
    left = repository.info()["backups"]
    gone = {one["label"] for one in info["backups"]} - {one["label"] for one in left}
    if gone - _with_dependants(info["backups"], doomed):
        raise BackupError(f"pgbackrest expire has also removed {', '.join(sorted(gone - set(doomed)))}")
    if doomed:
        full = sum(one["type"] == FULL for one in left)
        repository.answer(
            "expire",
            "--repo1-retention-full-type=count",
            f"--repo1-retention-full={KEEP_ALL}",
            "--repo1-retention-archive-type=full",
            f"--repo1-retention-archive={full}",
        )
    return {"removed": sorted(gone), "kept": [one["label"] for one in left]}


def _with_dependants(backups, labels) -> set[str]:
    gone = set(labels)
    return gone | {one["label"] for one in backups if gone.intersection(one.get("reference") or ())}


def refuse_expire(
    backups: Iterable[Mapping[str, Any]], records: Iterable[Mapping[str, Any]], labels: Iterable[str]
) -> list[str]:
    """The labels that may be removed, differential ones first; pure. Raises BackupError where any of them may not."""
    backups, wanted = list(backups), set(labels)
    known = {one["label"]: one for one in backups}
    # One that is gone already needs nothing.
    wanted &= known.keys()
    if not wanted:
        return []
    verifications = [one for one in records if one["act"] == "verify"]
    if not verifications or verifications[-1]["verdict"] != "ok":
        raise BackupError("nothing is removed: the last verification was not ok", UNVERIFIED)
    label = verifications[-1].get("label", "")
    if label not in known or label in wanted:
        raise BackupError(f"nothing is removed: the verified backup {label or '(none)'} is not kept", UNVERIFIED)
    verified = known[label]
    for one in (known[label] for label in wanted):
        if one["timestamp"]["stop"] >= verified["timestamp"]["stop"]:
            raise BackupError(f"backup {one['label']} is not removed: no newer one was verified")
    needed = {
        reference: one["label"]
        for one in backups
        if one["label"] not in wanted
        for reference in one.get("reference") or ()
    }
    for label in sorted(wanted & needed.keys()):
        raise BackupError(f"backup {label} is not removed: {needed[label]} needs it")
    return sorted(wanted, key=lambda name: (known[name]["type"] == FULL, name))


def grows(settings: Mapping[str, Any], now: float) -> float | None:
    """How many bytes of WAL the repository gets a day, by the last one; None where there are none of an hour ago or before."""
    came, first = 0, now
    for place, _folders, names in os.walk(Path(settings["repository"], "archive")):
        for name in names:
            if not wal.segment(name):
                continue
            try:
                seen = os.lstat(os.path.join(place, name))
            except FileNotFoundError:
                continue
            first = min(first, seen.st_mtime)
            came += seen.st_size if seen.st_mtime > now - DAY_S else 0
    observed = min(float(DAY_S), now - first)
    return came / observed * DAY_S if observed >= RATE_S else None


def guard(settings: Mapping[str, Any], previous: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Each minute: write a witness on the primary, and see how old the newest WAL is that all repositories have.

    previous: what the last call returned: {witness: the last number, missed: how many in a row could not be written, problems; metrics}.
    """
    missed = int((previous or {}).get("missed", 0))
    try:
        with cluster(settings, settings.get("account", ACCOUNT)) as access:
            rows.witness(access)
            found = {"witness": rows.chain(access, PRIMARY).get("last"), "missed": 0, "problems": []}
            age = access.ask(_ARCHIVED, which=PRIMARY)
            return found if age is None else {**found, "metrics": {"rpo_seconds": {"": age}}}
    except BackupError as error:
        missed += 1
        told = f"no witness was written for {missed} minutes, by which a restore is judged: {error.reason}"
        # A switchover may cost one or two.
        problems = [told] if missed > MISSED_WITNESSES else []
        return {"witness": (previous or {}).get("witness"), "missed": missed, "problems": problems}
