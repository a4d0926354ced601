# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is deployed on a host, and whether it has the passwords of the inventory: from its files, and by asking its own services."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from ..common.deployed import Deployed, Files, Host
from ..common.info import Question
from ..host import conflicts_look
from ..host.facts import os_release
from .infos import QUESTIONS


def enabled(files: Files, units: Mapping[str, Iterable[str]]) -> list[str]:
    """The services that start with the host."""
    wants = "/etc/systemd/system/multi-user.target.wants"
    return [name for name, own in units.items() if any(files.path(f"{wants}/{unit}").is_symlink() for unit in own)]


def release(files: Files) -> str:
    """The host's release of Debian, such as 13."""
    return os_release(files.text("/etc/os-release")).get("VERSION_ID", "")


def together(told: Iterable[Deployed]) -> dict:
    """What all components tell, as the module returns it."""
    told = list(told)
    return {
        "layers": {name: found for one in told for name, found in one.layers.items() if found},
        "passwords": {
            name: same
            for known in (*(one.copies for one in told), *(one.passwords for one in told))
            for name, same in known.items()
        },
        "rotating": sorted({name for one in told for name in one.rotating}),
        "noted": sorted({name for one in told for name in one.noted}),
    }


def answer(module, given: dict) -> dict:
    """What the module returns; a service that does not answer leaves its password out."""
    host = Host(Files(), given, module.run_command)
    looks = [question.deployed for question in QUESTIONS.values() if question.deployed]
    # Most of them wait for a service.
    with ThreadPoolExecutor(len(looks)) as pool:
        told = list(pool.map(lambda look: look(host), looks))
    found = {**together(told), "enabled": enabled(host.files, given["units"]), "settings": given["settings"], "release": release(host.files)}
    if given["conflicts"]:
        # Not beside the others, since it acts as other users.
        found["conflicts"] = conflicts_look.answer(module.run_command, given["conflicts"])
    return found


QUESTION = Question(
    {
        "settings": {"type": "dict", "required": True},
        "units": {"type": "dict", "required": True},
        "tls_directory": {"type": "path", "required": True},
        "passwords": {"type": "dict", "required": True, "no_log": True},
        "backend_secrets": {"type": "dict", "default": {}, "no_log": True},
        "services": {"type": "dict", "default": {}},
        "conflicts": {"type": "dict", "options": conflicts_look.ARGUMENTS},
    },
    answer,
)
