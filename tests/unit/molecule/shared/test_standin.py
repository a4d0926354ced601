# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab's stand-in application: what it reads from its environment, and how it bears stores that fail."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[4] / "molecule" / "shared"))

from standin import build  # noqa: E402
from standin.app.settings import Server, SettingsError, read  # noqa: E402
from standin.app.store import Health, Store, StoreError, Unavailable, said  # noqa: E402

ENVIRONMENT = {
    "NODE_NAME": "node1",
    "DB_HOST": "10.0.1.100",
    "DB_PASS": "database",
    "ELASTICSEARCH_HOST": "10.0.1.100",
    "ELASTICSEARCH_PASS": "search",
    "SPRING_DATA_REDIS_SENTINEL_NODES": "10.0.1.11:26379,10.0.1.12:26379",
    "REDIS_PASSWORD": "redis",
    "INTERNAL_KEY": "internal",
    "ENCRYPTION_KEY": "encryption",
}


def test_the_mandatory_variables_are_enough():
    settings = read(ENVIRONMENT)
    assert settings.database == Server("10.0.1.100", 5432, "utmstack", "database")
    assert settings.elasticsearch == Server("10.0.1.100", 9200, "utmstack", "search")
    assert settings.sentinels == (("10.0.1.11", 26379), ("10.0.1.12", 26379))
    assert (settings.replica, settings.tls, settings.http_port, settings.grpc_port) == ("node1", False, 8080, 50051)


def test_a_value_may_come_from_a_file_and_the_variable_itself_comes_first():
    files = {"/run/secrets/DB_PASS": "from the file\n", "/run/secrets/REDIS_PASSWORD": "not read"}
    environment = ENVIRONMENT | {
        "DB_PASS_FILE": "/run/secrets/DB_PASS",
        "REDIS_PASSWORD_FILE": "/run/secrets/REDIS_PASSWORD",
    }
    del environment["DB_PASS"]
    settings = read(environment, files.__getitem__)
    assert (settings.database.password, settings.redis_password) == ("from the file", "redis")


def test_all_that_is_missing_or_wrong_is_told_at_once():
    environment = ENVIRONMENT | {
        "DB_PORT": "five",
        "SPRING_DATA_REDIS_SENTINEL_NODES": "10.0.1.11",
        "SERVER_SSL_ENABLED": "true",
        "SERVER_SSL_CERTIFICATE": "/tls/host.crt",
        "ENCRYPTION_KEY_FILE": "/not/there",
        "STANDIN_BROKEN": "a bit",
    }
    del environment["INTERNAL_KEY"], environment["ENCRYPTION_KEY"]
    with pytest.raises(SettingsError) as failure:
        read(environment)
    assert sorted(str(failure.value).splitlines()) == [
        "DB_PORT=five is not a number",
        "ENCRYPTION_KEY_FILE: [Errno 2] No such file or directory: '/not/there'",
        "INTERNAL_KEY is not set, nor is INTERNAL_KEY_FILE",
        "SERVER_SSL_CERTIFICATE_PRIVATE_KEY is not set, though SERVER_SSL_ENABLED is true",
        "SPRING_DATA_REDIS_SENTINEL_NODES: 10.0.1.11 is not HOST:PORT",
        "STANDIN_BROKEN=a bit is neither start nor health",
    ]


class Scripted(Store):
    """A store whose network is a list: what each try meets, an error or an answer."""

    name = component = "scripted"
    faults = (ConnectionError,)

    def __init__(self, *script):
        super().__init__()
        self.script, self.fresh = list(script), []

    def ask(self):
        async def work(fresh: bool):
            self.fresh.append(fresh)
            met = self.script.pop(0)
            if isinstance(met, Exception):
                raise met
            return met

        return self.twice(work)

    async def look(self):
        return {"answer": await self.ask()}


@pytest.mark.parametrize(
    ("script", "answer", "fresh"),
    [
        (["good"], "good", [False]),
        ([ConnectionError("reset"), "good"], "good", [False, True]),
        ([Unavailable("503"), "good"], "good", [False, True]),
        ([ConnectionError("reset"), ConnectionError("refused"), "too late"], StoreError("refused"), [False, True]),
        ([StoreError("404"), "not asked"], StoreError("404"), [False]),
    ],
)
def test_a_failure_that_may_pass_gets_one_more_try_on_a_new_connection(script, answer, fresh):
    store = Scripted(*script)
    if isinstance(answer, StoreError):
        with pytest.raises(StoreError, match=str(answer)):
            asyncio.run(store.ask())
    else:
        assert asyncio.run(store.ask()) == answer
    assert store.fresh == fresh


def test_a_store_is_asked_once_however_many_ask_for_its_health():
    store = Scripted("one", "two")

    async def ask():
        health = Health([store])
        return await asyncio.gather(*(health.components() for asking in range(5)))

    up = {"scripted": {"status": "UP", "details": {"answer": "one"}}}
    assert asyncio.run(ask()) == [up] * 5
    assert store.script == ["two"]


def test_a_store_that_fails_is_down_with_its_reason():
    store = Scripted(ConnectionError("refused"), ConnectionError("refused"))
    components = asyncio.run(Health([store]).components())
    assert components == {"scripted": {"status": "DOWN", "details": {"error": "refused"}}}


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (TimeoutError(), "no answer within 2 s"),
        (ConnectionError(), "ConnectionError"),
        (ConnectionError("in\n  two lines"), "in two lines"),
        (ConnectionError("no master : <redis.Redis(<Pool(<host=a,db=0>)>)> - refused"), "no master : refused"),
    ],
)
def test_an_error_is_told_in_one_line(error, text):
    assert said(error) == text


def test_the_images_name_changes_with_the_application(tmp_path, monkeypatch):
    before = build.expected(tmp_path)
    assert before[1].name == f"{before[0].replace('utmstack-', '').replace(':', '-')}.tar.gz"
    changed = tmp_path / "web.py"
    changed.write_text("another version\n")
    monkeypatch.setattr(build, "sources", lambda: [changed])
    assert build.expected(tmp_path) != before
