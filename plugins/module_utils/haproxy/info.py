# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How HAProxy is, asked of its runtime socket."""

from __future__ import annotations

from ..common.info import Question, Unanswered
from . import deployed
from . import runtime as haproxy


def answer(_module, given: dict) -> dict:
    path, wanted = given["socket"], given["backends"]
    try:
        info, stat, states = haproxy.split_answers(haproxy.ask(path, haproxy.INFO_AND_STAT, given["timeout"]))
    except OSError as error:
        raise Unanswered(f"HAProxy does not answer on {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise Unanswered(str(error)) from error
    process = haproxy.process(haproxy.parse_info(info))
    frontends, backends = haproxy.summarise(haproxy.parse_stat(stat), haproxy.parse_states(states))
    if wanted is not None:
        backends = [backend for backend in backends if backend["name"] in wanted]
    return {"version": process["version"], "process": process, "frontends": frontends, "backends": backends}


QUESTION = Question(
    {
        "socket": {"type": "path", "default": "/run/haproxy/admin.sock"},
        "backends": {"type": "list", "elements": "str"},
        "timeout": {"type": "float", "default": 3},
    },
    answer,
    deployed=deployed.look,
)
