# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The state of a platform of three hosts on which nothing is wrong."""

from __future__ import annotations

NODES = ("node1", "node2", "node3")


def whole(vip="node3", primary="node1", sync="node2", etcd="node2", master="node3", redis="node1", swarm="node1"):
    """The state of a platform with nothing wrong."""

    def role(name):
        return "leader" if name == primary else "sync_standby" if name == sync else "replica"

    servers = [
        {"backend": backend, "server": name, "on": {host: {"status": "UP", "admin": "ready"} for host in NODES}}
        for backend in ("api", "elasticsearch")
        for name in NODES
    ]
    return {
        "hosts": [{"name": name, "reachable": True, "error": ""} for name in NODES],
        "vip": {"holder": vip, "members": [{"name": name, "keepalived": True} for name in NODES]},
        "etcd": {"leader": etcd, "members": [{"name": name, "healthy": True} for name in NODES]},
        "postgresql": {
            "leader": primary,
            "paused": False,
            "members": [{"name": name, "role": role(name), "serves": True} for name in NODES],
        },
        "elasticsearch": {
            "master": master,
            "status": "green",
            "changed_settings": {},
            "nodes": [{"name": name} for name in NODES],
        },
        "redis": {"master": redis, "members": [{"name": name, "error": ""} for name in NODES]},
        "swarm": {
            "leader": swarm,
            "services": [{"name": "utmstack_backend"}],
            "nodes": [{"hostname": name, "state": "ready", "availability": "active"} for name in NODES],
        },
        # There is no backup host.
        "backup": None,
        "haproxy": {"hosts": [{"name": name, "answers": True} for name in NODES], "servers": servers},
    }
