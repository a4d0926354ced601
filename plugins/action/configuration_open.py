# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Opens a sealed configuration on the controller, with a private key that stays there, and puts it into a directory."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ..module_utils.common import age
from ..module_utils.common.backup import BackupError
from ..module_utils.host import configuration
from ..plugin_utils import sealing


class ActionModule(ActionBase):
    """Nothing of what is opened is in the result but names of files."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what is in the archive; with a directory, have it there."""
        result = super().run(tmp, task_vars)
        _valid, given = self.validate_argument_spec(
            {
                "archive": {"type": "path"},
                "sealed": {"type": "str"},
                "identity": {"type": "path", "required": True},
                "directory": {"type": "path"},
            },
            required_one_of=[("archive", "sealed")],
            mutually_exclusive=[("archive", "sealed")],
        )
        try:
            text = given["sealed"] or Path(given["archive"]).read_text(encoding="ascii")
            facts, files = configuration.members(sealing.unseal(text, Path(given["identity"])))
            found = self._put(given["directory"], facts, files) if given["directory"] else {"changed": False}
        except age.AgeError as error:
            raise AnsibleActionFail(
                f"The configuration was not opened, and nothing was changed: {error}. Is {given['identity']} the private key of a recipient?"
            ) from None
        except BackupError as error:
            raise AnsibleActionFail(f"Nothing was changed: {error.reason}.") from None
        except (OSError, UnicodeDecodeError) as error:
            raise AnsibleActionFail(f"Nothing was changed: {error}.") from None
        told = {key: facts.get(key) for key in ("cluster", "made", "software", "recipients")}
        return {**result, **told, "files": sorted(files), **found}

    def _put(self, name: str, facts: dict[str, Any], files: configuration.Files) -> dict[str, Any]:
        """Have the files in the directory, or in check mode tell what would change."""
        directory = Path(name).absolute()
        other = configuration.differs(directory, files)
        present = directory.is_dir() and any(directory.iterdir())
        copy = ""
        if other and not self._task.check_mode:
            copy = configuration.write(directory, files, time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()))
        made = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(facts["made"]))
        lines = [
            f"Restore of the configuration of {facts['cluster']}, everything there up to {made}",
            f"  into {directory} on this controller: {len(files)} files, {len(other)} of them not there yet or other ones",
        ]
        if other and present:
            lines.append(f"  what is in {directory} now stays beside it, as {directory.name}.before-restore-TIME")
        lines.append("  no host is connected to")
        return {
            "changed": bool(other),
            "differs": other,
            "safety_copy": copy,
            "lines": lines,
            "secrets": facts.get("secrets", ""),
        }
