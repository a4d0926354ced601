# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The passwords of all services, as passwords.yml has them."""

from __future__ import annotations

from .registry import SERVICES


def passwords() -> dict[str, str]:
    """Each password with the characters that it must not have."""
    return {name: forbidden for service in SERVICES.values() for name, forbidden in service.passwords.items()}


def kept() -> tuple[str, ...]:
    """Secrets that a service makes by itself; they are kept with the others once they are known."""
    return tuple(name for service in SERVICES.values() for name in service.kept)
