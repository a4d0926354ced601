# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host tells of its swarm and of the application in it."""

from __future__ import annotations

import json

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.common.deployed import Files
from ansible_collections.utmstack.ha.plugins.module_utils.swarm import deployed
from ansible_collections.utmstack.ha.plugins.module_utils.swarm import stack as swarm_stack
from host_files import ours, write

INFO = {"Swarm": {"Cluster": {"ID": "salt", "DataPathPort": 4789, "DefaultAddrPool": ["10.201.0.0/16"],
                              "Spec": {"Labels": {"utmstack.ha.cluster": "utmstack"}}}}}  # fmt: skip


@pytest.fixture
def host(tmp_path):
    """A host whose units have our settings."""
    return ours(tmp_path, "docker")


def test_the_swarm_is_told_by_dockers_state_and_a_manager(host):
    files = Files(host)
    write(host, "/etc/docker/daemon.json", json.dumps({"data-root": "/srv/docker"}))
    assert deployed.swarm(files, INFO) == {}
    write(
        host,
        "/srv/docker/swarm/docker-state.json",
        json.dumps({"LocalAddr": "10.0.1.11", "ListenAddr": "10.0.1.11:2377"}),
    )
    assert deployed.swarm(files, INFO) == {
        "address": "10.0.1.11", "port": 2377, "data_root": "/srv/docker", "data_port": 4789, "address_pools": ["10.201.0.0/16"],
        "cluster": "utmstack",
    }  # fmt: skip
    assert deployed.swarm(files, {})["cluster"] is None


def service(key="the old key", stack="utmstack", label=swarm_stack.DEFINITION):
    name = swarm_stack.version_name(stack, "ENCRYPTION_KEY", key, "salt")
    return {"Spec": {
        "Name": f"{stack}_backend", "Labels": {"com.docker.stack.namespace": stack, label: "mark"},
        "EndpointSpec": {"Ports": [{"TargetPort": 8080, "PublishedPort": 8080}, {"TargetPort": 50051, "PublishedPort": 50051}]},
        "TaskTemplate": {"ContainerSpec": {
            "Env": ["SERVER_SSL_ENABLED=true", "DB_NAME=utmstack"],
            "Secrets": [{"File": {"Name": "ENCRYPTION_KEY"}, "SecretName": name}]}}}}  # fmt: skip


def test_the_backend_is_told_by_its_service_and_its_keys_by_their_keyed_hash():
    found = deployed.backend([service(label="another")]) or deployed.backend([service()])
    assert {name: found[name] for name in ("stack", "http_port", "grpc_port", "tls", "database")} == {
        "stack": "utmstack", "http_port": 8080, "grpc_port": 50051, "tls": True, "database": "utmstack",
    }  # fmt: skip
    assert deployed.backend_keys(found, "salt", {"ENCRYPTION_KEY": "the old key", "INTERNAL_KEY": "x"}) == {
        "ENCRYPTION_KEY": True
    }
    assert deployed.backend_keys(found, "salt", {"ENCRYPTION_KEY": "a new one"}) == {"ENCRYPTION_KEY": False}
    assert deployed.backend_keys({}, "salt", {"ENCRYPTION_KEY": "a new one"}) == {}
