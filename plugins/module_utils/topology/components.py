# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The settings of the components, judged before any host is touched by the argument specs of their roles."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from ..services.passwords import kept, passwords
from ..services.registry import SERVICES
from .faults import Findings
from .settings import Inventory, variables_seen
from .values import troubles

Options = Mapping[str, Mapping[str, Any]]

# Former names of settings, and the present ones. They are accepted for one release; the roles' defaults take their values.
FORMER_NAMES = {"host_reboot_timeout_s": "rolling_reboot_timeout_s"}
# How much of the component's name, before the first underscore, and of the rest must be alike.
LIKENESS = 0.8


def numbers_or_empty() -> tuple[str, ...]:
    """Return the settings that are a number or empty. They are text in the argument specs."""
    return tuple(name for service in SERVICES.values() for name in service.numbers_or_empty)


def check_components(inventory: Inventory, hosts: list[str], options: Options, found: Findings) -> None:
    """Refuse settings of the wrong type, and names that are nearly a setting's.

    The rules of the topology's own settings know more of them than their argument spec.
    """
    own, numbers = set(variables_seen()), numbers_or_empty()
    for host in hosts:
        given = inventory.variables(host)
        for name, value in given.items():
            present = FORMER_NAMES.get(name, name)
            if present not in options or name in own:
                continue
            if name in FORMER_NAMES:
                # Where the present name is not set, it may have the former's value here by the role's default.
                counts = ", which is set, too, and counts" if given.get(present, value) != value else ""
                found.warn(
                    f"host {host}",
                    name,
                    f"is the former name of {present}{counts}",
                    "Rename it: the next release does not know it",
                )
            option = options[present]
            if name in numbers and value != "":
                option = {"type": "float" if name.endswith("_s") else "int"}
                # The roles write them as they are: 17.0 would be a part of a package's name.
                value = str(value) if isinstance(value, float) else value
            for trouble in troubles(name, option, value):
                found.refuse(f"host {host}", f"{name}{trouble.path}", trouble.problem, trouble.remedy)
    known = {*options, *passwords(), *kept()}
    meant = {name: setting_meant(name, known) for name in set().union(*inventory.others.values())}
    for host in hosts:
        for name in sorted(inventory.others.get(host, ())):
            if meant[name]:
                found.refuse(f"host {host}", name, "is no setting of this collection", f"Did you mean {meant[name]}?")


def setting_meant(name: str, known: Iterable[str]) -> str:
    """Return the setting of which a name is nearly the spelling, or nothing. Capital letters and hyphens are a spelling, too."""
    prefix, _underscore, rest = name.lower().replace("-", "_").partition("_")
    component = difflib.get_close_matches(
        prefix, {setting.partition("_")[0] for setting in known}, n=1, cutoff=LIKENESS
    )
    if not component:
        return ""
    start = f"{component[0]}_"
    rests = {setting.removeprefix(start): setting for setting in known if setting.startswith(start)}
    close = difflib.get_close_matches(rest, rests, n=1, cutoff=LIKENESS)
    # Two letters of a short word that changed places make it look very different.
    close = close or [other for other in rests if sorted(other) == sorted(rest)]
    return rests[close[0]] if close else ""
