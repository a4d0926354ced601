# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What Patroni keeps in etcd, changed while no Patroni runs: when one runs, its REST API is the way.

Patroni's documentation of major upgrades says to remove its key `initialize`, which has the number of the old data, or all keys. All
but the configuration it is here: who led, who confirmed writes and how far they were is that of data which are left behind.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

from .etcd import Client, EtcdError

CONFIG = "config"


def plan(keys: Mapping[str, str], reset: bool) -> dict:
    """What to change: {delete: names of keys, config: the new text of the configuration, or None where it stays}.

    keys: name to text, names without what they have in common. reset: whether all but the configuration goes. That Patroni is paused
    stands in the configuration, and ends in any case. Raises EtcdError where there is no configuration, as there is with any cluster.
    """
    try:
        config = json.loads(keys[CONFIG])
    except (KeyError, ValueError) as error:
        raise EtcdError(
            "Patroni's configuration is not in etcd. Is this the right scope, and has the cluster ever run?"
        ) from error
    paused = config.pop("pause", None) is not None
    return {
        "delete": sorted(set(keys) - {CONFIG}) if reset else [],
        "config": json.dumps(config, separators=(",", ":")) if paused else None,
    }


def change(client: Client, prefix: str, reset: bool, check_mode: bool = False) -> dict:
    """Make the change of plan() in one transaction; prefix: what all keys begin with, such as /service/utmstack/. Raises EtcdError."""
    span = {"key": _wire(prefix), "range_end": _wire(prefix[:-1] + chr(ord(prefix[-1]) + 1))}
    found = _call(client, "/v3/kv/range", span).get("kvs", [])
    names = {base64.b64decode(entry["key"]).decode().removeprefix(prefix): entry for entry in found}
    keys = {name: base64.b64decode(entry.get("value", "")).decode() for name, entry in names.items()}
    due = plan(keys, reset)
    result = {
        "changed": bool(due["delete"] or due["config"] is not None),
        "deleted": due["delete"],
        "resumed": due["config"] is not None,
    }
    if check_mode or not result["changed"]:
        return result
    actions = [{"request_delete_range": {"key": names[name]["key"]}} for name in due["delete"]]
    if due["config"] is not None:
        actions.append({"request_put": {"key": names[CONFIG]["key"], "value": _wire(due["config"])}})
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
