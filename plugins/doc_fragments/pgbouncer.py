# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options by which modules have clients of pgbouncer wait and go on."""

from __future__ import annotations


class ModuleDocFragment:
    """What Ansible asks for."""

    DOCUMENTATION = r"""
options:
  pgbouncers:
    description:
      - The hosts of all pgbouncers. With none, clients are not held up.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Its name, for messages.
        type: str
        required: true
      address:
        description: Its address, where HAProxy is, too.
        type: str
        required: true
  pgbouncer_port:
    description: Port of pgbouncer.
    type: int
    default: 6432
  pgbouncer_user:
    description: One of pgbouncer's C(admin_users).
    type: str
    default: pgbouncer_admin
  pgbouncer_password:
    description: Its password.
    type: str
  virtual_ip:
    description: Address that clients use, for which the certificates are valid.
    type: str
    required: true
  write_port:
    description: Port on O(virtual_ip) that leads through pgbouncer to the primary.
    type: int
    default: 5432
  direct_port:
    description: Port of HAProxy, on the addresses of O(pgbouncers), that leads to the primary without pgbouncer.
    type: int
    default: 5434
  check_user:
    description: User by whom a primary is asked whether it takes writes, in database C(postgres).
    type: str
    default: pgbouncer
  check_password:
    description: Its password.
    type: str
  pause_timeout:
    description: How long transactions have to end, in seconds.
    type: float
    default: 5.0
notes:
  - Needs C(python3-psycopg2) on the host where there are O(pgbouncers).
"""
