# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the ledger of a drill is told: the addresses that an application uses, the members, and users of the drill's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...common.values import url

# Role redis, postgresql and elasticsearch make them where ha_drill_allowed is true, with the right to these places only.
POSTGRESQL_USER, SEARCH_USER, REDIS_USER = "utmstack_drill", "utmstack-drill", "drill"
INDEX = "utmstack-drill"
# Transfers that each of the bank's clients may begin in a second. It holds its rows for longer than a slot: about three are made, and it is seldom idle.
BANK_RATE = 8


def ledger_settings(
    topology: Mapping[str, Any],
    secrets: Mapping[str, str],
    run: str,
    rate: float,
    duration_s: float,
    ca: str,
    api: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The settings file of the ledger, with a part for every path that the topology has.

    run: the name of what is written. rate: records a second on each path. ca: where the CA's certificate is on the ledger's host.
    api: the application's requests as drill_api has them; without them its path is left out.
    """
    ports, vip = topology["ports"], topology["virtual_ip"]["address"]
    settings: dict[str, Any] = {"run": run, "rate": rate, "duration_s": duration_s, "ca": ca}
    if topology["postgresql"]["members"]:
        settings["postgresql"] = {
            **topology["postgresql"]["write"],
            "dbname": topology["postgresql"]["databases"][0],
            "user": POSTGRESQL_USER,
            "password": secrets["postgresql_drill_password"],
            "members": _members(topology["postgresql"], ports["postgresql"]),
        }
        bank = settings["postgresql"] | {"rate": min(rate, BANK_RATE)}
        settings |= {"bank": bank, "bank_direct": bank | topology["postgresql"]["direct"]}
    search = topology["elasticsearch"]
    if search["members"]:
        settings["elasticsearch"] = {
            "url": url("https", search["client"]["host"], search["client"]["port"]),
            "username": SEARCH_USER,
            "password": secrets["elasticsearch_drill_password"],
            "index": INDEX,
            "members": {member["name"]: member["url"] for member in search["members"] if member["serves"]},
        }
    if topology["redis"]["members"]:
        password = secrets["redis_drill_password"]
        settings["redis"] = {
            "sentinels": [[member["address"], ports["sentinel"]] for member in topology["sentinel"]["members"]],
            "master_name": topology["redis"]["master_name"],
            "username": REDIS_USER,
            "password": password,
            "sentinel_username": REDIS_USER,
            "sentinel_password": password,
            "members": _members(topology["redis"], ports["redis"]),
        }
    if api and topology["backend"]["members"]:
        settings["api"] = {"url": url("https", vip, ports["https"]), **api}
    return settings


def _members(layer, port):
    return {member["name"]: [member["address"], port] for member in layer["members"]}
