# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The information modules that utmstack.ha.observe can ask in one process, by their full names.

The components that have one are also those that utmstack.ha.deployed_info asks. Ansible ships to hosts what is imported by name, so a new
component has its line here.
"""

from __future__ import annotations

from ..backup import info as ask_backup
from ..etcd import info as ask_etcd
from ..haproxy import info as ask_haproxy
from ..host import info as ask_host
from ..patroni import info as ask_patroni
from ..postgresql import archive_info as ask_archive
from ..redis import info as ask_redis
from ..search import info as ask_search
from ..swarm import info as ask_swarm
from ..vip import info as ask_vip

QUESTIONS = {
    "utmstack.ha.backup_info": ask_backup.QUESTION,
    "utmstack.ha.elasticsearch_health": ask_search.QUESTION,
    "utmstack.ha.etcd_info": ask_etcd.QUESTION,
    "utmstack.ha.haproxy_info": ask_haproxy.QUESTION,
    "utmstack.ha.host_info": ask_host.QUESTION,
    "utmstack.ha.patroni_info": ask_patroni.QUESTION,
    "utmstack.ha.postgresql_archive_info": ask_archive.QUESTION,
    "utmstack.ha.redis_sentinel_info": ask_redis.QUESTION,
    "utmstack.ha.swarm_info": ask_swarm.QUESTION,
    "utmstack.ha.vip_info": ask_vip.QUESTION,
}
