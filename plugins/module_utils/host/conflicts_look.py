# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is on a host that `host_conflicts` decides upon: units, files, sockets and directories, all read at once.

`root` is where the file system begins, so that tests can bring their own; `run` is AnsibleModule.run_command.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import pwd
import re
import socket as network
import struct
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from ..common import directories
from ..services.registry import SERVICES
from . import freshness
from .conflicts import CLAIMS, DROP_IN, OWN_DIRECTORIES, OWN_SERVER, OWN_UNIT, Seen, Socket, Unit, decide
from .packages import QUERY_FORMAT, parse_query

PROPERTIES = "Id,LoadState,ActiveState,UnitFileState,FragmentPath"
# tcp(7) and udp: TCP_LISTEN, and a UDP socket without a peer.
_LISTENING = {"tcp": "0A", "udp": "07"}
_WITHIN_UNIT = re.compile(r"/([^/]+\.(?:service|scope|socket))(?:/|$)")
_ACL = "system.posix_acl_access"
# The options of module host_conflicts_info.
ARGUMENTS = {
    "plan": {"type": "dict", "required": True},
    "interfaces": {"type": "dict", "default": {}},
    "take_over": {"type": "list", "elements": "str", "default": []},
}


def answer(run, given: Mapping) -> dict:
    """What module host_conflicts_info returns for these options. For moments it acts as other users, in all threads of the process."""
    look = Look(run)
    seen = look.at(given["plan"], given["interfaces"])
    return {
        **decide(given["plan"], seen, given["take_over"]),
        "claimed": sorted(seen.claims),
        "directories": [{"path": path} for path in look.closed_own()],
        "clusters_off": look.clusters_off(),
    }


class Look:
    """One look at a host."""

    def __init__(self, run, root: str = "/"):
        self.run, self.root = run, root

    def path(self, path: str) -> Path:
        return Path(self.root, str(path).lstrip("/"))

    def text(self, path: str) -> str:
        try:
            return self.path(path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def at(self, wanted: Mapping, interfaces: Mapping[str, list[str]]) -> Seen:
        """All of it. wanted: as host_conflicts.plan makes it."""
        clusters = self.clusters() if wanted["clusters"] else {}
        claims = frozenset(self.text(CLAIMS).split())
        units = self.units([*wanted["units"], *wanted["rivals"], *clusters, "docker.socket"])
        data = [entry["path"] for entry in wanted["data"] if self.filled(entry["path"])]
        settled = {name for name in wanted["units"] if name in claims or units.get(name, Unit()).ours}
        strange = {unit: paths for unit, paths in wanted["configs"].items() if unit not in settled}
        # Packages beside which ours can't be installed matter only until they are.
        rivals = wanted["packages"] if set(wanted["units"]) - settled else []
        has = any(interfaces.values())
        sockets = self.sockets({listener["port"] for listener in wanted["listeners"]})
        return Seen(
            units=units,
            clusters=clusters,
            claims=claims,
            configs=tuple(self.configs(strange)),
            data=tuple(data),
            former=tuple(e["former"] for e in wanted["data"] if e.get("former") and self.path(e["former"]).exists()),
            sockets=tuple(sockets),
            written=self.written(socket.unit for socket in sockets),
            packages=tuple(self.installed(rivals)),
            swarm=wanted["swarm"] and self.path("/var/lib/docker/swarm/docker-state.json").exists(),
            closed=tuple(self.closed(wanted["entered"])),
            interfaces=interfaces,
            holder=self.holder(wanted["virtual_ip"], interfaces)
            if has and "keepalived.service" in set(wanted["units"]) - settled
            else "",
            sources={peer: source for peer in wanted["peers"] if (source := self.source(peer))},
        )

    # -- units ----------------------------------------------------------------------------------------------------------

    def units(self, names: list[str]) -> dict[str, Unit]:
        """The units of these names that there are."""
        _code, out, _errors = self.run(["systemctl", "show", f"--property={PROPERTIES}", *names])
        found = {}
        # An alias is told under the unit's own name, so the order counts.
        for name, paragraph in zip(names, out.strip().split("\n\n"), strict=False):
            said = freshness.parse_show(paragraph)
            if said.get("LoadState") in (None, "not-found"):
                continue
            found[name] = Unit(
                active=said.get("ActiveState") in ("active", "activating", "reloading", "deactivating"),
                enabled=said.get("UnitFileState") in ("enabled", "enabled-runtime", "linked"),
                ours=self.path(DROP_IN.format(name)).exists() or "utmstack.ha" in self.own_unit(name),
                detail=self.detail(name),
            )
        return found

    def written(self, names: Iterable[str]) -> frozenset[str]:
        """Those of these units to which a role has given its drop-in."""
        return frozenset(name for name in names if name and self.path(DROP_IN.format(name)).exists())

    def own_unit(self, name: str) -> str:
        return self.text(OWN_UNIT.format(name))

    def detail(self, name: str) -> str:
        """Where its data are, as far as files tell."""
        return next((one.traces(self, name) for one in SERVICES.values() if name in one.every(one.units)), "")

    def glob(self, pattern: str) -> Iterable[Path]:
        for path in Path(self.root).glob(pattern.lstrip("/")):
            yield Path("/", path.relative_to(self.root))

    @staticmethod
    def data(paths: Iterable[str | Path]) -> str:
        """A few words on where data are."""
        found = sorted(map(str, paths))
        return f"data in {', '.join(found)}" if found else ""

    def clusters(self) -> dict[str, str]:
        """Units of PostgreSQL's servers: those of Debian's clusters with port and data directory, and an administrator's own."""
        found = {}
        own = self.path(OWN_UNIT.format(OWN_SERVER))
        if own.is_file() and not own.is_symlink():
            found[OWN_SERVER] = f"by {OWN_UNIT.format(OWN_SERVER)}"
        for path in sorted(self.glob("/etc/postgresql/*/*/postgresql.conf")):
            version, name = path.parts[-3:-1]
            text = self.text(str(path))
            port = re.search(r"^port *= *(\d+)", text, re.MULTILINE)
            data = re.search(r"^data_directory *= *'([^']+)'", text, re.MULTILINE)
            words = [f"port {port[1]}"] if port else []
            words.append(f"data in {data[1] if data else f'/var/lib/postgresql/{version}/{name}'}")
            found[f"postgresql@{version}-{name}.service"] = ", ".join(words)
        return found

    def clusters_off(self) -> bool:
        """Whether Debian can neither make nor start a cluster of its own, as role base arranges it."""
        masked = [self.path(f"/etc/systemd/system/{name}") for name in ("postgresql.service", "postgresql@.service")]
        return all(path.is_symlink() and os.readlink(path) == os.devnull for path in masked) and (
            self.path("/etc/postgresql-common/createcluster.d/utmstack-ha.conf").exists()
        )

    # -- files and packages -----------------------------------------------------------------------------------------------

    def configs(self, of_units: Mapping[str, list[str]]) -> list[str]:
        """Of these files, those that there are and that are not as a package has brought them."""
        present = [path for paths in of_units.values() for path in paths if self.path(path).exists()]
        if not present:
            return []
        # Of all packages: one may have left its files to another.
        query = ["dpkg-query", "--show", "--showformat=${Conffiles}\\n"]
        shipped = {tuple(line.split()[:2]) for line in self.run(query)[1].splitlines()}
        return [path for path in present if (path, self._digest(path)) not in shipped]

    def _digest(self, path: str) -> str:
        return hashlib.md5(self.path(path).read_bytes(), usedforsecurity=False).hexdigest()

    def installed(self, packages: list[str]) -> list[str]:
        if not packages:
            return []
        out = self.run(["dpkg-query", "--show", f"--showformat={QUERY_FORMAT}", *packages])[1]
        found = parse_query(out)
        return [name for name in packages if found.get(name, {}).get("status") == "installed"]

    def filled(self, path: str) -> bool:
        try:
            return any(name != "lost+found" for name in os.listdir(self.path(path)))
        except OSError:
            return False

    # -- sockets ----------------------------------------------------------------------------------------------------------

    def sockets(self, ports: set[int]) -> list[Socket]:
        """What listens on these ports, and which unit's process it is."""
        listening = {}
        for table in ("tcp", "tcp6", "udp", "udp6"):
            # A kernel without IPv6 has no second of each.
            for line in self.text(f"/proc/net/{table}").splitlines()[1:]:
                fields = line.split()
                address, port = fields[1].split(":")
                if fields[3] == _LISTENING[table[:3]] and int(port, 16) in ports:
                    listening[fields[9]] = (int(port, 16), address_of(address))
        owners = self.owners(set(listening)) if listening else {}
        return [
            Socket(port, address, *self.process(owners.get(inode, "")))
            for inode, (port, address) in sorted(listening.items(), key=lambda item: item[1])
        ]

    def owners(self, inodes: set[str]) -> dict[str, str]:
        """Inode of a socket to the process that has it."""
        found: dict[str, str] = {}
        wanted = {f"socket:[{inode}]": inode for inode in inodes}
        for pid in filter(str.isdigit, os.listdir(self.path("/proc"))):
            with suppress(OSError):
                for handle in os.scandir(self.path(f"/proc/{pid}/fd")):
                    with suppress(OSError):
                        inode = wanted.get(os.readlink(handle.path))
                        if inode:
                            found.setdefault(inode, pid)
        return found

    def process(self, pid: str) -> tuple[str, int, str]:
        """Its program, number and unit. What runs in a container belongs to Docker."""
        if not pid:
            return "", 0, ""
        groups = [line.split(":", 2)[2] for line in self.text(f"/proc/{pid}/cgroup").splitlines() if ":" in line]
        units = [match[-1] for group in groups if (match := _WITHIN_UNIT.findall(group))]
        unit = next((name for name in units if name.endswith(".service")), units[0] if units else "")
        if unit.startswith("docker-") or any("/docker/" in group for group in groups):
            unit = "docker.service"
        return self.text(f"/proc/{pid}/comm").strip(), int(pid), "" if unit == "init.scope" else unit

    # -- directories ------------------------------------------------------------------------------------------------------

    def closed(self, entered: Iterable[Mapping]) -> list[str]:
        """Sentences on directories above these paths that a service's account can't pass. Our own are mended elsewhere."""
        who: dict[str, list[str]] = {}
        for entry in entered:
            for parent in reversed(Path(entry["path"]).parents):
                if str(parent) in OWN_DIRECTORIES or not self.path(str(parent)).is_dir():
                    continue
                if not self.passes(str(parent), entry["user"]):
                    who.setdefault(str(parent), []).append(entry["user"])
                    break
        return [
            f"{path} (mode {self.path(path).stat().st_mode & 0o7777:04o}) can't be entered by {', '.join(dict.fromkeys(users))}"
            for path, users in who.items()
        ]

    def passes(self, path: str, name: str) -> bool:
        """Whether an account may pass a directory; one that is not there yet is in no group, and has none of its own."""
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            with suppress(OSError):
                if _ACL in os.listxattr(self.path(path)):
                    return True
            return bool(self.path(path).stat().st_mode & 0o001)
        with directories.acting_as(user):
            return os.access(self.path(path), os.X_OK, effective_ids=True)

    def closed_own(self) -> list[str]:
        """Our own directories that are not there, or not open to all."""
        return [
            path
            for path in OWN_DIRECTORIES
            if not self.path(path).is_dir() or self.path(path).stat().st_mode & 0o7777 != 0o755
        ]

    # -- addresses ---------------------------------------------------------------------------------------------------

    def source(self, peer: str) -> str:
        """The address that the kernel takes for connections to that one; nothing where it knows no way. No packet is sent."""
        with (
            suppress(OSError),
            network.socket(network.AF_INET6 if ":" in peer else network.AF_INET, network.SOCK_DGRAM) as client,
        ):
            client.connect((peer, 9))
            return client.getsockname()[0]
        return ""

    def holder(self, vip: str, interfaces: Mapping[str, list[str]]) -> str:
        """Who has the virtual IP: an interface of this host, or whoever answers for it in its network."""
        if not vip:
            return ""
        for name, addresses in interfaces.items():
            if vip in addresses:
                return f"interface {name} of this host has it"
        family = network.AF_INET6 if ":" in vip else network.AF_INET
        # The kernel asks the network for whom the packet is meant; what the packet says (discard, RFC 863) does not matter.
        with suppress(OSError), network.socket(family, network.SOCK_DGRAM) as client:
            client.sendto(b"", (vip, 9))
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            found = re.search(r"lladdr (\S+)", self.run(["ip", "neighbour", "show", "to", vip])[1])
            if found:
                return f"{found[1]} answers for it"
            time.sleep(0.1)
        return ""


def address_of(hexadecimal: str) -> str:
    """An address of /proc/net/tcp or tcp6 in its usual form; * for any, of either family (a socket for all of IPv6 takes IPv4, too)."""
    if len(hexadecimal) == 8:
        address = ipaddress.ip_address(struct.pack("<I", int(hexadecimal, 16)))
    else:
        words = [int(hexadecimal[start : start + 8], 16) for start in range(0, 32, 8)]
        address = ipaddress.ip_address(struct.pack("<4I", *words))
        address = address.ipv4_mapped or address
    return "*" if address.is_unspecified else str(address)
