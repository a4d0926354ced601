# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The three nodes of the lab as a client meets them: over TLS that is verified, as the users that the role has made."""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

import pytest
import yaml

LAB = Path(__file__).resolve().parents[1] / "shared" / "lab.py"


class Cluster:
    """The lab's search cluster."""

    def __init__(self):
        listed = json.loads(subprocess.run([sys.executable, LAB, "inventory"], check=True, capture_output=True).stdout)
        self.hosts = {name: found["ansible_host"] for name, found in listed["_meta"]["hostvars"].items()}
        secrets = Path(listed["all"]["vars"]["ha_secrets_dir"])
        known = yaml.safe_load((secrets / "passwords.yml").read_text())
        self.passwords = {
            "admin": known["elasticsearch_superuser_password"],
            "utmstack": known["elasticsearch_application_password"],
            "utmstack-monitoring": known["elasticsearch_monitoring_password"],
            "utmstack-snapshots": known["elasticsearch_snapshot_password"],
        }
        context = ssl.create_default_context(cafile=secrets / "ca.crt")
        self.director = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))

    def ask(self, method, path, body=None, user="admin", host="node1"):
        """Status and answer."""
        request = urllib.request.Request(f"https://{self.hosts[host]}:9200{path}", method=method)
        if body is not None:
            request.data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        if user:
            login = base64.b64encode(f"{user}:{self.passwords[user]}".encode()).decode()
            request.add_header("Authorization", f"Basic {login}")
        try:
            with self.director.open(request, timeout=30) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def get(self, path, **options):
        status, answer = self.ask("GET", path, **options)
        assert status == 200, answer
        return answer


@pytest.fixture(scope="module")
def cluster():
    return Cluster()


def until(condition, seconds, what):
    """The first true answer; fails with what was waited for."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(2)
    return answer


def test_all_hosts_form_one_cluster_which_is_green(cluster):
    seen = [
        cluster.get("/_cluster/state/master_node,metadata?filter_path=cluster_uuid,master_node", host=host)
        for host in cluster.hosts
    ]
    assert all(one == seen[0] for one in seen), seen
    health = cluster.get("/_cluster/health?wait_for_status=green&timeout=25s")
    assert (health["status"], health["number_of_nodes"]) == ("green", len(cluster.hosts))


def test_nobody_gets_in_without_a_password(cluster):
    for host in cluster.hosts:
        assert cluster.ask("GET", "/_cluster/health", user=None, host=host)[0] == 401


def test_plain_text_is_not_answered(cluster):
    with pytest.raises(OSError):
        urllib.request.urlopen(f"http://{cluster.hosts['node1']}:9200/", timeout=5)


@pytest.mark.parametrize(
    ("user", "method", "path", "body", "expected"),
    [
        ("utmstack", "PUT", "/log-rights/_doc/1?refresh=true", {"a": 1}, (200, 201)),
        ("utmstack", "PUT", "/_index_template/log-rights", {"index_patterns": ["log-rights*"]}, (200,)),
        ("utmstack", "PUT", "/somebody-elses/_doc/1", {"a": 1}, (403,)),
        ("utmstack", "PUT", "/_cluster/settings", {"persistent": {"action.auto_create_index": "true"}}, (403,)),
        ("utmstack", "GET", "/_plugins/_security/api/internalusers", None, (403,)),
        ("utmstack-monitoring", "GET", "/_cluster/health", None, (200,)),
        ("utmstack-monitoring", "GET", "/_nodes/stats", None, (200,)),
        ("utmstack-monitoring", "PUT", "/log-rights/_doc/1", {"a": 2}, (403,)),
        ("utmstack-snapshots", "GET", "/_snapshot/_all", None, (200,)),
        ("utmstack-snapshots", "GET", "/log-rights/_search", None, (403,)),
        ("utmstack-snapshots", "DELETE", "/log-rights", None, (403,)),
    ],
)  # fmt: skip
def test_each_user_may_do_what_it_is_for_and_no_more(cluster, user, method, path, body, expected):
    status, answer = cluster.ask(method, path, body, user=user)
    assert status in expected, answer


def test_a_template_that_asks_for_no_replicas_gets_one(cluster):
    template = {"index_patterns": ["log-floor*"], "template": {"settings": {"number_of_replicas": 0}}}
    cluster.ask("PUT", "/_index_template/log-floor", template, user="utmstack")
    cluster.ask("PUT", "/log-floor-1", None, user="utmstack")

    def raised():
        found = cluster.get("/log-floor-1/_settings")["log-floor-1"]["settings"]["index"]["number_of_replicas"]
        kept = cluster.get("/_index_template/log-floor")["index_templates"][0]["index_template"]["template"]
        return found == kept["settings"]["index"]["number_of_replicas"] == "1"

    until(raised, 120, "the elected master to raise the replicas of the index and its template")


def test_a_snapshot_by_the_schedule_is_restored_under_another_name_with_all_documents(cluster):
    index = f"log-{uuid.uuid4().hex[:8]}"
    lines = "".join(f'{{"index": {{}}}}\n{{"number": {number}}}\n' for number in range(500))
    status, answer = cluster.ask("POST", f"/{index}/_bulk?refresh=true", lines, user="utmstack")
    assert (status, answer["errors"]) == (200, False)

    def taken():
        listed = cluster.get("/_snapshot/backup/_all", user="utmstack-snapshots")["snapshots"]
        mine = [one for one in listed if index in one["indices"] and one["state"] == "SUCCESS"]
        return mine and mine[-1]

    snapshot = until(taken, 240, "a snapshot of the policy that has the index")
    assert snapshot["metadata"]["policy"] == "often"
    body = {
        "indices": index,
        "rename_pattern": "(.+)",
        "rename_replacement": "restored-$1",
        "include_global_state": False,
    }
    path = f"/_snapshot/backup/{snapshot['snapshot']}/_restore?wait_for_completion=true"
    status, answer = cluster.ask("POST", path, body)
    assert status == 200, answer
    assert answer["snapshot"]["shards"]["failed"] == 0
    assert cluster.get(f"/restored-{index}/_count")["count"] == 500


def test_only_as_many_snapshots_are_kept_as_the_policy_says(cluster):
    def few():
        listed = cluster.get("/_snapshot/backup/_all")["snapshots"]
        return len([one for one in listed if one["state"] == "SUCCESS"]) <= 6

    until(few, 120, "the elected master to delete surplus snapshots")
