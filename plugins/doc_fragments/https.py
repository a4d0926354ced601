# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options by which modules reach a server by HTTPS, as module_utils/common/https.py takes them."""

from __future__ import annotations


class ModuleDocFragment:
    """What Ansible asks for. A fragment that is listed before this one may describe an option in its own words."""

    DOCUMENTATION = r"""
options:
  ca_path:
    description:
      - Certificates that the servers' certificates are verified with. The system's own by default.
    type: path
  client_cert:
    description:
      - Certificate to show to the servers, where they ask for one.
    type: path
  client_key:
    description:
      - Private key of O(client_cert).
    type: path
  username:
    description:
      - The user to act as.
    type: str
  password:
    description:
      - Password of O(username).
    type: str
  timeout:
    description:
      - Time limit of each single request, in seconds.
    type: float
    default: 5.0
"""
