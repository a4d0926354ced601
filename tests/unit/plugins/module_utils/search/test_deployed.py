# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host tells of its search engine: from the files that the role writes, and only where there are data."""

from __future__ import annotations

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.common.deployed import Files
from ansible_collections.utmstack.ha.plugins.module_utils.search import deployed
from host_files import write

SETTINGS = {"elasticsearch_data_directory": "/var/lib/elasticsearch"}


@pytest.mark.parametrize("flavor", ["elasticsearch", "opensearch"])
def test_the_search_engine_is_told_once_it_has_data(tmp_path, flavor):
    write(
        tmp_path,
        "/etc/systemd/system/elasticsearch.service",
        f"# Written by the role utmstack.ha.elasticsearch\nexec /opt/x/bin/{flavor} $$(",
    )
    write(tmp_path, f"/etc/elasticsearch/{flavor}.yml", 'cluster.name: "utmstack"\nnode.name: "node1"\nnode.roles: ["data"]\n'
          'path.data: "/var/lib/elasticsearch"\nnetwork.host: "10.0.1.11"\nhttp.port: 9200\ntransport.port: 9300\n')  # fmt: skip
    assert deployed.engine(Files(tmp_path), SETTINGS) == {}
    write(tmp_path, "/var/lib/elasticsearch/_state/node-0.st", "")
    assert deployed.engine(Files(tmp_path), SETTINGS) == {
        "name": "node1", "cluster": "utmstack", "address": "10.0.1.11", "http_port": 9200, "transport_port": 9300,
        "data_directory": "/var/lib/elasticsearch", "flavor": flavor, "roles": ["data"],
    }  # fmt: skip
