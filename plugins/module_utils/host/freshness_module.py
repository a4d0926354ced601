# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What service_freshness asks a host, also for modules that answer it together with their own work."""

from __future__ import annotations

import os
import time
from typing import Any

from . import freshness

OPTIONS = {
    "unit": {"type": "str", "required": True},
    "restart_files": {"type": "list", "elements": "path", "default": []},
    "reload_files": {"type": "list", "elements": "path", "default": []},
    "binaries": {"type": "list", "elements": "path", "default": []},
    "reload_proof": {"type": "str", "choices": ["stamp", "workers", "none"], "default": "stamp"},
    "stamp_directory": {"type": "path", "default": "/run/utmstack-ha"},
}


def judge(module, wanted: dict[str, Any]) -> dict[str, Any]:
    """What service_freshness returns, for a service by its options. Ends the module where a listed file or a right is missing."""
    unit = wanted["unit"] if "." in wanted["unit"] else f"{wanted['unit']}.service"
    try:
        service = _observe(module, wanted, unit)
    except PermissionError as error:
        module.fail_json(msg=f"{error.filename} can't be read: the module has to run as root (become)")
    verdict = freshness.judge(service, time.time())
    for warning in verdict.warnings:
        module.warn(warning)
    started = service.main.started if service.main else None
    loaded = max(started, service.loaded or started) if started is not None else None
    return {
        "state": verdict.state,
        "reasons": verdict.reasons,
        "unit": unit,
        "active_state": service.active_state,
        "enabled": service.enabled,
        "pid": service.main.pid if service.main else None,
        "started": freshness.iso(started) if started is not None else None,
        "loaded": freshness.iso(loaded) if loaded is not None else None,
        "daemon_reload": service.daemon_reload,
    }


def _files_of(module, wanted: dict[str, Any], option: str) -> list[freshness.File]:
    """The files of one option with their times. Fails on those that are missing, but for check mode."""
    files = [freshness.File(path, freshness.changed(path)) for path in wanted[option]]
    missing = [file.path for file in files if file.changed is None]
    if missing and not module.check_mode:
        module.fail_json(msg=f"{option} of {wanted['unit']} are missing: {', '.join(missing)}")
    return files


def _last_load(wanted: dict[str, Any], unit: str, main, members) -> tuple[float | None, bool]:
    """When the service was last reloaded, as far as there is a proof, and whether files can be compared with it exactly."""
    proof = wanted["reload_proof"]
    if proof == "stamp":
        return freshness.changed(os.path.join(wanted["stamp_directory"], f"{unit}.loaded")), True
    if proof == "workers":
        return freshness.newest_worker(main, members), False
    return None, False


def _observe(module, wanted: dict[str, Any], unit: str) -> freshness.Service:
    """Collect all that is known about the unit."""
    systemctl = module.get_bin_path("systemctl", required=True)
    command = [systemctl, "show", "--timestamp=unix", f"--property={freshness.PROPERTIES}", unit]
    out = module.run_command(command, check_rc=True)[1]
    show = freshness.parse_show(out)
    enabled = show.get("UnitFileState") == "enabled"
    proc = freshness.Proc()
    main = freshness.main_process(show, proc)
    restart_files, reload_files = _files_of(module, wanted, "restart_files"), _files_of(module, wanted, "reload_files")
    _files_of(module, wanted, "binaries")
    found = freshness.Service(unit=unit, active_state=show.get("ActiveState", "unknown"), enabled=enabled)
    if show.get("LoadState") == "not-found":
        found = freshness.Service(unit=unit, active_state="not installed")
    if main is None:
        return found
    group = show.get("ControlGroup")
    members = list(proc.members(group)) if group and (wanted["binaries"] or reload_files) else []
    loaded, exact = _last_load(wanted, unit, main, members)
    paths = freshness.unit_files(show) + freshness.environment_files(out)
    known = (freshness.File(path, freshness.changed(path)) for path in paths)
    return freshness.Service(
        unit=unit,
        active_state=show["ActiveState"],
        enabled=enabled,
        main=main,
        loaded=loaded,
        loaded_exact=exact,
        daemon_reload=show.get("NeedDaemonReload") == "yes",
        unit_files=[file for file in known if file.changed is not None],
        restart_files=restart_files,
        reload_files=reload_files,
        executables=freshness.executables(wanted["binaries"], main, members),
    )
