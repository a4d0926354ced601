# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The code of each kind of backup, by its name. Programs on hosts import what is named here, so a new kind has its line.

Each has take(settings, directory), verify(settings, directory, scratch) and inspect(directory). Of those that keep backups by themselves also
expire(settings, labels). Where there is something to fetch before a verification without network: fetch(settings, directory, scratch).
Where something is to be watched every minute: guard(settings, previous). Where more comes in than backups: grows(settings, now), bytes a day.
"""

from __future__ import annotations

from types import ModuleType

from ..etcd import backup as of_etcd
from ..host import configuration as of_host
from ..postgresql import backup as of_postgresql
from ..postgresql import dump as of_dump
from ..redis import backup as of_redis
from ..search import backup as of_search
from ..swarm import backup as of_swarm

KINDS: dict[str, ModuleType] = {
    "configuration": of_host,
    "etcd": of_etcd,
    "postgresql": of_postgresql,
    "dump": of_dump,
    "redis": of_redis,
    "elasticsearch": of_search,
    "swarm": of_swarm,
}
