# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the clients of etcd, Patroni and the search engine share: their modules' arguments and the way to open a verified URL."""

from __future__ import annotations

import http.client
import ssl
import urllib.error
import urllib.request

# Documented in doc_fragments/https.py.
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


def sender(ca_path: str | None = None, client_cert: str | None = None, client_key: str | None = None):
    """A function (method, url, headers, body, timeout in s) -> (status, text) which raises OSError when there was no answer.

    Certificates as in `opener`.
    """
    open_url = opener(ca_path, client_cert, client_key)

    def send(method, url, headers, body, timeout):
        request = urllib.request.Request(url, data=body, headers=headers, method=method)
        try:
            with open_url(request, timeout) as response:
                return response.status, response.read().decode(errors="replace")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode(errors="replace")
        except http.client.HTTPException as error:
            raise OSError(f"the answer broke off ({type(error).__name__} {error})") from error

    return send
