# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the services of a host need of Debian there: packages, those that are held, what an upgrade replaces, settings of the kernel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

from .registry import SERVICES, of_groups
from .service import Service


def services_of(ha: Mapping[str, Any], host: str) -> list[Service]:
    """The services that a host's groups give it, also those that are switched off."""
    return of_groups(ha["hosts"][host]["groups"])


def settings(ha: Mapping[str, Any], release: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of all services' roles that others must know. given: those that the inventory has, empty or left out for the default."""
    found: dict[str, Any] = {}
    for service in SERVICES.values():
        for name, default in service.settings.items():
            value = given.get(name)
            if value in (None, ""):
                value = _text(default, found, ha, release)
            elif isinstance(default, bool):
                value = str(value).lower() in ("true", "yes", "on", "y", "t", "1")
            elif isinstance(default, str):
                # A version may be written as a number.
                value = str(value)
            found[name] = value
    return found


def _text(default, words, ha, release):
    return default.format(cluster=ha["cluster"], release=release, **words) if isinstance(default, str) else default


def host_software(ha: Mapping[str, Any], host: str, given: Mapping[str, Any], version: str = "") -> dict[str, Any]:
    """Return what the services of a host need there.

    given: as for settings(). version: of the host's Debian, one of `ha.releases`; empty before it is known.
    Returns {anywhere: packages that may be needed, whatever the release; kernel: name to value}, and with a version also
    {settings: as settings() returns them; packages; held; helpers: units; upgrades: by service, for all services {packages, units, versioned}}.
    """
    own = services_of(ha, host)
    found: dict[str, Any] = {
        "anywhere": _anywhere(ha, given),
        "kernel": {name: value for service in own for name, value in service.kernel.items()},
    }
    if not version:
        return found
    release = ha["releases"][version]
    chosen = settings(ha, release, given)
    words = {"release": release, **chosen}
    return {
        **found,
        "settings": chosen,
        "packages": sorted({name for service in own if service.enabled(ha) for name in _packages(service, ha, words)}),
        # What is switched off may be installed from before.
        "held": sorted({name.format(**words) for service in own for name in service.held}),
        "helpers": _unique(unit for service in own for unit in service.helpers),
        "upgrades": {
            name: {
                "packages": _upgraded(service, ha, chosen),
                "units": {
                    unit.format(**words): [path.format(**words) for path in paths]
                    for unit, paths in service.upgraded.items()
                },
                "versioned": service.versioned,
            }
            for name, service in SERVICES.items()
            if service.upgrades
        },
    }


def _packages(service: Service, ha: Mapping[str, Any], words: Mapping[str, Any]) -> list[str]:
    return [name.format(**words) for name in (*service.packages, *service.some_packages(ha, words["release"]))]


def _upgraded(service, ha, chosen):
    """What an upgrade replaces, of all releases, since a host may have kept what an earlier one had."""
    return _unique(
        name.format(**{**chosen, "release": release})
        for name in service.upgrades
        for release in ha["releases"].values()
    )


def _anywhere(ha, given):
    """The packages with all releases, with the versions that the inventory asks for and with those of the releases."""
    choices = [name for service in SERVICES.values() for name in service.choices]
    chosen = {name: given[name] for name in choices if name in given}
    found: list[str] = []
    for release, some in product(ha["releases"].values(), (given, chosen)):
        words = {"release": release, **settings(ha, release, some)}
        for service in SERVICES.values():
            found += [*_packages(service, ha, words), *(name.format(**words) for name in service.held)]
    return _unique(found)


def _unique(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))
