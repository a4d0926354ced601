# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""In which order hosts are taken, one at a time."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping


def order(
    hosts: Iterable[str],
    ill: Container[str] = (),
    leads: Mapping[str, int] | None = None,
    late: Mapping[str, int] | None = None,
) -> list[str]:
    """Return the hosts in the order of their turns.

    First those that are `ill`, since their turn is what repairs them, and no other may go away meanwhile. Then the less they lead the
    earlier, and of those that lead as much the less depends on them otherwise. Equals keep the order of `hosts`.
    leads, late: by host, 0 where it is not there.
    """
    leads, late = leads or {}, late or {}
    return sorted(hosts, key=lambda host: (host not in ill, leads.get(host, 0), late.get(host, 0)))
