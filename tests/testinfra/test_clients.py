# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Real clients through the addresses that a user has, each of them checking certificate and name."""

from __future__ import annotations

import time
import uuid

import clients
import grpc
import psycopg
import pytest
from load import STORES, Http, Load
from opensearchpy.exceptions import AuthorizationException
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError
from standin.app.messages import SayReply, SayRequest
from websockets.sync.client import connect


@pytest.fixture
def identity():
    return uuid.uuid4().hex


@pytest.fixture
def http(cluster):
    connection = Http(cluster.vip, clients.tls(cluster))
    yield connection
    connection.close()


def test_postgresql_takes_a_row(cluster, identity):
    with psycopg.connect(cluster.conninfo(), autocommit=True) as connection:
        connection.execute("CREATE TEMPORARY TABLE client (id text)")
        connection.execute("INSERT INTO client VALUES (%s)", (identity,))
        assert connection.execute("SELECT id FROM client").fetchone() == (identity,)
        assert connection.pgconn.ssl_in_use


def test_elasticsearch_takes_a_document_and_finds_it(cluster, identity):
    search = clients.search(cluster)
    written = search.index(index=clients.INDEX, id=identity, body={"message": identity}, refresh=True)
    assert written["result"] == "created"
    found = search.search(index=clients.INDEX, body={"query": {"match": {"message": identity}}})
    assert [hit["_id"] for hit in found["hits"]["hits"]] == [identity]
    search.delete(index=clients.INDEX, id=identity)


def test_the_application_may_not_write_into_what_is_not_its_own(cluster, identity):
    with pytest.raises(AuthorizationException):
        clients.search(cluster).index(index="somebody-else", id=identity, body={"message": identity})


@pytest.mark.parametrize("way", [clients.redis_by_sentinel, clients.redis_by_address])
def test_redis_takes_a_value_on_the_master(cluster, identity, way):
    redis = way(cluster)
    key = f"clients:{identity}"
    assert redis.set(key, "value", ex=60)
    assert redis.get(key) == "value"
    assert redis.delete(key) == 1


def test_sentinel_and_load_balancer_name_the_same_master(cluster, identity):
    by_sentinel, by_address = clients.redis_by_sentinel(cluster), clients.redis_by_address(cluster)
    by_sentinel.set(f"clients:{identity}", "seen", ex=60)
    assert by_address.get(f"clients:{identity}") == "seen"


def test_the_application_may_not_administer_redis(cluster):
    with pytest.raises(NoPermissionError):
        clients.redis_by_address(cluster).config_get("*")


def test_a_redis_client_that_trusts_another_ca_refuses_the_server(cluster):
    options = clients.redis_options(cluster) | {"ssl_ca_certs": None}
    with pytest.raises(RedisConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
        clients.Redis(host=cluster.vip, port=6379, **options).ping()


def test_websocket_gives_back_what_it_is_sent(cluster):
    with connect(f"wss://{cluster.vip}/websocket", ssl=clients.tls(cluster)) as socket:
        for text in ("one", "zwei", "x" * 50_000):
            socket.send(text)
            assert socket.recv(timeout=5) == text


def test_grpc_gives_back_what_it_is_told(cluster):
    credentials = grpc.ssl_channel_credentials(cluster.ca.read_bytes())
    with grpc.secure_channel(f"{cluster.vip}:50051", credentials) as channel:
        say = channel.unary_unary(
            "/utmstack.standin.Echo/Say",
            request_serializer=SayRequest.SerializeToString,
            response_deserializer=SayReply.FromString,
        )
        reply = say(SayRequest(text="agent"), timeout=5)
    assert reply.text == "agent"
    assert reply.replica in cluster.hosts


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_event_reaches_every_store_and_says_which_node(cluster, http, method):
    status, answer = http.ask(method, "/api/events")
    assert status == 200, answer
    assert answer["replica"] in cluster.hosts
    stores = answer["stores"]
    assert stores["postgresql"]["node"] == cluster.hosts[cluster.primary()]
    assert stores["elasticsearch"]["node"] in cluster.hosts
    assert stores["redis"]["node"] in cluster.hosts.values()
    status, answer = http.ask("GET", f"/api/events/{answer['id']}")
    assert (status, [answer["stores"][store]["found"] for store in STORES]) == (200, [True] * 3)


def test_the_same_event_twice_is_one_event(http, identity):
    for attempt in ("first", "second"):
        assert http.ask("POST", "/api/events", {"id": identity, "message": attempt})[0] == 200
    status, answer = http.ask("POST", "/api/events/verify", {"ids": [identity, f"not-{identity}"]})
    assert status == 200
    assert {store: answer["stores"][store]["missing"] for store in STORES} == dict.fromkeys(STORES, [f"not-{identity}"])


def test_each_replica_tells_how_its_stores_are(cluster):
    for address in cluster.hosts.values():
        status, answer = Http(address, clients.tls(cluster), port=8080).ask("GET", "/actuator/health")
        assert status == 200, answer
        components = {name: component["status"] for name, component in answer["components"].items()}
        assert components == {"database": "UP", "elasticsearch": "UP", "redis": "UP"}


def test_every_replica_serves_and_every_store_has_what_was_acknowledged(cluster):
    load = Load(cluster, rate=20, users=6).start()
    time.sleep(10)
    outcome = load.stop()
    print(outcome)
    assert len(outcome.acknowledged) > 50, outcome
    assert outcome.replicas.keys() == cluster.hosts.keys(), outcome
    assert load.missing() == load.missing_directly(cluster) == {store: set() for store in STORES}
