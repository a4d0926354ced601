# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What Patroni keeps in etcd, changed while no Patroni runs: when one runs, its REST API is the way.

Patroni's documentation of major upgrades says to remove its key `initialize`, which has the number of the old data, or all keys. Here
that key gets the number of the data that shall lead, so that a Patroni with other data, started by whatever accident, ends itself.
Of the others the configuration stays; who led, who confirmed writes and how far they were is that of data which are left behind.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

from ..etcd.client import Client, EtcdError

CONFIG, INITIALIZE = "config", "initialize"


def plan(keys: Mapping[str, str], identifier: str = "") -> dict:
    """What to change: {delete: names of keys, put: name to text}.

    keys: name to text, names without what they have in common. identifier: the number of the data that shall lead; without one nothing
    is forgotten. That Patroni is paused stands in the configuration, and ends in any case. Raises EtcdError where there is no
    configuration, as there is with any cluster.
    """
    try:
        config = json.loads(keys[CONFIG])
    except (KeyError, ValueError) as error:
        raise EtcdError(
            "Patroni's configuration is not in etcd. Is this the right scope, and has the cluster ever run?"
        ) from error
    put = {}
    if config.pop("pause", None) is not None:
        put[CONFIG] = json.dumps(config, separators=(",", ":"))
    if identifier and keys.get(INITIALIZE) != identifier:
        put[INITIALIZE] = identifier
    return {"delete": sorted(set(keys) - {CONFIG, INITIALIZE}) if identifier else [], "put": put}


def change(client: Client, prefix: str, identifier: str = "", check_mode: bool = False) -> dict:
    """Make the change of plan() in one transaction; prefix: what all keys begin with, such as /service/utmstack/. Raises EtcdError."""
    span = {"key": _wire(prefix), "range_end": _wire(prefix[:-1] + chr(ord(prefix[-1]) + 1))}
    found = _call(client, "/v3/kv/range", span).get("kvs", [])
    names = {base64.b64decode(entry["key"]).decode().removeprefix(prefix): entry for entry in found}
    keys = {name: base64.b64decode(entry.get("value", "")).decode() for name, entry in names.items()}
    due = plan(keys, identifier)
    result = {
        "changed": bool(due["delete"] or due["put"]),
        "deleted": due["delete"],
        "resumed": CONFIG in due["put"],
    }
    if check_mode or not result["changed"]:
        return result
    actions = [{"request_delete_range": {"key": names[name]["key"]}} for name in due["delete"]]
    actions += [
        {"request_put": {"key": _wire(prefix + name), "value": _wire(text)}} for name, text in due["put"].items()
    ]
    same = {"key": names[CONFIG]["key"], "target": "MOD", "mod_revision": names[CONFIG]["mod_revision"]}
    if not _call(client, "/v3/kv/txn", {"compare": [same], "success": actions}).get("succeeded"):
        raise EtcdError("Patroni's configuration was changed by somebody else at the same time. Start again")
    return result


def _call(client, path, body):
    """The reply of the first member that gives one. Raises EtcdError with what each of them said."""
    failures = []
    for endpoint in client.endpoints:
        try:
            client.log_in(endpoint)
            return client.call(endpoint, path, body)
        except EtcdError as error:
            failures.append(f"{endpoint}: {error}")
    raise EtcdError("; ".join(failures))


def _wire(text):
    return base64.b64encode(text.encode()).decode()
