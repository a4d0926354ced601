#!/usr/bin/python3
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""patroni_dcs_check.py SECONDS: restarts a Patroni that has not reached etcd for so long although etcd lets its user in.

Patroni 4.0 can lose its token while etcd is slow; each request then has none, and Debian's etcd refuses it with words by which Patroni
does not see that it must log in again. A timer runs this. SIGKILL leaves PostgreSQL running, and the Patroni that systemd starts takes
it up. Where etcd lets nobody in, it is etcd that needs help, and nothing is done.
"""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import yaml

CONFIG = Path("/etc/patroni/config.yml")
UNIT = "patroni.service"
TIMEOUT_S = 3

# (URL, body or None) to the decoded answer; raises OSError or ValueError where there is none.
Ask = Callable[[str, "dict | None"], dict]


def opener(config: dict) -> Ask:
    """Ask as Patroni does: with the certificates of its configuration."""
    etcd = config["etcd3"]
    context = ssl.create_default_context(cafile=etcd["cacert"])
    context.load_cert_chain(etcd["cert"], etcd["key"])
    director = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )

    def ask(url: str, body: dict | None) -> dict:
        data = None if body is None else json.dumps(body).encode()
        with director.open(urllib.request.Request(url, data), timeout=TIMEOUT_S) as answer:
            return json.load(answer)

    return ask


def last_seen(config: dict, ask: Ask) -> float | None:
    """When Patroni reached etcd last, in seconds since 1970; None where it does not say."""
    try:
        return ask(f"https://{config['restapi']['connect_address']}/patroni", None).get("dcs_last_seen")
    except (OSError, ValueError):
        return None


def lets_in(config: dict, ask: Ask) -> bool:
    """Whether a member of etcd gives Patroni's user a token, for which most of its members have to agree."""
    etcd = config["etcd3"]
    for host in etcd["hosts"]:
        try:
            login = {"name": etcd["username"], "password": etcd["password"]}
            if ask(f"https://{host}/v3/auth/authenticate", login).get("token"):
                return True
        except (OSError, ValueError):
            continue
    return False


def is_stuck(config: dict, started: float, now: float, limit: float, ask: Ask) -> bool:
    """Whether Patroni, which started then, has not reached etcd for `limit` seconds while etcd lets its user in."""
    seen = last_seen(config, ask)
    return seen is not None and now - max(seen, started) > limit and lets_in(config, ask)


def started() -> float | None:
    """When Patroni's process started, in seconds since 1970; None where it does not run."""
    show = ["systemctl", "show", "--timestamp=unix", "-P", "ExecMainStartTimestamp", UNIT]
    active = subprocess.run(["systemctl", "is-active", "--quiet", UNIT], check=False).returncode == 0
    printed = subprocess.run(show, check=True, capture_output=True, text=True).stdout.strip().lstrip("@")
    return float(printed) if active and printed else None


def main() -> None:
    limit, since = float(sys.argv[1]), started()
    config = yaml.safe_load(CONFIG.read_text())
    if since is None or not is_stuck(config, since, time.time(), limit, opener(config)):
        return
    print(
        f"Patroni has not reached etcd for over {limit:.0f} s, and etcd lets its user in: restarting Patroni, PostgreSQL goes on"
    )
    subprocess.run(["systemctl", "kill", "--kill-whom=main", "--signal=KILL", UNIT], check=True)


if __name__ == "__main__":
    main()
