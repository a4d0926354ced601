# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One plan of the restores of all stores: for each the moment up to which everything is there, and all that stands in the way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..common.moments import clock
from ..services.registry import backups

# A platform that was made anew takes backups of its own, which are empty. Those of the former one are from before its last commit, as far as
# clocks agree; its witness writes one each minute.
SLACK_S = 120


def before(plans: Mapping[str, Mapping[str, Any]]) -> str:
    """Up to when backups are of the former platform, by the plan of the store that comes back to a moment; empty where none tells one."""
    moments = [one["moment"] for one in plans.values() if one.get("moment") is not None]
    return str(int(moments[0]) + SLACK_S) if moments else ""


def together(plans: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return refusals and lines of one plan. plans: by kind, each with refusals (or faults), lines, and moment (or time)."""
    refusals = [
        f"{_title(kind)}: {said}"
        for kind, one in plans.items()
        for said in (one.get("refusals") or one.get("faults") or [])
    ]
    if not plans:
        refusals.append("There is no store of which backups are kept. Deploy the platform with site.yml first.")
    moments = {kind: _moment(one) for kind, one in plans.items()}
    width = max((len(_title(kind)) for kind in plans), default=0)
    lines = ["Everything is there up to"]
    lines += [f"  {_title(kind):{width}}  {clock(moment) if moment else 'unknown'}" for kind, moment in moments.items()]
    for one in plans.values():
        lines += ["", *one.get("lines", [])]
    return {"refusals": refusals, "lines": lines}


def _title(kind: str) -> str:
    title = backups()[kind].title if kind in backups() else kind
    return title[:1].upper() + title[1:]


def _moment(plan: Mapping[str, Any]) -> float | None:
    return plan.get("moment", plan.get("time")) or None
