# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where backups lie beside the disk of a backup host: an S3-compatible repository, and a remote to which they are copied. By host."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ..common.values import number
from .faults import Findings
from .names import path_fault

DIRECTORY, S3 = "directory", "s3"
HOURLY, DAILY = "*-*-* *:40", "*-*-* 08:00"
# The default of each setting, as role backup has it (a test compares).
DEFAULTS: dict[str, Any] = {
    "backup_repository": DIRECTORY,
    "backup_s3_endpoint": "",
    "backup_s3_bucket": "",
    "backup_s3_region": "us-east-1",
    "backup_s3_prefix": "",
    "backup_s3_ca_file": "",
    "backup_s3_uri_style": "path",
    "backup_s3_key": "",
    "backup_s3_secret": "",
    "backup_remote": {},
    "backup_remote_secrets": {},
    "backup_remote_path": "",
    "backup_remote_ca_file": "",
    "backup_remote_bandwidth": "",
    "backup_remote_days": 30,
    "backup_remote_schedule": "",
    "backup_remote_stale_hours": 36,
}
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*")
_OPTION = re.compile(r"[a-z][a-z0-9_]*")
_BANDWIDTH = re.compile(r"\d+(\.\d+)?[KMG]?")
# What of a remote is the program's own: the remote's type is a place of another one there.
_WRAPPERS = ("alias", "cache", "chunker", "combine", "compress", "crypt", "hasher", "union")


def repositories(
    hosts: list[str], variables: Mapping[str, Mapping[str, Any]], cluster: str, found: Findings
) -> dict[str, dict[str, Any]]:
    """By backup host its repository: type, and of S3 endpoint, host, port, bucket, region, prefix, ca_file and uri_style; no credentials."""
    result: dict[str, dict[str, Any]] = {}
    for host in hosts:
        own = _own(variables.get(host, {}))
        if own["backup_repository"] != S3:
            result[host] = {"type": DIRECTORY}
            given = [name for name in DEFAULTS if name.startswith("backup_s3_") and variables.get(host, {}).get(name)]
            if given and own["backup_repository"] == DIRECTORY:
                found.warn(
                    f"host {host}",
                    given[0],
                    "is set, and backup_repository is directory",
                    "Set it to s3, or take it out",
                )
            continue
        result[host] = _s3(host, own, cluster, found)
    places: dict[tuple[str, ...], str] = {}
    for host, one in result.items():
        if one["type"] == S3 and one["bucket"]:
            place = (one["endpoint"], one["bucket"], one["prefix"])
            if place in places:
                found.refuse(
                    f"host {host}",
                    "backup_s3_prefix",
                    f"is {one['prefix']}, where {places[place]} has its repository",
                    "Give each backup host a place of its own, or leave it out",
                )
            places[place] = host
    return result


def _s3(host, own, cluster, found) -> dict[str, Any]:
    where = f"host {host}"
    endpoint = str(own["backup_s3_endpoint"] or "").strip().rstrip("/")
    name, port = "", 443
    if not endpoint:
        found.refuse(where, "backup_s3_endpoint", "is empty", "Set the name of the S3 server, such as s3.example.org")
    elif endpoint.startswith("http://"):
        found.refuse(
            where, "backup_s3_endpoint", "begins with http://, which encrypts nothing", "Set it to one with https://"
        )
    else:
        try:
            parts = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
            name, port = parts.hostname or "", parts.port or 443
            usable = parts.scheme == "https" and name and not parts.path and not parts.query and not parts.username
        except ValueError:
            usable = False
        if not usable:
            remedy = "Set the name of the S3 server with its port, such as s3.example.org:9000; the bucket is backup_s3_bucket"
            found.refuse(where, "backup_s3_endpoint", f"is {endpoint!r}", remedy)
    bucket = str(own["backup_s3_bucket"] or "")
    if not _BUCKET.fullmatch(bucket):
        remedy = "Set the name of a bucket that is there: 3 to 63 small letters, digits, dots and hyphens"
        found.refuse(where, "backup_s3_bucket", f"is {bucket!r}" if bucket else "is empty", remedy)
    region = str(own["backup_s3_region"] or "")
    if not _PREFIX.fullmatch(region) or "/" in region:
        found.refuse(where, "backup_s3_region", f"is {region!r}", "Set the region of the bucket, or leave it out")
    prefix = str(own["backup_s3_prefix"] or f"{cluster}/{host}").strip("/")
    if not _PREFIX.fullmatch(prefix) or ".." in prefix.split("/"):
        found.refuse(where, "backup_s3_prefix", f"is {prefix!r}", "Set a path in the bucket, such as backups/site-a")
    for secret in ("backup_s3_key", "backup_s3_secret"):
        value = own[secret]
        if not isinstance(value, str) or not value or not all("!" <= one <= "~" for one in value):
            found.refuse(
                where, secret, "is no key", "Set what the S3 server's owner has given, encrypted by ansible-vault"
            )
    return {
        "type": S3,
        "endpoint": endpoint.removeprefix("https://"),
        "host": name,
        "port": port,
        "bucket": bucket,
        "region": region,
        "prefix": prefix,
        "ca_file": _file(where, "backup_s3_ca_file", own, found),
        "uri_style": own["backup_s3_uri_style"],
    }


def copies(
    hosts: list[str],
    variables: Mapping[str, Mapping[str, Any]],
    repositories: Mapping[str, Mapping[str, Any]],
    cluster: str,
    found: Findings,
) -> dict[str, dict[str, Any]]:
    """By backup host the remote to which its backups are copied, empty where there is none: base (the path there), title, ca_file, bandwidth,
    days, schedule and stale_s; no credentials.

    Where the repository is an S3 one it is the bucket: pgBackRest writes there itself, and what is files is copied.
    """
    result: dict[str, dict[str, Any]] = {}
    for host in hosts:
        own, where = _own(variables.get(host, {})), f"host {host}"
        in_s3 = repositories[host]["type"] == S3
        if in_s3 and own["backup_remote"]:
            found.refuse(
                where,
                "backup_remote",
                "is set, and backup_repository is s3, whose bucket has all that could be copied",
                "Take it out, have the bucket replicated by its server, or have a second backup host with a directory and a remote",
            )
        if not in_s3 and not own["backup_remote"]:
            result[host] = {}
            continue
        if in_s3:
            bucket = repositories[host]
            base, title, ca_file = (
                f"{bucket['bucket']}/{bucket['prefix']}",
                f"bucket {bucket['bucket']} of {bucket['endpoint']}",
                bucket["ca_file"],
            )
        else:
            base, title = _remote(where, own, f"{cluster}/{host}", found)
            ca_file = _file(where, "backup_remote_ca_file", own, found)
        bandwidth = str(own["backup_remote_bandwidth"] or "")
        if bandwidth and not _BANDWIDTH.fullmatch(bandwidth):
            remedy = "Set bytes a second, such as 8M, or leave it out"
            found.refuse(where, "backup_remote_bandwidth", f"is {bandwidth!r}", remedy)
        schedule = str(own["backup_remote_schedule"] or (HOURLY if in_s3 else DAILY)).strip()
        if not schedule.isprintable():
            remedy = "Set a time as OnCalendar of systemd takes it, for example '*-*-* 08:00'"
            found.refuse(where, "backup_remote_schedule", f"is {schedule!r}", remedy)
        result[host] = {
            "base": base,
            "title": title,
            "ca_file": ca_file,
            "bandwidth": bandwidth,
            "days": _whole(where, "backup_remote_days", own, 0, 3650, found),
            "schedule": schedule,
            "stale_s": 3600 * _whole(where, "backup_remote_stale_hours", own, 1, 8760, found),
        }
    return result


def _remote(where, own, below, found) -> tuple[str, str]:
    options, secrets = own["backup_remote"], own["backup_remote_secrets"] or {}
    example = (
        "Write it as rclone's configuration has it, such as {type: sftp, host: backup.example.org, user: utmstack}"
    )
    if not isinstance(options, Mapping) or not isinstance(secrets, Mapping):
        # check_components tells which of them is no mapping.
        return "", ""
    kind = str(options.get("type") or "")
    if not kind:
        found.refuse(where, "backup_remote", "has no type", example)
    elif kind in _WRAPPERS:
        remedy = "Name the storage itself: what is copied is encrypted without that"
        found.refuse(where, "backup_remote.type", f"is {kind}, which wraps another remote", remedy)
    for setting, values in (("backup_remote", options), ("backup_remote_secrets", secrets)):
        for name, value in values.items():
            if not _OPTION.fullmatch(str(name)) or isinstance(value, (Mapping, list)) or not str(value).isprintable():
                found.refuse(where, f"{setting}.{name}", "is no option of rclone with a value of one line", example)
    both = sorted(set(map(str, options)) & set(map(str, secrets)))
    if both:
        found.refuse(where, f"backup_remote_secrets.{both[0]}", "is in backup_remote, too", "Have it in one of them")
    path = str(own["backup_remote_path"] or "").strip()
    if path and (not _PREFIX.fullmatch(path.strip("/")) or ".." in path.split("/")):
        remedy = "Set the bucket or directory at the remote in which the copies lie, without blanks"
        found.refuse(where, "backup_remote_path", f"is {path!r}", remedy)
    place = options.get("host") or options.get("endpoint") or options.get("url") or path
    return f"{path.rstrip('/')}/{below}" if path else below, f"{kind} {place}".strip()


def _own(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: default if given.get(name) is None else given[name] for name, default in DEFAULTS.items()}


def _file(where, name, own, found) -> str:
    path = str(own[name] or "")
    if path and (not path.startswith("/") or path_fault(path)):
        found.refuse(
            where, name, f"is {path!r}", "Set the absolute path of a file of CA certificates on the backup host"
        )
    return path


def _whole(where, name, own, least, largest, found) -> int:
    figure = number(own[name])
    if not isinstance(figure, int) or not least <= figure <= largest:
        found.refuse(where, name, f"is {own[name]!r}", f"Set a whole number from {least} to {largest}")
        return least
    return figure
