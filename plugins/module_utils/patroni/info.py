# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a PostgreSQL cluster is, as Patroni tells."""

from __future__ import annotations

from ..common.info import Question, Unanswered, waiting
from . import client as patroni_client
from . import deployed
from . import operations as patroni_operations


def answer(_module, given: dict) -> dict:
    wanted = {
        "expected": given["expected_members"],
        "maximum_lag": given["maximum_lag_bytes"],
        "without": given["without"],
    }
    try:
        client = patroni_client.connect(given)
        if given["wait_for"] == "nothing":
            return patroni_operations.read_status(client, **wanted)
        return patroni_operations.wait_for_status(client, given["wait_for"], given["wait_timeout"], **wanted)
    except patroni_client.PatroniError as error:
        raise Unanswered(str(error), **error.facts) from error


QUESTION = Question(
    {
        **patroni_client.ARGUMENTS,
        "expected_members": {"type": "list", "elements": "str", "default": []},
        "without": {"type": "list", "elements": "str", "default": []},
        "maximum_lag_bytes": {"type": "int"},
        **waiting("leader", "healthy"),
    },
    answer,
    patroni_client.REQUIRED_TOGETHER,
    deployed=deployed.look,
)
