# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The search cluster, Elasticsearch or OpenSearch."""

from __future__ import annotations

from .service import Layer, Service, member


def held_in_place(layer: Layer) -> bool:
    """Whether shards are still held in place: by a run that died in its last turn."""
    return "cluster.routing.allocation.enable" in (layer or {}).get("changed_settings", {})


SERVICE = Service(
    name="elasticsearch",
    role="elasticsearch",
    layer="elasticsearch",
    units=("elasticsearch.service",),
    # Its packages are Java; the server is an archive, which its role upgrades by the same loop.
    upgrade="upgrade_packages",
    serves=lambda layer, host: bool(member(layer, "nodes", host)),
    unfinished=held_in_place,
    leads="the elected master of the search cluster",
    leader="master",
    candidates="masters",
    processes={"elasticsearch": {"what": "Elasticsearch"}},
)
