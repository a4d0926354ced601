# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host tells of its search engine: from the files that the role writes, and only where there are data."""

from __future__ import annotations

import base64

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.common.deployed import Files, Host
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


PASSWORDS = {
    f"elasticsearch_{name}_password": f"of-{name}" for name in ("superuser", "application", "monitoring", "snapshot")
}
URLS = ["https://10.0.1.11:9200", "https://10.0.1.12:9200"]


@pytest.mark.parametrize(
    ("refused", "same", "rotating"),
    [
        ((), {"elasticsearch_superuser_password": True}, ()),
        (("admin",), {"elasticsearch_superuser_password": False}, ()),
        (("utmstack",), {"elasticsearch_superuser_password": True}, ("elasticsearch_application_password",)),
        # The index of users can't be read.
        (("admin", "utmstack", "utmstack-monitoring", "utmstack-snapshots"), {}, ()),
    ],
)
def test_passwords_are_compared_by_what_the_first_node_that_answers_says(
    monkeypatch, tmp_path, refused, same, rotating
):
    write(tmp_path, "/etc/systemd/system/elasticsearch.service", "# utmstack.ha\nexec /opt/x/bin/opensearch $$(")
    write(tmp_path, "/var/lib/elasticsearch/_state/node-0.st", "")
    asked = []

    def send(_method, url, headers, _body, _timeout):
        if url.startswith(URLS[0]):
            raise OSError("away")
        user, _colon, password = base64.b64decode(headers["Authorization"].split()[1]).decode().partition(":")
        asked.append((url, user, password))
        return (401 if user in refused or user.endswith("-next") else 200), ""

    monkeypatch.setattr(deployed.https, "sender", lambda ca: send if ca == "/tls/ca.crt" else None)
    given = {"settings": SETTINGS, "passwords": PASSWORDS, "tls_directory": "/tls",
             "services": {"elasticsearch": {"flavor": "opensearch", "urls": URLS}}}  # fmt: skip
    found = deployed.look(Host(Files(tmp_path), given, print))
    assert (found.passwords, found.rotating) == (same, rotating)
    assert (f"{URLS[1]}/_plugins/_security/authinfo", "admin", "of-superuser") in asked
    assert ("utmstack-next", "of-application") in {one[1:] for one in asked}
