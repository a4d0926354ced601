# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Addresses, ports and certificates of servers on loopback addresses."""

from __future__ import annotations

import socket
import subprocess
import time

THREE = ["node1", "node2", "node3"]
VIP = "127.0.0.100"
PASSWORD = "Correct-Horse!Battery%Staple"


def free(count):
    """Ports that are free on all of our addresses."""
    held = [socket.create_server(("0.0.0.0", 0)) for _unused in range(count)]
    numbers = [listener.getsockname()[1] for listener in held]
    for listener in held:
        listener.close()
    return numbers


def make_certificates(directory):
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)

    # What Python 3.13 wants of a chain.
    usage, identifiers = (
        "keyUsage=critical,keyCertSign,cRLSign",
        "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid",
    )
    openssl("req", "-x509", *key, "-subj", "/CN=ca", "-addext", usage, "-keyout", "ca.key", "-out", "ca.crt")
    for name in THREE:
        (directory / "names").write_text(f"subjectAltName=DNS:{name}\n{identifiers}\n")
        openssl("req", *key, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", "request")
        signed = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names"]
        openssl("x509", "-req", "-in", "request", *signed, "-out", f"{name}.crt")


def eventually(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not come within 10 s"
        time.sleep(0.02)
