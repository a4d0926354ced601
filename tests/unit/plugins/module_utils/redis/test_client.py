# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import io
import socket

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.redis import client as redis_client
from ansible_collections.utmstack.ha.plugins.module_utils.redis.client import RedisError


@pytest.mark.parametrize(
    ("raw", "reply"),
    [
        (b"+OK\r\n", "OK"),
        (b":42\r\n", 42),
        (b"$5\r\nhello\r\n", "hello"),
        (b"$6\r\na\r\nb\r\n\r\n", "a\r\nb\r\n"),
        (b"$-1\r\n", None),
        (b"*-1\r\n", None),
        (b"*0\r\n", []),
        (b"*3\r\n$1\r\na\r\n:1\r\n*1\r\n$-1\r\n", ["a", 1, [None]]),
    ],
)
def test_replies_are_read(raw, reply):
    assert redis_client.decode(io.BytesIO(raw)) == reply


def test_an_error_reply_is_raised_and_known_as_an_answer():
    with pytest.raises(RedisError, match="WRONGPASS") as caught:
        redis_client.decode(io.BytesIO(b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"))
    assert caught.value.answered


@pytest.mark.parametrize("raw", [b"", b"$5\r\nhel", b"+OK", b"*2\r\n$1\r\na\r\n"])
def test_a_connection_that_ends_within_a_reply_is_no_answer(raw):
    with pytest.raises(RedisError, match="closed") as caught:
        redis_client.decode(io.BytesIO(raw))
    assert not caught.value.answered


def test_something_else_than_redis_is_told():
    with pytest.raises(RedisError, match="no reply of Redis"):
        redis_client.decode(io.BytesIO(b"HTTP/1.1 400 Bad Request\r\n"))


def test_words_are_counted_in_bytes():
    assert redis_client.encode(["SET", "ä", 1]) == b"*3\r\n$3\r\nSET\r\n$2\r\n\xc3\xa4\r\n$1\r\n1\r\n"


def test_a_server_that_is_not_there_is_told(free_port=1):
    with pytest.raises(RedisError, match="refused"):
        redis_client.Network(timeout=1).connect("127.0.0.1", free_port)


def test_a_frozen_server_is_given_up_after_the_time_for_connecting():
    with socket.create_server(("127.0.0.1", 0)) as frozen, pytest.raises(RedisError, match=r"within 0\.1 s"):
        redis_client.Network(timeout=60, connect_timeout=0.1).connect(*frozen.getsockname())


def test_a_missing_ca_names_the_file():
    with pytest.raises(RedisError, match="/nonexistent/ca.crt"):
        redis_client.Network(ca_path="/nonexistent/ca.crt")
