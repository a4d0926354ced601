# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a search cluster is, asked of all its nodes."""

from __future__ import annotations

from ..common.info import Question, Unanswered, waiting
from . import client as search_client
from . import cluster as search_cluster
from . import deployed


def answer(_module, given: dict) -> dict:
    try:
        client = search_client.connect(given)
    except search_client.SearchError as error:
        raise Unanswered(str(error)) from error
    return search_cluster.look(
        client,
        given["wait_for"],
        given["wait_timeout"],
        expected=given["expected_nodes"],
        without=given["without"],
        accept=given["accept_status"],
        ignore_settings=given["ignore_settings"],
        settings=given["settings"],
    )


QUESTION = Question(
    {
        **search_client.ARGUMENTS,
        "expected_nodes": {"type": "list", "elements": "str", "default": []},
        "without": {"type": "list", "elements": "str", "default": []},
        "accept_status": {"type": "str", "choices": ["red", "yellow", "green"], "default": "green"},
        "ignore_settings": {"type": "bool", "default": False},
        "settings": {"type": "dict"},
        **waiting("master", "nodes", "yellow", "green", "healthy", seconds=60.0),
    },
    answer,
    search_client.REQUIRED_TOGETHER,
    deployed=deployed.look,
)
