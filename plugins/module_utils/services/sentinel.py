# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Sentinel, which promotes another Redis where the master fails."""

from __future__ import annotations

from .service import Service

SERVICE = Service(
    name="sentinel",
    role="redis",
    layer="sentinel",
    state="redis",
    units=("redis-sentinel.service", "valkey-sentinel.service"),
    restart="restart_sentinel",
    upgrade="upgrade_sentinel",
    drain=False,
    hands_over=(),
    comes_with="redis",
    processes={"sentinel": {"what": "Sentinel"}},
    peers=True,
)
