# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import io
import json
import tarfile

import pytest
import yaml
from ansible_collections.utmstack.ha.plugins.module_utils.backend import stack as backend
from ansible_collections.utmstack.ha.plugins.module_utils.swarm import image_archive as docker_archive
from role_templates import ROLES, topology

HOSTS = ["node1", "node2", "node3"]
GROUPS = {
    name: HOSTS
    for name in ("loadbalancer", "etcd", "postgresql", "elasticsearch", "redis", "sentinel", "swarm_managers")
}
SECRETS = ["DB_PASS", "INTERNAL_KEY"]
IMAGE = {"reference": "sha256:1", "entrypoint": ["/bin/app"], "command": ["--serve"]}


def settings(**changes):
    """The role's defaults as its variable backend_settings passes them."""
    defaults = yaml.safe_load((ROLES / "backend" / "defaults" / "main.yml").read_text())
    names = yaml.safe_load((ROLES / "backend" / "vars" / "main.yml").read_text())["backend_settings"]
    return {name: defaults.get(f"backend_{name}", False) for name in names} | changes


def made(ha=None, **changes):
    result = backend.stack(ha or topology(GROUPS, "node1"), settings(**changes), SECRETS, IMAGE)
    return result["definition"]["services"]["backend"], result


def test_the_service_is_that_of_the_reference_page():
    service, result = made()
    deploy = service["deploy"]
    assert deploy["replicas"] == 3
    assert deploy["update_config"]["parallelism"] == 1
    assert deploy["update_config"]["delay"] == "10s"
    assert deploy["update_config"]["failure_action"] == "rollback"
    assert deploy["placement"]["max_replicas_per_node"] == 1
    assert result["definition"]["networks"]["utmstack"]["driver"] == "overlay"
    environment = service["environment"]
    assert environment["SPRING_DATASOURCE_URL"].startswith("jdbc:postgresql://10.0.1.100:5432/utmstack?")
    assert environment["SPRING_REDIS_SENTINEL_MASTER"] == "utmstack-redis"


def test_an_outage_of_a_store_never_ends_the_restarts():
    policy = made()[0]["deploy"]["restart_policy"]
    assert policy == {"condition": "any", "delay": "5s"}


def test_ports_are_the_hosts_own():
    service, _result = made()
    assert {port["mode"] for port in service["ports"]} == {"host"}
    assert [(port["target"], port["published"]) for port in service["ports"]] == [(8080, 8080), (50051, 50051)]
    assert service["deploy"]["endpoint_mode"] == "dnsrr"
    moved = topology(GROUPS, "node1", ha_ports={"backend_http": 18080})
    assert made(moved)[0]["ports"][0]["published"] == 18080


UTMSTACK = "DB_HOST DB_PORT DB_NAME DB_USER ELASTICSEARCH_HOST ELASTICSEARCH_PORT GRPC_AGENT_MANAGER_HOST GRPC_AGENT_MANAGER_PORT SERVER_NAME"


def test_all_mandatory_variables_follow_from_the_topology():
    environment = made()[0]["environment"]
    assert [name for name in UTMSTACK.split() if not environment.get(name)] == []
    assert environment["DB_HOST"] == environment["ELASTICSEARCH_HOST"] == "10.0.1.100"
    assert environment["SPRING_DATA_REDIS_SENTINEL_NODES"] == "10.0.1.11:26379,10.0.1.12:26379,10.0.1.13:26379"
    assert environment["SPRING_DATA_REDIS_LETTUCE_POOL_MAX_ACTIVE"] == 20


def test_what_is_not_there_is_not_named():
    ha = topology({name: HOSTS for name in ("loadbalancer", "swarm_managers")}, "node1")
    environment = made(ha)[0]["environment"]
    assert not [name for name in environment if name.startswith(("SPRING_DATA", "SPRING_REDIS", "ELASTICSEARCH_HOST"))]


def test_the_users_variables_win_and_null_takes_one_away():
    environment = made(environment={"SERVER_NAME": "siem.example.org", "JAVA_TOOL_OPTIONS": None, "NEW": 1})[0][
        "environment"
    ]
    assert environment["SERVER_NAME"] == "siem.example.org"
    assert environment["NEW"] == 1
    assert "JAVA_TOOL_OPTIONS" not in environment


def test_secrets_are_files_and_named_to_the_application():
    service, result = made()
    assert service["secrets"][0] == {"source": "DB_PASS", "target": "DB_PASS", "mode": 0o400}
    assert service["environment"]["DB_PASS_FILE"] == "/run/secrets/DB_PASS"
    assert service["environment"]["SPRING_DATASOURCE_PASSWORD"] == "${DB_PASS}"
    assert service["environment"]["SPRING_CONFIG_IMPORT"] == "optional:configtree:/run/secrets/"
    assert service["entrypoint"] is None
    assert result["config_files"] == {"ca": "/etc/utmstack-ha/tls/ca.crt"}


@pytest.mark.parametrize(
    ("changes", "entrypoint", "command"),
    [
        ({}, [backend.WRAPPER, "/bin/app"], ["--serve"]),
        ({"entrypoint": ["/bin/other"]}, [backend.WRAPPER, "/bin/other"], None),
        ({"command": ["--other"]}, [backend.WRAPPER, "/bin/app"], ["--other"]),
    ],
)
def test_as_variables_the_secrets_come_by_a_script_in_front_of_the_images_program(changes, entrypoint, command):
    service, result = made(secret_environment="environment", **changes)
    assert (service["entrypoint"], service["command"]) == (entrypoint, command)
    assert not [name for name in service["environment"] if name.endswith("_FILE")]
    assert {"source": "entrypoint", "target": backend.WRAPPER, "mode": 0o555} in service["configs"]
    assert result["configs"]["entrypoint"].startswith("#!/bin/sh\n")


def test_the_hosts_certificate_is_mounted_only_where_the_application_serves_tls():
    assert made()[0]["volumes"] == []
    service, _result = made(tls=True, mounts=[{"type": "volume", "source": "rules", "target": "/rules"}])
    assert [mount["target"] for mount in service["volumes"]] == ["/run/utmstack/tls", "/rules"]
    assert service["volumes"][0]["read_only"]
    assert service["environment"]["SERVER_SSL_CERTIFICATE"] == "/run/utmstack/tls/host.crt"


def test_files_of_the_user_become_configs():
    service, result = made(configs={"/app/config/application.yml": "spring: {}"})
    assert {
        "source": "file_app_config_application.yml",
        "target": "/app/config/application.yml",
        "mode": 0o444,
    } in service["configs"]
    assert result["configs"] == {"file_app_config_application.yml": "spring: {}"}


@pytest.mark.parametrize(
    ("memory", "given", "limit"), [(None, "", None), (10000, "", "1600M"), (10000, "256", "256M"), (None, 300, "300M")]
)
def test_the_limit_of_memory_is_the_share_of_the_smallest_host(memory, given, limit):
    ha = topology(GROUPS, "node1")
    for host in ha["hosts"].values():
        host["memory_mb"] = memory
        host["memory_share"]["backend"] = 0.16
    resources = made(ha, memory_limit_mb=given)[0]["deploy"]["resources"]
    assert (resources or {}).get("limits", {}).get("memory") == limit


def test_anything_of_compose_can_be_laid_over_it():
    service, result = made(
        service_settings={"user": "1000", "deploy": {"placement": {"preferences": [{"spread": "node.labels.rack"}]}}},
        stack_settings={"services": {"other": {"image": "b"}}},
        update_config={"delay": "1s"},
    )
    assert service["user"] == "1000"
    assert service["deploy"]["placement"]["max_replicas_per_node"] == 1
    assert service["deploy"]["update_config"]["delay"] == "1s"
    assert list(result["definition"]["services"]) == ["backend", "other"]


def test_addresses_of_ipv6_are_bracketed_in_urls():
    addresses = {f"node{number}": f"fd00::1{number}" for number in (1, 2, 3)}
    environment = made(topology(GROUPS, "node1", vip="fd00::100/64", hosts=addresses))[0]["environment"]
    assert "//[fd00::100]:5432/" in environment["SPRING_DATASOURCE_URL"]
    assert environment["DB_HOST"] == "fd00::100"
    assert environment["SPRING_REDIS_SENTINEL_NODES"].startswith("[fd00::11]:26379,")


# -- archives ---------------------------------------------------------------------------------------------------------

NUMBER = "ab" * 32


def archive(path, files, mode="w:gz"):
    with tarfile.open(path, mode) as tar:
        for name, content in files.items():
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return str(path)


def manifest(config, count=1):
    return [{"Config": config, "RepoTags": ["app:1"], "Layers": []}] * count


CONFIG = {"config": {"Entrypoint": ["/bin/app"], "Cmd": None}}


@pytest.mark.parametrize(
    ("config", "mode"),
    [(f"blobs/sha256/{NUMBER}", "w:gz"), (f"blobs/sha256/{NUMBER}", "w"), (f"{NUMBER}.json", "w:gz")],
    ids=["since Docker 25", "not compressed", "before Docker 25"],
)
def test_an_archive_tells_its_image(config, mode, tmp_path):
    path = archive(tmp_path / "a.tar", {config: CONFIG, "layer": b"x" * 100, "manifest.json": manifest(config)}, mode)
    assert docker_archive.read(path) == {
        "id": f"sha256:{NUMBER}",
        "tags": ["app:1"],
        "entrypoint": ["/bin/app"],
        "command": [],
    }


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"other": b""}, "no manifest.json"),
        ({"manifest.json": manifest(f"{NUMBER}.json", 2)}, "contains 2 images"),
        ({"manifest.json": manifest(f"{NUMBER}.json")}, "lacks"),
        ({"manifest.json": b"no json"}, "no image archive"),
    ],
)
def test_what_is_no_archive_of_one_image_is_told(files, words, tmp_path):
    with pytest.raises(docker_archive.ArchiveError, match=words):
        docker_archive.read(archive(tmp_path / "a.tar", files))


def test_a_file_that_is_no_archive_at_all_is_told(tmp_path):
    (tmp_path / "a").write_text("nothing of the kind")
    with pytest.raises(docker_archive.ArchiveError, match="no image archive"):
        docker_archive.read(str(tmp_path / "a"))
