# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What one host knows of its node: whether it has data, of which cluster, and whether it still forms one."""

from __future__ import annotations

import os
from pathlib import Path

INITIAL_MASTERS = ("-Ecluster.initial_master_nodes=", "-Ecluster.initial_cluster_manager_nodes=")


def has_data(directory: str) -> bool:
    """Whether a node has written its state there; Elasticsearch 8 right below, OpenSearch and older ones in nodes/0."""
    places = (Path(directory), *Path(directory).glob("nodes/*"))
    return any(os.path.isdir(place / "_state") and os.listdir(place / "_state") for place in places)


def initial_masters(path: str) -> list[str]:
    """The initial masters in the file of options for the first start, none where there is no such file."""
    text = _text(path)
    return next(
        (word[len(name) :].split(",") for word in text.split() for name in INITIAL_MASTERS if word.startswith(name)), []
    )


def cluster_uuid(path: str) -> str:
    """The cluster that this host was last seen in, '' where that is not known."""
    return _text(path).strip()


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def heap_mb(ram_mb: float, share: float, most_mb: int = 30720) -> int:
    """Heap of a node that may use `share` (0 to 1) of a host's `ram_mb` MiB, in MiB.

    Half of the share, as the other half is the file system's cache for the index files, and at most 30 GiB, up to which the JVM
    addresses objects with 32 bits (Elasticsearch's documentation, "Heap size settings"; 26 to 30 GiB, depending on the system).
    Rounded down to 64 MiB so that hosts whose RAM differs by a few pages get the same. Raises ValueError below 256 MiB.
    """
    ram_mb, share = float(ram_mb), float(share)
    if not 0 < share <= 1:
        raise ValueError(f"share is {share:g}, but must be more than 0 and at most 1")
    heap = int(min(ram_mb * share / 2, most_mb)) // 64 * 64
    if heap < 256:
        raise ValueError(
            f"{ram_mb:g} MiB of RAM with a share of {share:g} leave {heap} MiB for the heap, but a node needs at least 256 MiB: "
            "give the host more memory, take other services from it, or set elasticsearch_heap_mb"
        )
    return heap
