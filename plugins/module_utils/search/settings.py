# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Settings of a search cluster and of its repositories and indices, as the server keeps them: flat names, values as text."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, field


def stored(value: object) -> str | list[str] | None:
    """A value as the server keeps it: booleans, numbers and text as text, lists of such, null for none."""
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return [str(stored(one)) for one in value]
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def flat(settings: dict, prefix: str = "") -> dict[str, str | list[str] | None]:
    """Nested or flat settings (or a mixture) with flat names and stored values."""
    found = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            found.update(flat(value, f"{prefix}{name}."))
        else:
            found[f"{prefix}{name}"] = stored(value)
    return found


def same(one: str | list[str] | None, other: str | list[str] | None) -> bool:
    """Whether two stored values mean the same: a list may also be written as text with commas."""
    return _words(one) == _words(other) if isinstance(one, list) or isinstance(other, list) else one == other


def _words(value: str | list[str] | None) -> list[str]:
    if isinstance(value, str):
        return [word.strip() for word in value.split(",")] if value else []
    return value or []


@dataclass(frozen=True)
class Change:
    """What to send: flat names and values, null to reset."""

    persistent: dict = field(default_factory=dict)
    transient: dict = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.persistent or self.transient)

    @property
    def body(self) -> dict:
        """The body of PUT _cluster/settings."""
        return {
            kind: values for kind, values in (("persistent", self.persistent), ("transient", self.transient)) if values
        }


def plan(current: dict[str, dict], wanted: dict) -> Change:
    """Which settings to change so that `wanted` (flat, null to reset, also with `*` in the name) is what counts.

    current: flat settings, by `persistent` and `transient`. Transient values win over persistent ones, so those of the
    wanted names are reset.
    """
    persistent, transient = {}, {}
    for name, value in wanted.items():
        kept = fnmatch.filter(current["persistent"], name) if value is None else [name]
        for one in kept:
            if not same(current["persistent"].get(one), value):
                persistent[one] = value
        for one in fnmatch.filter(current["transient"], name) if "*" in name else [name]:
            if one in current["transient"]:
                transient[one] = None
    return Change(persistent, transient)


def applied(current: dict[str, dict], change: Change) -> dict[str, dict]:
    """The settings after the change."""
    after = {}
    for kind, changes in (("persistent", change.persistent), ("transient", change.transient)):
        values = {**current[kind], **changes}
        after[kind] = {name: value for name, value in values.items() if value is not None}
    return after


def remedy(reason: str) -> str:
    """What to do about the server's reason for refusing cluster settings, or ''."""
    if "not recognized" in reason:
        return " Is the name right, also for this version, and is the plugin there that it belongs to?"
    if "not dynamically updateable" in reason:
        return (
            " It belongs into the configuration file of the nodes (elasticsearch_settings), and counts after a restart."
        )
    return ""
