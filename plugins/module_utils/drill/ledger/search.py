# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The drill's way to Elasticsearch or OpenSearch: documents whose ids the server makes, in an index of their own."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

from . import http_client as drill_http
from .path import Path
from .records import Unknown

ANSWER_S = 4.0
READ_BACK_S = 60.0
PAGE = 1000
MAPPINGS = {"properties": {"@timestamp": {"type": "date"}, "number": {"type": "long"}}}


class Search(Path):
    """settings: url, username, password, index (the begin of its name), members name -> url."""

    def __init__(self, settings: dict, run: str, ca: str, network=drill_http.Network):
        self.members = settings.get("members") or {"cluster": settings["url"]}
        self._path = f"/{settings['index']}-{run}"
        headers, to = drill_http.authorization(settings), network(ca)
        self._application = to.connect(settings["url"], headers, settings.get("timeout_s", ANSWER_S))
        self._open = lambda url: to.connect(url, headers, READ_BACK_S)
        self._node, self._term, self._id = "", 0, ""

    def prepare(self) -> None:
        """Make the index, and wait until all its copies are there. Raises Failed or Unknown."""
        connection = self._open(next(iter(self.members.values())))
        path = f"{self._path}?wait_for_active_shards=all&timeout=30s"
        drill_http.accepted(connection.ask("PUT", path, {"mappings": MAPPINGS}))
        connection.close()

    def write(self, number: int) -> str:
        """Index a document; returns the node with the primary shard as last seen. Raises Failed or Unknown."""
        document = {"@timestamp": datetime.datetime.now(datetime.UTC).isoformat(), "number": number}
        reply = self._application.ask("POST", f"{self._path}/_doc", document)
        # The server made the id: what is there already is this document, by a try that the server has repeated by itself.
        if reply.status == 409:
            raise Unknown(str(reply))
        reply = drill_http.accepted(reply)
        if not isinstance(reply.body, dict) or reply.body.get("result") != "created":
            raise Unknown(str(reply))
        self._id = reply.body["_id"]
        # The term rises when another node gets the primary shard. Which one is asked with the next read.
        if reply.body["_primary_term"] != self._term:
            self._term, self._node = reply.body["_primary_term"], ""
        return self._node

    def read(self, number: int) -> bool:
        """Whether the document that was acknowledged last can be had, from whichever copy the server chooses."""
        reply = self._application.ask("GET", f"{self._path}/_doc/{self._id}")
        if reply.status == 404 and isinstance(reply.body, dict) and reply.body.get("found") is False:
            return False
        found = drill_http.accepted(reply).body["_source"]["number"] == number
        self._node = primary(drill_http.accepted(self._application.ask("GET", f"{self._path}/_search_shards")).body)
        return found

    def close(self) -> None:
        """End the connection."""
        self._application.close()

    def settle(self) -> None:
        """Make what was written visible for searches. Raises Failed or Unknown, also where a shard could not do it."""
        connection = self._open(next(iter(self.members.values())))
        reply = drill_http.accepted(connection.ask("POST", f"{self._path}/_refresh"))
        connection.close()
        if reply.body["_shards"]["failed"]:
            raise Unknown(f"a shard was not refreshed: {reply}")

    def present(self, member: str, numbers: Iterator[int]) -> Iterator[tuple[int, int]]:
        """(number, how often it is there) in ascending order, from the member's own copy where it has one.

        Raises Failed or Unknown.
        """
        connection = self._open(self.members[member])
        last = -1
        while True:
            question = {
                "size": 0,
                "query": {"range": {"number": {"gt": last}}},
                "aggs": {"numbers": {"terms": {"field": "number", "size": PAGE, "order": {"_key": "asc"}}}},
            }
            path = f"{self._path}/_search?preference=_local&allow_partial_search_results=false&request_cache=false"
            answer = drill_http.accepted(connection.ask("POST", path, question)).body
            buckets = answer["aggregations"]["numbers"]["buckets"]
            yield from ((bucket["key"], bucket["doc_count"]) for bucket in buckets)
            if len(buckets) < PAGE:
                connection.close()
                return
            last = buckets[-1]["key"]

    def clean(self) -> None:
        """Remove the index."""
        connection = self._open(next(iter(self.members.values())))
        reply = connection.ask("DELETE", self._path)
        connection.close()
        if reply.status != 404:
            drill_http.accepted(reply)


CLIENT = Search


def primary(routing: dict) -> str:
    """The node with the primary shard, of what _search_shards replied; empty where there is none."""
    for shard in routing["shards"][0]:
        if shard["primary"]:
            return routing["nodes"].get(shard["node"], {}).get("name", "")
    return ""
