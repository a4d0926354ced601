# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Backup hosts: each has a whole repository of its own, and pulls every kind of backup of the services by timers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..common.text import moment_text, size, span
from .answers import answers_of, together
from .backup import DAY, Backup
from .change import APPLIED, OPERATION, Change
from .listener import HOST, Listener
from .service import Service

SETTINGS_FILE = "/etc/utmstack-ha/backup.json"
_WRITTEN = "the program's settings and its timers are written anew"


def asks(ha: Mapping[str, Any], _secrets: Mapping[str, str], _host: str) -> dict[str, dict[str, Any]]:
    """How its own repository is."""
    return {"utmstack.ha.backup_info": {"settings_file": SETTINGS_FILE, "kinds": ha["backup"]["kinds"]}}


def form(topology, observations, _roles):
    """Return its part of the state of the platform, as Service.form says."""
    own = topology.get("backup", {})
    if not own.get("members"):
        if not own.get("required"):
            return None
        return {
            "healthy": False,
            "problems": [
                "backup: group backup has no hosts, and backup_required is true. Add a host to it, or set backup_required to false"
            ],
            "members": [],
        }
    members, said = [], []
    for name, answer, error in answers_of(own["members"], observations, "backup"):
        if answer is None:
            said += [(name, f"its backups could not be looked at ({error})")] if error else []
            members.append(
                {
                    "name": name,
                    "healthy": False,
                    "kinds": [],
                    "remote_copy": {},
                    "safety": [],
                    "free": None,
                    "total": None,
                }
            )
            continue
        problems = [f"{name} {text}" for row in answer["kinds"] for text in row["problems"]]
        problems += [f"{name}: {text}" for text in answer["problems"]]
        said += [("", text) for text in problems]
        members.append(
            {
                "name": name,
                "healthy": not problems,
                "kinds": answer["kinds"],
                **{key: answer[key] for key in ("remote_copy", "safety", "free", "total")},
            }
        )
    problems = [text for name, text in said if not name] + together((name, text) for name, text in said if name)
    return {
        "healthy": not problems and all(member["healthy"] for member in members),
        "problems": problems,
        "members": members,
    }


def table(state):
    """Return its table, as Service.table says."""
    layer = state.get("backup")
    if not layer or not layer["members"]:
        return "", []
    # Narrow screens cut the end of a line.
    rows = [["backup", "on", "verdict", "last good", "age", "verified", "size", "kept"]]
    for member in layer["members"]:
        rows += [
            [
                row["title"],
                member["name"],
                row["verdict"] if row["verdict"] == "ok" else row["verdict"].upper(),
                moment_text(row["point"]),
                span(row["age_s"]),
                f"{span(row['verified_age_s'])} ago" if row["verified_age_s"] is not None else "never",
                size(row["bytes"]),
                row["kept"],
            ]
            for row in member["kinds"]
        ]
        copy = member["remote_copy"]
        if copy:
            rows.append(
                [
                    "remote copy",
                    member["name"],
                    copy["verdict"] if copy["verdict"] == "ok" else copy["verdict"].upper(),
                    moment_text(copy["point"]),
                    span(copy["age_s"]),
                    f"{copy['files']} files" if copy["files"] else "never",
                    size(copy["bytes"]),
                    "",
                ]
            )
        rows += [
            [f"safety copy of {copy['kind']}", copy["host"], "", copy["path"], "", "", "", ""]
            for copy in member["safety"]
        ]
        if not member["kinds"]:
            rows.append(["NO ANSWER", member["name"], "", "", "", "", "", ""])
    return "Backups", rows


SERVICE = Service(
    name="backup",
    role="backup",
    layer="backup",
    groups=("backup",),
    listeners=(Listener("backup", "pgBackRest", "backup", 8432, HOST, "PostgreSQL hosts", ("postgresql",)),),
    shared={
        "backup_kinds": [],
        "backup_directory": "/var/backups/utmstack",
        "backup_schedule": {},
        "backup_verify_schedule": {},
        "backup_retention_days": {},
        "backup_recipients": [],
        "backup_allow_shared_host": False,
        "backup_required": False,
        "backup_archive_timeout_s": 20,
        "backup_rpo_limit_s": 120,
        "backup_archive_queue_max": "",
        "backup_stop": False,
    },
    changes=(
        Change("backup_kinds", APPLIED, f"{_WRITTEN}; what was taken of a kind that is left out stays"),
        Change(
            "backup_directory",
            OPERATION,
            "a new directory is an empty repository: copy the former one there first, with its marker, or have full backups made anew",
        ),
        Change("backup_schedule", APPLIED, _WRITTEN),
        Change("backup_verify_schedule", APPLIED, _WRITTEN),
        Change("backup_retention_days", APPLIED, _WRITTEN),
        Change(
            "backup_recipients",
            APPLIED,
            "the configuration is sealed anew; what was sealed before stays for those that could open it",
        ),
        Change("backup_allow_shared_host", APPLIED, "it is only looked at"),
        Change(
            "backup_repository, backup_s3_endpoint, backup_s3_bucket, backup_s3_prefix",
            OPERATION,
            "another place is an empty repository: copy the former one there first, or have full backups made anew",
        ),
        Change(
            "backup_s3_key, backup_s3_secret, backup_s3_ca_file, backup_s3_region, backup_s3_uri_style",
            APPLIED,
            "the remote is listed by that run",
        ),
        Change(
            "backup_remote, backup_remote_path",
            APPLIED,
            f"{_WRITTEN}, and the next copy begins anew in the new place; what was copied to the former one stays there",
        ),
        Change(
            "backup_remote_secrets, backup_remote_ca_file, backup_remote_bandwidth, backup_remote_days, backup_remote_schedule",
            APPLIED,
            _WRITTEN,
        ),
        Change("backup_remote_stale_hours", APPLIED, _WRITTEN),
        Change("backup_required", APPLIED, "it is only looked at"),
        Change("backup_archive_timeout_s", APPLIED, "by Patroni, without a restart"),
        Change("backup_rpo_limit_s", APPLIED, "at once"),
        Change("backup_archive_queue_max", APPLIED, "at once"),
        Change(
            "group backup, backup_stop",
            APPLIED,
            "the first backup host has each member restart once; the last one is taken out by -e backup_stop=true only",
        ),
        Change("ha_ports.backup", APPLIED, _WRITTEN),
    ),
    # Clients notice nothing of the loss of its hosts.
    survives=lambda _ha: None,
    # What runs by timers; these belong to the target.
    units=("utmstack-backup.target",),
    some_packages=lambda ha, _release: tuple(ha["backup"]["packages"]),
    upgrades=("pgbackrest",),
    upgraded={"utmstack-backup.target": ()},
    asks=asks,
    form=form,
    table=table,
    backups=(
        # No service's: what the controller has. It comes from there, by site.yml, when it has changed.
        Backup(
            kind="configuration",
            title="Configuration",
            playbook="restore_config",
            asked=lambda ha, _secrets: {"recipients": ha["backup"]["recipients"]},
            source="the controller",
            stale_s=400 * DAY,
            scratch=lambda _size: (0, 0),
            schedule=(),
            verify_schedule=("*-*-* 05:00",),
            retention_days=90,
            isolated=True,
        ),
    ),
    # Its hosts lead nothing and serve no client, so none of them is drained.
    drain=False,
    whole_host=("health",),
    independent=True,
)
