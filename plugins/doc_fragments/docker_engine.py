# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The option by which every module of this collection reaches the Docker engine of its host."""

from __future__ import annotations


class ModuleDocFragment:
    """What Ansible asks for."""

    DOCUMENTATION = r"""
options:
  docker_socket:
    description:
      - Where the Docker engine of the host listens.
    type: path
    default: /run/docker.sock
notes:
  - Talks to the API of Docker Engine 20.10 or later, as root. No library is needed on the host.
"""
