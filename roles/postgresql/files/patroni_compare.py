#!/usr/bin/python3
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""patroni_compare.py CONFIG: starts Patroni, whose leader takes no leader key that is another's.

Patroni before 3.0.3 writes the key without comparing where its own session has expired. A primary that comes back from a partition
then takes the key from the member that was promoted meanwhile, and both lead (https://github.com/patroni/patroni/pull/2689, 2693).
This writes the key where it is this member's own or is missing, as later ones do, and leaves those alone.
"""

from __future__ import annotations

import sys

COMPARES = (3, 0, 3)


def compares(version: str) -> bool:
    """Whether this version of Patroni compares by itself."""
    return tuple(int(part) for part in version.split(".")[:3]) >= COMPARES


def repair(etcd3) -> None:
    """Have the class Etcd3 of this module of Patroni compare before it writes the leader key."""
    # Logs in again where etcd has forgotten the token, as all of the client's other requests do.
    transaction = etcd3.Etcd3Client._handle_auth_errors(etcd3.Etcd3Client.txn)

    def write(dcs, retry) -> bool:
        key, name = etcd3.base64_encode(dcs.leader_path), etcd3.base64_encode(dcs._name)

        def put(compare: dict) -> bool:
            put = {"request_put": {"key": key, "value": name, "lease": dcs._lease}}
            return bool(transaction(dcs._client, {"key": key, **compare}, put, retry))

        return put({"target": "VALUE", "value": name}) or put({"target": "CREATE", "create_revision": "0"})

    @etcd3.catch_return_false_exception
    def _update_leader(self) -> bool:
        retry = self._retry.copy()

        def patiently(*args, **kwargs):
            return retry(*args, **kwargs, retry=retry)

        self._run_and_handle_exceptions(self._do_refresh_lease, True, retry=patiently)
        leader = self.cluster and self.cluster.leader
        if not self._lease or leader and leader.session == self._lease:
            return bool(self._lease)
        retry.deadline = retry.stoptime - etcd3.time.time()
        if retry.deadline < 1:
            raise etcd3.Etcd3Error("update_leader timeout")
        return self._run_and_handle_exceptions(write, self, retry=patiently)

    etcd3.Etcd3._update_leader = _update_leader


def main() -> None:
    # Imported here: the process that starts PostgreSQL reads this file again.
    from patroni.__main__ import main as patroni
    from patroni.dcs import etcd3
    from patroni.version import __version__

    if not compares(__version__):
        repair(etcd3)
    sys.exit(patroni())


if __name__ == "__main__":
    main()
