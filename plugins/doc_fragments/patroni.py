# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options by which every module of this collection reaches Patroni."""

from __future__ import annotations


class ModuleDocFragment:
    """What Ansible asks for."""

    DOCUMENTATION = r"""
options:
  url:
    description:
      - URLs of the members' REST API, for example V(https://10.0.1.11:8008).
      - Give all members. They are tried in this order; the others are skipped once one has answered.
    type: list
    elements: str
    required: true
  client_cert:
    description:
      - Certificate to show to the members.
      - With C(verify_client) set to V(optional) or V(required), Patroni changes nothing for a client without one.
    type: path
  username:
    description:
      - User of C(restapi.authentication). Patroni answers questions without one, but changes nothing.
    type: str
  timeout:
    description:
      - Time limit of each single request, in seconds. Requests that Patroni answers only when the work is done have the
        limit of that work instead.
    type: float
    default: 5.0
notes:
  - Works with Patroni 3.0.2 to 4.1 and needs nothing but Python on the host.
"""
