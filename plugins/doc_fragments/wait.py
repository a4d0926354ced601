# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options by which information modules wait for a state, as waiting() of module_utils/common/info.py takes them."""

from __future__ import annotations


class ModuleDocFragment:
    """What Ansible asks for. Each module says which states there are."""

    DOCUMENTATION = r"""
options:
  wait_for:
    description:
      - What to wait for.
    type: str
    default: nothing
  wait_timeout:
    description:
      - How long to wait for O(wait_for), in seconds. When it does not come, the module tells what it saw last.
    type: float
    default: 30.0
"""
