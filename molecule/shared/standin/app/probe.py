# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The image's health check: whether the replica in this container is ready. Without more than sockets, as it runs often."""

import os
import socket
import ssl
import sys


def main() -> int:
    with socket.create_connection(("127.0.0.1", int(os.environ.get("SERVER_PORT", "8080"))), timeout=2) as line:
        if os.environ.get("SERVER_SSL_ENABLED") == "true":
            # Its certificate is for the host's names, not for this one.
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            line = context.wrap_socket(line)
        line.sendall(b"GET /actuator/health/readiness HTTP/1.0\r\n\r\n")
        answer = line.recv(4096).split(b"\r\n")[0].decode()
    print(answer)
    return 0 if answer.split()[1:2] == ["200"] else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OSError as problem:
        print(problem)
        sys.exit(1)
