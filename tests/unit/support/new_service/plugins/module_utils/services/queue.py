# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The queue: the object of a service that the collection does not have. Its brokers are directories, see role queue beside."""

from __future__ import annotations

from .backup import Backup
from .change import REFUSED, Change, port
from .drill import LEADER, Fault, killed
from .listener import HOST, VIP, Listener
from .service import Data, Service, Timing, member_of

SERVICE = Service(
    name="queue",
    role="queue",
    layer="queue",
    groups=("queue",),
    listeners=(
        Listener("queue", "Queue", "queue", 9092, HOST, "clients"),
        Listener("loadbalancer", "HAProxy (queue)", "queue_bootstrap", 9095, VIP, "clients", ("queue",)),
    ),
    memory=2,
    proxied=True,
    shared={"queue_home": "/var/lib/queue", "queue_replicas": 3},
    facts=lambda settings, _members, _found: {"home": settings["queue_home"]},
    passwords={"queue_admin_password": "#"},
    changes=(Change("queue_admin_password", REFUSED, "Put it back"),),
    compared=(("queue", "port", "ha_ports.queue", port("queue")),),
    timing=(
        Timing(
            "queue", {name: {"session_ms": 9000} for name in ("fast", "normal", "wan")}, {"session_ms": (1000, 60000)}
        ),
    ),
    environment=lambda ha, _settings, ca: {"QUEUE_PORT": ha["ports"]["queue_bootstrap"], "QUEUE_CA": ca},
    survives=lambda ha: len(ha["queue"]["members"]) - 2,
    outages=lambda _ha: [["controller of the queue dies", "9 s"]],
    settings={"queue_data_directory": "/var/lib/queue/{cluster}"},
    units=("queue.service",),
    packages=("queue-server", "openjdk-{release[java]}-jre-headless"),
    held=("queue-server",),
    upgrades=("queue-server",),
    upgraded={"queue.service": ()},
    data=Data("queue_data_directory", "queue"),
    configs={"queue.service": ("/etc/queue/server.properties",)},
    kernel={"vm.max_map_count": 262144},
    asks=lambda ha, _secrets, _host: {
        "utmstack.ha.queue_info": {
            "home": ha["queue"]["home"],
            "brokers": [one["name"] for one in ha["queue"]["members"]],
        }
    },
    serves=lambda layer, host: bool(member_of(layer, "members", host).get("healthy")),
    leads="the queue's controller",
    processes={"queue": {"what": "the queue"}},
    faults=(
        Fault("queue-sigkill", "The queue's controller is killed", LEADER, killed("queue"), hold_s=10, alone=True),
    ),
    backups=(
        Backup(
            kind="queue",
            title="Queue",
            playbook="restore_queue",
            asked=lambda ha, _secrets: {
                "home": ha["queue"]["home"],
                "brokers": [one["name"] for one in ha["queue"]["members"]],
            },
            source="a broker",
            refused=lambda hosts: (
                ("brokers are volatile", "Set queue_volatile to false")
                if any(own.get("queue_volatile") for own in hosts.values())
                else ()
            ),
        ),
    ),
)
