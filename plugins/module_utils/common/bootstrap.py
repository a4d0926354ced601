# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the members of a cluster do that nobody leads, so that there is never a second cluster and no data is lost."""

from __future__ import annotations


def without_leader(members: list, facts: dict, unit: str, leaderless: str, lost: str, all_start: bool = False) -> dict:
    """Form a cluster where there has never been one, else start what there is, else say why nothing may be done.

    members: names of all of the inventory. facts: by name of each host in this run {data, running, restart, forming: what
    it was started with to form a cluster that has not been seen to work, else something false}. leaderless: what is wrong.
    lost: what to do where most members are gone for good. all_start: whether those without data start beside the others.
    Returns {form, start, restart, refusal, begun: with what the cluster was begun that those in `form` complete, or None}.
    """
    unseen = [name for name in members if name not in facts]
    empty = [name for name in members if name in facts and not facts[name]["data"]]
    kept = [name for name in members if name in facts and facts[name]["data"]]
    begun = [facts[name]["forming"] for name in kept]
    plan = {"form": [], "refusal": "", "begun": None}
    plan["start"] = [name for name in kept if not facts[name]["running"]]
    plan["restart"] = [name for name in kept if facts[name]["running"] and facts[name]["restart"]]
    if not kept and not unseen:
        plan["form"] = empty
    elif not kept:
        plan["refusal"] = (
            f"{leaderless}, none of {', '.join(empty)} has data, and {', '.join(unseen)} cannot be looked at. A new "
            "cluster is formed only when all members are known to be empty, as there must never be two. "
            f"Run without --limit, with {', '.join(unseen)} up."
        )
    elif all(begun) and begun.count(begun[0]) == len(begun):
        # An earlier run died while it formed the cluster: nobody has ever led, so those that are missing may begin.
        plan |= {"form": empty, "begun": begun[0]}
    else:
        plan["start"] += [name for name in empty if all_start and not facts[name]["running"]]
        if not plan["start"] and not plan["restart"]:
            plan["refusal"] = (
                f"{leaderless}. {unit} runs with data on {', '.join(kept)}"
                + (f", there is no data on {', '.join(empty)}" if empty else "")
                + (f", and nothing is known of {', '.join(unseen)}" if unseen else "")
                + ". Nothing is done, as a new cluster would throw this data away. Bring back hosts that have data until "
                f"more than half of the members that vote run; `journalctl -u {unit}` on {kept[0]} says what they wait "
                f"for. If most of these are lost for good, {lost}."
            )
    return plan
