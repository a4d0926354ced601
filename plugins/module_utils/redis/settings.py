# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What settings of Redis mean: when two spellings are one value, which need a restart, and how much memory it gets."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Redis's own units (config.c, memtoull).
MEMORY_BYTES = {
    "": 1,
    "b": 1,
    "k": 1000,
    "kb": 1024,
    "m": 1000**2,
    "mb": 1024**2,
    "g": 1000**3,
    "gb": 1024**3,
}

_IMMUTABLE = """
    aclfile always-show-logo aof-rewrite-cpulist aof_rewrite_cpulist appenddirname appendfilename bgsave-cpulist
    bgsave_cpulist bio-cpulist bio_cpulist cluster-config-file cluster-enabled cluster-port daemonize databases dbfilename
    dir disable-thp enable-debug-command enable-module-command enable-protected-configs io-threads logfile pidfile
    rdbchecksum rdma-completion-vector rdma-rx-size replicaof server-cpulist server_cpulist set-proc-title slaveof
    socket-mark-id supervised syslog-enabled syslog-facility syslog-ident tcp-backlog unixsocket unixsocketgroup
    unixsocketperm"""
IMMUTABLE = frozenset(_IMMUTABLE.split())
"""What CONFIG SET refused as immutable or protected on Redis 8.0.2 and Valkey 8.1.1, each tried with its present value."""

# Flags in any order.
_FLAGS = frozenset(["notify-keyspace-events"])
_SIZE = re.compile(r"(\d+)\s*([kmg]?b?)", re.IGNORECASE)


@dataclass(frozen=True)
class Plan:
    """What to do about settings: change at once, keep for a restart; `unknown` can't be asked for."""

    change: dict[str, str] = field(default_factory=dict)
    restart: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)


def text(value: Any) -> str:
    """A value as Redis writes it: yes and no for booleans, the words of a list in a row."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return " ".join(text(item) for item in value)
    return str(value)


def unquoted(value: Any) -> str:
    """A value as CONFIG SET takes it: the quotes of the file fall away."""
    written = text(value).strip()
    try:
        return " ".join(shlex.split(written))
    except ValueError:
        return written


def lines(settings: Mapping[str, Any]) -> str:
    """The settings as lines of a configuration file. A null is left out; a list is one line for each item."""
    written = []
    for name, value in settings.items():
        if value is None:
            continue
        for item in value if isinstance(value, (list, tuple)) else [value]:
            written.append(f"{name} {text(item) or chr(34) * 2}")
    return "".join(f"{line}\n" for line in written)


def same(name: str, one: str, other: str) -> bool:
    """Whether Redis takes both for one value.

    >>> same("maxmemory", "100mb", "104857600"), same("appendfsync", "always", "everysec")
    (True, False)
    """
    if one == other or one.lower() == other.lower():
        return True
    if name == "client-output-buffer-limit":
        wanted, present = _classes(one), _classes(other)
        return bool(wanted) and all(present.get(key) == value for key, value in wanted.items())
    if name in _FLAGS:
        return sorted(one.replace("A", "g$lshzxetd")) == sorted(other.replace("A", "g$lshzxetd"))
    words, others = one.split(), other.split()
    return len(words) == len(others) and all(_word(a) == _word(b) for a, b in zip(words, others))


def plan(wanted: Mapping[str, Any], present: Mapping[str, str]) -> Plan:
    """Compare the settings with what CONFIG GET told. Nulls are not compared."""
    found = Plan()
    for name, value in wanted.items():
        key = name.lower()
        if value is None:
            continue
        if key not in present:
            found.unknown.append(name)
        elif not same(key, unquoted(value), present[key]):
            (found.restart if key in IMMUTABLE else found.change)[key] = unquoted(value)
    return found


def memory(ram_mb, share=1.0) -> dict[str, str]:
    """maxmemory and repl-backlog-size for a server that may count on `share` (0 to 1) of a host's `ram_mb` MiB.

    - maxmemory: half of the share. While Redis saves or rewrites its append-only file, a child shares its memory, and each
      page that is written meanwhile exists twice, at worst all of them (Redis's documentation, "Redis persistence" and
      "Memory optimization").
    - repl-backlog-size: a sixteenth of that, 16 to 512 MB; a replica that was away for less than what it holds need not
      copy everything anew.

    Rounded down to their three leading binary digits, so that hosts whose RAM differs by a few pages get the same. Raises
    ValueError when what is left is not enough to run on.
    """
    ram_mb, share = float(ram_mb), float(share)
    if not 0 < share <= 1:
        raise ValueError(f"share is {share:g}, but must be more than 0 and at most 1")
    half = int(ram_mb * share / 2)
    if half < 32:
        raise ValueError(
            f"{ram_mb:g} MB of RAM with a share of {share:g} leave {half} MB for Redis's data, but it needs at least 32 MB: give "
            "the host more memory, or set redis_maxmemory"
        )
    size = _round_down(half)
    return {"maxmemory": f"{size}mb", "repl-backlog-size": f"{min(max(size // 16, 16), 512)}mb"}


def _round_down(number: int) -> int:
    step = 1 << max(number.bit_length() - 3, 0)
    return number // step * step


def _word(word: str):
    found = _SIZE.fullmatch(word)
    return int(found.group(1)) * MEMORY_BYTES[found.group(2).lower()] if found else word.lower()


def _classes(value: str) -> dict[str, list]:
    words = value.split()
    names = {"slave": "replica"}
    return {
        names.get(words[place].lower(), words[place].lower()): [_word(word) for word in words[place + 1 : place + 4]]
        for place in range(0, len(words), 4)
    }
