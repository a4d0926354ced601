# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Looks at the clusters from outside, and remembers the least number of members that served at once."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import urllib.request

PORTS = {"etcd": 2379, "elasticsearch": 9300, "redis": 6379, "sentinel": 26379, "swarm": 2377, "haproxy": 8404}


def listening(cluster, port: int) -> int:
    """How many hosts take connections on a port."""
    count = 0
    for address in cluster.hosts.values():
        try:
            socket.create_connection((address, port), timeout=0.5).close()
            count += 1
        except OSError:
            continue
    return count


def postgresql(cluster) -> int:
    """On how many hosts PostgreSQL runs, as the Patroni of each says."""
    context, count = ssl.create_default_context(cafile=str(cluster.ca)), 0
    for address in cluster.hosts.values():
        try:
            with urllib.request.urlopen(f"https://{address}:8008/patroni", timeout=1, context=context) as answer:
                count += json.load(answer)["state"] == "running"
        except (OSError, ValueError, KeyError):
            continue
    return count


class Watch(threading.Thread):
    """Counts several times a second, by service; `least` is what it has seen at worst."""

    def __init__(self, **counts):
        super().__init__(daemon=True)
        self.counts, self.least, self._halt = counts, {}, threading.Event()

    @classmethod
    def of(cls, cluster) -> Watch:
        """Of every service that votes, or that clients need one of."""

        def port(number):
            return lambda: listening(cluster, number)

        return cls(postgresql=lambda: postgresql(cluster), **{name: port(number) for name, number in PORTS.items()})

    def run(self):
        while not self._halt.is_set():
            for name, count in self.counts.items():
                seen = count()
                self.least[name] = min(seen, self.least.get(name, seen))
            self._halt.wait(0.05)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_exception):
        self._halt.set()
        self.join(timeout=10)
