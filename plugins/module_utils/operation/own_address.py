# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether an address is one of this machine's."""

from __future__ import annotations

import socket


def is_own(address: str) -> bool:
    """Return whether this machine has the address.

    To an address of its own the kernel connects from that very address. Binding would tell less: load balancers may bind any
    (ip_nonlocal_bind). Connecting a datagram socket sends nothing.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
            return probe.getsockname()[0] == address
    except OSError:
        return False
