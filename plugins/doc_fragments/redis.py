# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options by which every module of this collection reaches Redis and Sentinel."""

from __future__ import annotations


class ModuleDocFragment:
    """What Ansible asks for."""

    DOCUMENTATION = r"""
options:
  ca_path:
    description:
      - Certificates that the servers' certificates are verified with. The system's own by default.
    type: path
  username:
    description:
      - The ACL user to log in as, the same on all servers.
    type: str
  password:
    description:
      - Password of O(username).
    type: str
  timeout:
    description:
      - Time limit of each single request, in seconds.
    type: float
    default: 3.0
notes:
  - Works with Redis 7.0 to 8.0 and Valkey 8.1, over TLS only. It needs nothing but Python on the host.
"""

    # One server, whatever it is.
    ONE = r"""
options:
  address:
    description:
      - The server's IP address.
    type: str
    required: true
  port:
    description:
      - Its TLS port.
    type: int
    default: 6379
"""

    # All data nodes and all sentinels of one master.
    WHOLE = r"""
options:
  master_name:
    description:
      - The name under which the sentinels watch the master.
    type: str
    required: true
  members:
    description:
      - All data nodes, master and replicas.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Its name in messages and results.
        type: str
        required: true
      address:
        description: Its IP address, as the sentinels know it.
        type: str
        required: true
  sentinels:
    description:
      - All sentinels.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Its name in messages and results.
        type: str
        required: true
      address:
        description: Its IP address.
        type: str
        required: true
  port:
    description:
      - The TLS port of the data nodes.
    type: int
    default: 6379
  sentinel_port:
    description:
      - The TLS port of the sentinels.
    type: int
    default: 26379
"""
