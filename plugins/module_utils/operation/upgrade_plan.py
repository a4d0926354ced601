# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which packages an upgrade brings to which version on which host, and what forbids it.

`plan_upgrade` decides on plain values: what package_info said of each host. What an earlier run left half done is recognised by
what the hosts run: a package that is not configured, a service whose program was replaced since it started.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..common.text import table
from ..host.packages import choose, compare, numbers
from ..services.registry import SERVICES
from .plan import members


def plan_upgrade(
    service: str, part: Mapping[str, Any], wanted: str, seen: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """What an upgrade of one service does on each of its hosts.

    part: {packages: names that belong to the service, those that are not installed are passed over; units: by name, or names}. wanted: Debian's
    or the project's version, for the packages that are offered in it; empty, what the hosts' repositories prefer. seen: by host, what
    package_info returned.

    Returns {faults: sentences with their remedy; warnings; hosts: by host {packages: name to new version, from: name to present
    version, restart: why the service has to restart although its packages are right}; todo: the hosts with anything to do}.
    """
    faults: list[str] = []
    warnings: list[str] = []
    hosts, targets = {}, {}
    for host, answer in seen.items():
        own = {name: answer["packages"][name] for name in part["packages"] if _is_installed(answer, name)}
        if not own:
            faults.append(f"{service}: {host} has none of {', '.join(part['packages'])}. Run site.yml for it first.")
            continue
        targets[host] = {name: _target(package, wanted) for name, package in own.items()}
        if wanted and not any(targets[host].values()):
            faults.append(_not_offered(service, host, wanted, own))
        hosts[host] = _of_host(own, targets[host], answer, part)
        faults += _forbidden(service, host, hosts[host], answer["packages"])
    different = _different(service, targets)
    (warnings if SERVICES[service].independent else faults).extend(different)
    return {
        "faults": faults,
        "warnings": warnings,
        "hosts": hosts,
        "todo": [host for host, own in hosts.items() if own["packages"] or own["restart"]],
    }


def _is_installed(answer, name):
    return answer["packages"].get(name, {}).get("installed") is not None


def _target(package, wanted):
    """The version that a package shall have; None where the wanted one is none of its versions."""
    if not wanted:
        return package["candidate"] or package["installed"]
    return choose([*package["offered"], package["installed"]], wanted)


def _not_offered(service, host, wanted, own):
    offers = "; ".join(f"{name}: {', '.join(package['offered']) or 'nothing'}" for name, package in own.items())
    return f"{service}: {host} is not offered {wanted}, but {offers}. Add a repository that has it, or refresh the lists with `apt-get update`."


def _of_host(own, targets, answer, part):
    """What is due on a host."""
    due = {
        name: targets[name] or package["installed"]
        for name, package in own.items()
        if (targets[name] or package["installed"]) != package["installed"] or package["status"] != "installed"
    }
    reasons = [
        reason
        for unit in part["units"]
        if answer["units"].get(unit, {}).get("state") in ("restart", "stopped")
        for reason in answer["units"][unit]["reasons"]
    ]
    return {"packages": due, "from": {name: own[name]["installed"] for name in due}, "restart": reasons}


def _forbidden(service, host, change, packages):
    for name, new in change["packages"].items():
        old = change["from"][name]
        if compare(new, old) < 0:
            yield (
                f"{service}: {host} has {name} {old}, and {new} is older. Services are not taken back: their files may have been written "
                f"in a newer form. Give -e version={old} or a newer one, or restore a backup on hosts with the older one."
            )
            continue
        present = {one: own.get("installed") for one, own in packages.items()}
        installed = {one: (version, numbers(version)) for one, version in present.items() if version}
        for fault in SERVICES[service].forbids(name, numbers(old), numbers(new), installed):
            yield f"{service}: {host}, {name} {old} to {new}: {fault}"


def _different(service, targets):
    """A sentence for each package that would have different versions on different hosts."""
    for name in sorted({name for own in targets.values() for name in own}):
        ends: dict[str, list[str]] = {}
        for host, own in targets.items():
            if own.get(name):
                ends.setdefault(own[name], []).append(host)
        if len(ends) > 1:
            shown = ", ".join(f"{version} on {' and '.join(hosts)}" for version, hosts in ends.items())
            yield (
                f"{service}: {name} would end as {shown}. Give all hosts the same repositories and run `apt-get update` on them, or name "
                "a version that all of them are offered with -e version=."
            )


def plan(
    topology: Mapping[str, Any],
    seen: Mapping[str, Mapping[str, Any]],
    parts: Mapping[str, Mapping[str, Any]],
    services: Iterable[str],
    version: str = "",
) -> dict[str, Any]:
    """What an upgrade of some services does, as plan_upgrade tells it of each; topology as build() of topology/build.py returned it.

    parts: by service {packages, units, versioned: whether a wanted version is one of these packages'; true where it is not said}.
    Services that are no part of Debian's packages are passed over. seen: hosts that could not be asked are left out.

    Returns {faults; warnings; todo: by service the hosts with anything to do; services: by name what plan_upgrade returned;
    fetch: by host, package to version; text: the plan for a person}.
    """
    planned: dict[str, dict[str, Any]] = {}
    chosen = [name for name in services if name in parts]
    faults = []
    if version and len(chosen) > 1:
        faults.append(
            f"version={version} can be that of one service only, not of {', '.join(chosen)}. Name one, or leave it out."
        )
    for name in chosen:
        meant = version if parts[name].get("versioned", True) else ""
        # A host with both has them from the same packages, and hands over what it leads before they are replaced.
        other = SERVICES[name].comes_with
        elsewhere = members(topology, other) if other else []
        own = {host: seen[host] for host in members(topology, name) if host in seen and host not in elsewhere}
        if elsewhere and not own and other not in chosen:
            faults.append(f"{name}: on these hosts it comes with the packages of {other}. Give -e service={other}.")
        planned[name] = plan_upgrade(name, parts[name], meant, own)
    fetch: dict[str, dict[str, str]] = {}
    for part in planned.values():
        for host, own in part["hosts"].items():
            fetch.setdefault(host, {}).update(own["packages"])
    return {
        "faults": faults + [fault for part in planned.values() for fault in part["faults"]],
        "todo": {name: part["todo"] for name, part in planned.items()},
        "warnings": [warning for part in planned.values() for warning in part["warnings"]],
        "services": planned,
        "fetch": fetch,
        "text": _text(planned),
    }


def _text(planned):
    rows = [["service", "host", "package", "from", "to"]]
    for service, part in planned.items():
        for host, own in part["hosts"].items():
            rows += [[service, host, name, own["from"][name], new] for name, new in own["packages"].items()]
            if own["restart"] and not own["packages"]:
                rows.append([service, host, "(restart)", "", own["restart"][0]])
    current = [f"{service} on {', '.join(hosts)}" for service, part in planned.items() if (hosts := _rest(part))]
    lines = table(rows) if len(rows) > 1 else ["No package has to change."]
    if current:
        lines.append(f"Skipped, already up to date: {'; '.join(current)}.")
    return "\n".join(["Packages", *(f"  {line}" for line in lines)])


def _rest(part):
    return [host for host in part["hosts"] if host not in part["todo"]]
