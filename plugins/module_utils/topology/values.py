# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether a value is what an argument spec asks for. Text is read as a boolean or a number: `-e name=value` has nothing else."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ..common.text import nearest
from ..common.values import number

# What the filter `bool` of Ansible reads without a complaint.
WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
WHOLE = re.compile(r"[+-]?[0-9]+")
SECRET = re.compile(r"password|secret|key")


class Trouble(NamedTuple):
    """One thing that is wrong with a setting. path: what to add to the setting's name, for example [0].name."""

    path: str
    problem: str
    remedy: str


def boolean(value: Any) -> bool | None:
    """Return value as true or false, also from text, or None."""
    if isinstance(value, (bool, int)):
        return bool(value) if value in (0, 1) else None
    return WORDS.get(value.strip().lower()) if isinstance(value, str) else None


def troubles(name: str, option: Mapping[str, Any], value: Any, path: str = "") -> Iterator[Trouble]:
    """Yield what is wrong with the value of a setting, by its argument spec `option`. Secrets are not shown."""
    kind = option.get("type", "str")
    shown = _shown(value, option.get("no_log") or SECRET.search(path))
    if kind == "raw":
        return
    if value is None:
        yield Trouble(path, "has no value", _remedy(name, option, path) + ", or take the line out")
    elif kind == "list":
        if isinstance(value, (list, tuple)):
            entry = {**option, "type": option.get("elements", "raw")}
            for index, item in enumerate(value):
                yield from troubles(name, entry, item, f"{path}[{index}]")
        else:
            yield Trouble(path, f"is {shown}, no list", _remedy(name, option, path))
    elif kind == "dict":
        if isinstance(value, Mapping):
            yield from _keys(name, option.get("options"), value, path)
        else:
            yield Trouble(path, f"is {shown}, no mapping", _remedy(name, option, path))
    elif not _fits(kind, value):
        yield Trouble(path, f"is {shown}", _remedy(name, option, path))
    elif "choices" in option and str(value) not in map(str, option["choices"]):
        words = [str(choice) for choice in option["choices"]]
        yield Trouble(path, f"is {shown}, which is not one of {', '.join(words)}", nearest(str(value), words))


def _fits(kind: str, value: Any) -> bool:
    if kind == "bool":
        return boolean(value) is not None
    if kind == "int":
        return isinstance(number(value), int) and (not isinstance(value, str) or bool(WHOLE.fullmatch(value.strip())))
    if kind == "float":
        try:
            return not isinstance(value, bool) and isinstance(value, (int, float, str)) and math.isfinite(float(value))
        except (ValueError, OverflowError):
            return False
    # str and path: a number has only one way to be written, and a version such as 8.19 is one to YAML.
    return isinstance(value, (str, int, float)) and not isinstance(value, bool)


def _keys(
    name: str, options: Mapping[str, Mapping[str, Any]] | None, value: Mapping[str, Any], path: str
) -> Iterator[Trouble]:
    """Yield what is wrong with the keys of a mapping whose keys are known."""
    for key in (options or {}).keys() - value.keys():
        if options[key].get("required"):
            yield Trouble(f"{path}.{key}", "is missing", _remedy(key, options[key], ""))
    for key, item in value.items() if options else ():
        if key in options:
            yield from troubles(key, options[key], item, f"{path}.{key}")
        else:
            yield Trouble(f"{path}.{key}", "is unknown", nearest(str(key), options))


def _remedy(name: str, option: Mapping[str, Any], path: str) -> str:
    kind = option.get("type", "str")
    if "choices" in option and kind not in ("list", "dict"):
        # YAML makes booleans of off, on, no and yes without quotes.
        return f"Set one of {', '.join(map(str, option['choices']))}, in quotes"
    if kind in ("list", "dict"):
        example = {"list": "[…, …]", "dict": "{name: value}"}[kind]
        json = {"list": "[…, …]", "dict": '{"name": "value"}'}[kind]
        return (
            f"Write it like {name}: {example}"
            if path
            else f"Write it like {name}: {example}, or -e '{{\"{name}\": {json}}}'"
        )
    return {
        "bool": "Set true or false",
        "int": "Set a whole number",
        "float": "Set a number",
        "path": "Set a path",
    }.get(kind, "Set a text, in quotes")


def _shown(value: Any, secret: Any) -> str:
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    if secret:
        return "a secret that is not shown"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
