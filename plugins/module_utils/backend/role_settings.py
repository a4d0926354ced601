# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What can't hold in the settings of role backend, told all at once before a host is touched."""

from __future__ import annotations

from ..common.values import number


def faults(
    replicas: object,
    hosts: int,
    image_archive: str,
    archive_found: bool,
    secret_environment: str,
    entrypoint: list[str],
    manager: str,
) -> list[str]:
    """Each fault as a sentence with setting, finding and remedy.

    The arguments are the role's settings, and what they are compared with. replicas: '' means one on each host. hosts: how many may have a
    replica. archive_found: whether image_archive is a file. manager: the manager that deploys, '' where none is in this run.
    """
    found = []
    if (number(replicas) or 0) > hosts:
        found.append(
            f"backend_replicas is {replicas}, but each of the {hosts} hosts takes one replica at most. Set it to {hosts}, or leave it out."
        )
    if image_archive and not archive_found:
        found.append(
            f"backend_image_archive is {image_archive}, which is no file on the controller. Give the path of an archive that docker save "
            "wrote."
        )
    if secret_environment == "environment" and not image_archive and not entrypoint:
        found.append(
            "backend_secret_environment is environment, and nobody knows the program of an image that comes from a registry. Set "
            "backend_entrypoint and backend_command as `docker image inspect` shows them, or set it to file."
        )
    if not manager:
        found.append(
            "No manager of the swarm is in this run, and only a manager can deploy the backend. Run without --limit, or with a host of "
            "swarm_managers."
        )
    return found
