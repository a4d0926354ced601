# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options that say how a service takes up its files, as OPTIONS of module_utils/host/freshness_module.py has them."""

from __future__ import annotations

from textwrap import indent

OPTIONS = r"""
unit:
  description:
    - The systemd unit. Without a suffix it is a service.
  type: str
  required: true
restart_files:
  description:
    - Files and directories that the service reads only when it starts.
    - The unit file, its drop-ins and the environment files that it names need not be listed.
  type: list
  elements: path
  default: []
reload_files:
  description:
    - Files and directories that the service reads again when it is reloaded.
  type: list
  elements: path
  default: []
binaries:
  description:
    - What the service executes besides its main process's binary, also what a Python program imports.
    - Each is compared with the oldest process of the unit that executes it, or with the main process where none does.
  type: list
  elements: path
  default: []
reload_proof:
  description:
    - What proves that the service has been reloaded.
    - V(stamp) is the file C(UNIT.loaded) where the stamps are, which the unit's C(ExecReload=) touches first.
    - V(workers) is the start of the main process's newest child, for services that replace it at a reload, such as HAProxy.
    - V(none) accepts only a restart as a proof.
  type: str
  choices: [stamp, workers, none]
  default: stamp
stamp_directory:
  description:
    - Where the stamps are.
  type: path
  default: /run/utmstack-ha
"""


class ModuleDocFragment:
    """What Ansible asks for. What a service has to do with a module, the module itself describes.

    Annotated, since sanity's yamllint takes each plain assignment here for a literal.
    """

    DOCUMENTATION: str = "options:" + indent(OPTIONS, "  ")

    SERVICE: str = f"""
options:
  service:
    type: dict
    suboptions:{indent(OPTIONS, "      ")}
"""

    FURTHER_SERVICES: str = f"""
options:
  further_services:
    type: list
    elements: dict
    default: []
    suboptions:{indent(OPTIONS, "      ")}
"""
