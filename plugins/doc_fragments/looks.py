# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What modules promise that only look."""

from __future__ import annotations


class ModuleDocFragment:
    """What Ansible asks for."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: The module only looks.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
"""
