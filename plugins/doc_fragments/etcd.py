# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options by which every module of this collection reaches etcd."""

from __future__ import annotations


class ModuleDocFragment:
    """What Ansible asks for."""

    DOCUMENTATION = r"""
options:
  endpoints:
    description:
      - Client URLs of the members, for example V(https://10.0.1.11:2379). Give all of them; those that do not answer are skipped.
    type: list
    elements: str
    required: true
  client_cert:
    description:
      - Certificate to show to the members.
      - Where etcd runs with C(client-cert-auth) and authentication is enabled, its gateway refuses certificates that have a common name.
    type: path
  username:
    description:
      - The etcd user to act as. It is used once the cluster has authentication enabled, and disregarded before that.
    type: str
notes:
  - Talks to the JSON gateway of etcd 3.4 or later. No etcdctl and no library is needed on the host.
"""
