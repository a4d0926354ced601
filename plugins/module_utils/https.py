# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the clients of etcd and of Patroni share: the arguments of their modules and the way to open a verified URL."""

from __future__ import annotations

import ssl
import urllib.request

# Documented in doc_fragments/etcd.py and doc_fragments/patroni.py.
ARGUMENTS = {
    "ca_path": {"type": "path"},
    "client_cert": {"type": "path"},
    "client_key": {"type": "path"},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "timeout": {"type": "float", "default": 5.0},
}
REQUIRED_TOGETHER = [("client_cert", "client_key"), ("username", "password")]


def opener(ca_path: str | None, client_cert: str | None, client_key: str | None):
    """A function (request, timeout in s) -> response which trusts only that CA and shows that certificate.

    Without `ca_path` the system's CAs are trusted. Proxies of the environment are not used. Raises OSError, with the names
    of the files, where one can't be used.
    """
    try:
        context = ssl.create_default_context(cafile=ca_path)
        if client_cert:
            context.load_cert_chain(client_cert, client_key)
    except OSError as error:
        names = ", ".join(name for name in (ca_path, client_cert, client_key) if name)
        raise OSError(f"The certificates in {names} cannot be used: {error}") from error
    director = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    return lambda request, timeout: director.open(request, timeout=timeout)
