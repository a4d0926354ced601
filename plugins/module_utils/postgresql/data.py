# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What of PostgreSQL's data lies on a host, whether a server runs or not: from files alone, and pg_controldata.

`run` is how commands are run, as AnsibleModule.run_command: command -> (code, output, errors).
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

CONTROL, DISABLED_CONTROL = Path("global", "pg_control"), Path("global", "pg_control.old")
# The line of pg_hba.conf, and nothing else, by which clients are kept away while a new version is looked at.
CLOSED_HBA = "host all all all reject"


def read(path) -> str:
    """A file's text without its line end; empty where it can't be read."""
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def configured(text: str) -> dict:
    """What Patroni's configuration, as role postgresql writes it, says: {directory, version, closed: whether clients are kept away}."""
    directory = re.search(r"^  data_dir: (\S+)$", text, re.MULTILINE)
    version = re.search(r"^  bin_dir: /usr/lib/postgresql/([^/\s]+)/bin$", text, re.MULTILINE)
    return {
        "directory": directory[1] if directory else "",
        "version": version[1] if version else "",
        "closed": f'\n    - "{CLOSED_HBA}"\n' in text,
    }


def bootstrap(config_file: str) -> dict:
    """What the host's Patroni would give a new cluster as its dynamic configuration; empty where there is none, or no YAML."""
    try:
        import yaml
    except ImportError:  # Patroni's own dependency: without it there is no Patroni, and nothing to read.
        return {}
    try:
        return dict(yaml.safe_load(read(config_file))["bootstrap"]["dcs"])
    except (KeyError, TypeError, ValueError, yaml.YAMLError):
        return {}


def in_use(config_file: str) -> dict:
    """The data that this host's Patroni is configured with: {directory, version, disabled}; version empty where there are none.

    disabled: pg_upgrade has put its pg_control away, so that no server of the old version starts there any more.
    """
    directory = configured(read(config_file))["directory"]
    version = read(Path(directory, "PG_VERSION")) if directory else ""
    return {"directory": directory, "version": version, "disabled": bool(version) and control(directory) == "disabled"}


def control(directory: str) -> str:
    """present, disabled (put away by pg_upgrade) or absent."""
    if Path(directory, CONTROL).exists():
        return "present"
    return "disabled" if Path(directory, DISABLED_CONTROL).exists() else "absent"


def parse_controldata(text: str) -> dict:
    """What counts here of pg_controldata's output; the name of each value as the module returns it."""
    names = {
        "Database system identifier": "system_identifier",
        "Database cluster state": "state",
        "Latest checkpoint location": "checkpoint",
        "Latest checkpoint's TimeLineID": "timeline",
    }
    found = dict.fromkeys(names.values(), "")
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon and name in names:
            found[names[name]] = value.strip()
    return found


def controldata(run, directory: str, version: str) -> dict:
    """What pg_controldata says, also of a control file that pg_upgrade has put away; empty texts where it can't be read."""
    program = f"/usr/lib/postgresql/{version}/bin/pg_controldata"
    where = control(directory)
    if where == "absent" or not os.path.exists(program):
        return parse_controldata("")
    with tempfile.TemporaryDirectory() as place:
        if where == "disabled":
            (Path(place) / CONTROL).parent.mkdir()
            shutil.copyfile(Path(directory, DISABLED_CONTROL), Path(place) / CONTROL)
        code, out, _errors = run([program, place if where == "disabled" else directory], environ_update={"LC_ALL": "C"})
    return parse_controldata(out if code == 0 else "")


def running(directory: str, proc: str = "/proc") -> bool:
    """Whether a server runs there: the process that postmaster.pid names works in this directory."""
    pid = read(Path(directory, "postmaster.pid")).partition("\n")[0]
    try:
        return pid.isdigit() and os.readlink(Path(proc, pid, "cwd")) == os.path.realpath(directory)
    except OSError:
        return False


def port(directory: str) -> int:
    """The port of the server that runs there; 0 where none does."""
    lines = read(Path(directory, "postmaster.pid")).splitlines()
    return int(lines[3]) if running(directory) and len(lines) > 3 and lines[3].strip().isdigit() else 0


def size(directory: str) -> int:
    """The bytes that all files below a directory take."""
    total = 0
    for place, _names, files in os.walk(directory):
        for name in files:
            try:
                total += os.lstat(os.path.join(place, name)).st_blocks * 512
            except FileNotFoundError:
                continue
    return total


def look(run, directory: str) -> dict:
    """All that is known of one data directory; version is empty where it holds none."""
    version = read(Path(directory, "PG_VERSION"))
    return {
        "directory": directory,
        "version": version,
        "control": control(directory),
        **(controldata(run, directory, version) if version else parse_controldata("")),
        "running": running(directory),
        "port": port(directory),
    }


def place(directory: str) -> dict:
    """Where a directory is or would be made: {empty: whether nothing is there yet, device, free_bytes}."""
    path = Path(directory)
    there = next(parent for parent in (path, *path.parents) if parent.exists())
    status = os.statvfs(there)
    return {
        "empty": not path.exists() or not any(path.iterdir()),
        "device": os.stat(there).st_dev,
        "free_bytes": status.f_bavail * status.f_frsize,
    }
