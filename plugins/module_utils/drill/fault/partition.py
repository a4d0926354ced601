# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host that is cut off from others, or loses a share of its packets, by nftables on the host itself."""

from __future__ import annotations

import json

from .host import Fault, FaultError, Host, Memory, Refused

TABLE = "utmstack_ha_drill"


def rules(fault: Fault) -> str:
    """The table that cuts this host off, for `nft -f`; SSH and the host's own talk with itself, its containers included, go on.

    cut: addresses from which nothing arrives (direction in), to which nothing leaves (out), or both. everyone: whatever address it is, in
    place of that. clients_of: an address which nobody but `cut` reaches any more, in place of that. loss_percent: of 100 packets so many
    are lost, at random, and not all.
    """
    drop = (
        f"numgen random mod 100 lt {int(fault['loss_percent'])} counter drop"
        if fault.get("loss_percent")
        else "counter drop"
    )
    ports = f"{{ {', '.join(str(port) for port in sorted({22, int(fault.get('ssh_port') or 22)}))} }}"
    keep = [f"tcp dport {ports} accept", f"tcp sport {ports} accept"]
    lines = [f"table inet {TABLE}", f"delete table inet {TABLE}", f"table inet {TABLE} {{"]

    def chain(name, hook, own, drops):
        lines.append(f"  chain {name} {{")
        lines.append(f"    type filter hook {hook} priority -300; policy accept;")
        lines.extend(f"    {line}" for line in [*own, *keep, *drops])
        lines.append("  }")

    families = {
        "ip": [one for one in fault["cut"] if ":" not in one],
        "ip6": [one for one in fault["cut"] if ":" in one],
    }
    if fault.get("clients_of"):
        family = "ip6" if ":" in fault["clients_of"] else "ip"
        peers = f"{{ {', '.join(families[family])} }}"
        others = f"{family} daddr {fault['clients_of']} {family} saddr != {peers} {drop}"
        chain("arriving", "prerouting", ['iifname "lo" accept', 'iifname "docker*" accept'], [others])
    else:
        drops = {
            way: [f"{family} {way} {{ {', '.join(own)} }} {drop}" for family, own in families.items() if own]
            for way in ("saddr", "daddr")
        }
        inside: list[str] = []
        if fault.get("everyone"):
            # Without addresses, what a container says to this host is told by its bridge.
            drops, inside = {"saddr": [drop], "daddr": [drop]}, ["docker*"]
        direction = fault.get("direction", "both")
        if direction in ("both", "in"):
            chain("arriving", "prerouting", [f'iifname "{name}" accept' for name in ["lo", *inside]], drops["saddr"])
        if direction in ("both", "out"):
            chain("leaving", "output", [f'oifname "{name}" accept' for name in ["lo", *inside]], drops["daddr"])
            chain("passing", "forward", [f'oifname "{name}" accept' for name in inside], drops["daddr"])
    return "\n".join([*lines, "}", ""])


def dropped(listing: str) -> int:
    """How many packets the table has dropped, of what `nft --json list table` printed."""
    count = 0
    for entry in json.loads(listing)["nftables"]:
        for part in entry.get("rule", {}).get("expr", ()):
            count += part["counter"]["packets"] if isinstance(part.get("counter"), dict) else 0
    return count


class Partition:
    """What it takes, see rules(). A table of its own, so that the undo removes that and nothing else."""

    @staticmethod
    def prepare(fault: Fault, host: Host) -> Memory:
        try:
            host.run(["nft", "--check", "--file", "-"], rules(fault))
        except FaultError as error:
            lossy = ", and a kernel with nft_numgen," if fault.get("loss_percent") else ""
            raise Refused(
                f"nftables can't do that here ({error}). It needs package nftables{lossy} on this host"
            ) from error
        return {}

    @staticmethod
    def inject(fault: Fault, memory: Memory, host: Host) -> None:
        host.run(["nft", "--file", "-"], rules(fault))

    @staticmethod
    def effect(fault: Fault, memory: Memory, host: Host) -> str:
        listing = host.run(["nft", "--json", "list", "table", "inet", TABLE])
        return "" if dropped(listing) else f"the table {TABLE} has dropped no packet"

    @staticmethod
    def undo(fault: Fault, memory: Memory, host: Host) -> None:
        if Partition.remains(fault, memory, host):
            host.run(["nft", "delete", "table", "inet", TABLE])

    @staticmethod
    def remains(fault: Fault, memory: Memory, host: Host) -> str:
        there = f"table inet {TABLE}" in host.run(["nft", "list", "tables"]).splitlines()
        return f"the table {TABLE} is still there; nft delete table inet {TABLE}" if there else ""
