# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options by which every module of this collection reaches Elasticsearch or OpenSearch."""

from __future__ import annotations


class ModuleDocFragment:
    """What Ansible asks for."""

    DOCUMENTATION = r"""
options:
  url:
    description:
      - URLs of the nodes, for example V(https://10.0.1.11:9200).
      - Give all nodes. They are tried in this order; those that do not answer, or see no elected master, are skipped.
      - A request that changes something is sent once, to a node that has just answered.
    type: list
    elements: str
    required: true
  timeout:
    description:
      - Time limit of each single question, in seconds. Requests that change something have 35 seconds at least, since the
        server waits up to 30 for its nodes to follow.
    type: float
    default: 5.0
notes:
  - Works with Elasticsearch 8 and 9 and with OpenSearch 2 and 3, and needs nothing but Python on the host.
    Which of them it is, the module asks the server.
"""
