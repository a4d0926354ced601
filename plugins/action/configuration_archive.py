# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Seals the configuration of the platform on the controller; nothing of it leaves this process but what is sealed."""

from __future__ import annotations

import json
import platform
import time
from pathlib import Path
from typing import Any

from ansible import constants as C
from ansible import release
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ..module_utils.common import age
from ..module_utils.common.backup import BackupError
from ..module_utils.host import configuration
from ..module_utils.topology.role_specs import COLLECTION
from ..plugin_utils import sealing


class ActionModule(ActionBase):
    """A configuration that can't be sealed is no failed task: a record says so, and status is red."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the files for a backup host, where it does not have the present configuration yet."""
        result = super().run(tmp, task_vars)
        variables = task_vars or {}
        _valid, arguments = self.validate_argument_spec(
            {
                "cluster": {"type": "str", "required": True},
                "secrets_directory": {"type": "path", "required": True},
                "recipients": {"type": "list", "elements": "str", "required": True},
                "kept": {"type": "list", "elements": "dict", "default": []},
                "failed_before": {"type": "bool", "default": False},
                "force": {"type": "bool", "default": False},
            }
        )
        recipients = [age.name(one) for one in arguments["recipients"]]
        try:
            if not recipients:
                raise BackupError(
                    "backup_recipients is empty, so nobody could open it. Set it to the public keys of who is to restore the platform"
                )
            files = configuration.collect(
                [str(one) for one in variables.get("ansible_inventory_sources") or []],
                arguments["secrets_directory"],
                beside(variables.get("playbook_dir", "")),
                C.CONFIG_FILE or "",
            )
            refuse(files, recipients)
            manifest = {"digest": configuration.digest(files), "recipients": recipients}
            newest = (arguments["kept"] or [{"record": {}}])[-1]["record"].get("manifest")
            if newest == manifest and not arguments["force"] and not arguments["failed_before"]:
                return {
                    **result,
                    "changed": False,
                    "needed": False,
                    "verdict": "ok",
                    "reason": "",
                    "manifest": manifest,
                }
            sealed = self._sealed(files, arguments["cluster"], recipients, manifest)
        except (BackupError, age.AgeError) as error:
            told = error.reason if isinstance(error, BackupError) else str(error)
            told = told if told.startswith("backup_recipients") else f"the configuration was not sealed: {told}"
            needed = arguments["force"] or not arguments["failed_before"]
            return {
                **result,
                "changed": False,
                "needed": needed,
                "verdict": "failed",
                "reason": told,
                "files": {},
                "manifest": {},
            }
        return {
            **result,
            "changed": False,
            "needed": True,
            "verdict": "ok",
            "reason": "",
            **sealed,
            "manifest": manifest,
        }

    def _sealed(
        self, files: configuration.Files, cluster: str, recipients: list[str], manifest: dict[str, Any]
    ) -> dict[str, Any]:
        """Return the files of a backup, and versions."""
        software = {"ansible": release.__version__, "python": platform.python_version(), "utmstack.ha": version()}
        readme = configuration.instructions(cluster, recipients)
        whole = {**files, configuration.README: (readme.encode(), False)}
        facts = {"cluster": cluster, "made": int(time.time()), "software": software, **manifest}
        inner = {**facts, "digest": configuration.digest(whole), "secrets": configuration.where_secrets(files)}
        return {
            "files": {
                configuration.SEALED: sealing.seal(configuration.archive(whole, inner), recipients),
                configuration.MANIFEST: json.dumps(facts, sort_keys=True) + "\n",
                configuration.README: readme,
            },
            "point": {"time": facts["made"]},
            "software": software,
        }


def refuse(files: configuration.Files, recipients: list[str]) -> None:
    """Raise BackupError for recipients that can't be sealed to, and where what opens the archive would lie in it."""
    wrong = [f"{shown(one)} {found[0]}. {found[1]}" for one in recipients if (found := age.fault(one))]
    if wrong:
        raise BackupError("backup_recipients: " + "; ".join(wrong))
    inside = [f"{name} has {what}" for name, (content, _x) in files.items() if (what := age.opens(content, recipients))]
    if inside:
        raise BackupError(
            f"{'; '.join(inside)}, which opens what is sealed, and would be lost with the controller. Keep it elsewhere, and away from the hosts"
        )


def shown(recipient: str) -> str:
    """A recipient as a message shows it: nothing of what may be a private key."""
    return f"{recipient[:12]}…" if len(recipient) > 12 else recipient


def beside(playbooks: str) -> str:
    """Return the directory whose variables lie beside the user's own playbooks; nothing for those of the collection."""
    place = Path(playbooks or "/").resolve()
    return "" if place in (COLLECTION, COLLECTION / "playbooks") or not playbooks else str(place)


def version() -> str:
    """Return the version of this collection, of an installed copy or a checkout."""
    for name in ("MANIFEST.json", "galaxy.yml"):
        path = COLLECTION / name
        if path.is_file():
            for line in path.read_text(encoding="utf-8").splitlines():
                words = line.replace('"', "").replace(",", "").split(":")
                if words[0].strip() == "version" and words[1:]:
                    return words[1].strip()
    raise AnsibleActionFail(f"{COLLECTION} has neither MANIFEST.json nor galaxy.yml.")
