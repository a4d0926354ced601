# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A floor for the number of replicas: which templates and indices are below it, and the requests that raise them.

UTMStack makes templates with `number_of_replicas: 0`, so an index dies with the one node that has it. This file needs
nothing but Python's own library, and imports nothing of this collection: it also runs on the hosts, as a program's part.

Templates, in the order of their power when an index is made: composable ones (with their components) win over legacy ones,
of which those with a higher `order` win. A template of our own, legacy with the pattern `*`, makes the floor the rule for
whatever only legacy templates, or none, cover: also for those that the application writes later. Elasticsearch 8 and 9 and
OpenSearch 2 and 3 accept exactly this pattern beside composable templates, which are raised themselves.
"""

from __future__ import annotations

import copy
import fnmatch
from dataclasses import dataclass

# What to read, by GET; the keys are those of `plan`'s `state`. A 404 stands for {}.
READS = {
    "indices": "/_all/_settings?flat_settings=true&expand_wildcards=open,hidden&allow_no_indices=true&filter_path="
    + ",".join(
        f"*.settings.index%5C.{name}"
        for name in ("number_of_replicas", "auto_expand_replicas", "hidden", "store%5C.type", "blocks%5C.*")
    ),
    "legacy": "/_template?flat_settings=true",
    "composable": "/_index_template?flat_settings=true",
    "components": "/_component_template?flat_settings=true",
}

FLOOR = "utmstack-ha-replicas"
HIGHEST = 1_000_000  # UTMStack's own templates, and those of other products, stay far below
REPLICAS, EXPAND = "index.number_of_replicas", "index.auto_expand_replicas"
# What the server keeps of a template beside what was sent.
_KEPT_BY_SERVER = ("created_date", "created_date_millis", "modified_date", "modified_date_millis")


@dataclass(frozen=True)
class Step:
    """One request, and the sentence that says what it does. `before`, `after`: the numbers of replicas, None for unset."""

    method: str
    path: str
    body: dict | None
    subject: str
    before: int | None
    after: int | None

    def __str__(self) -> str:
        if self.after is None:
            return f"{self.subject}: not needed any more"
        was = "" if self.before is None else f" instead of {self.before}"
        return f"{self.subject}: {self.after} replica{'s' * (self.after != 1)}{was}"


def covered(name: str, patterns: list[str]) -> bool:
    """Whether the name is meant. As with files, one that begins with a dot is meant only by a pattern that does."""
    return any(fnmatch.fnmatchcase(name, one) and name.startswith(".") <= one.startswith(".") for one in patterns)


def flat(settings: dict, prefix: str = "") -> dict:
    """Settings with flat names. OpenSearch tells those of composable templates nested even when asked not to."""
    found = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            found.update(flat(value, f"{prefix}{name}."))
        else:
            found[f"{prefix}{name}"] = value
    return found


def number(settings: dict) -> int | None:
    """The number of replicas in flat settings, None where there is none or the server sets it by itself."""
    if str(settings.get(EXPAND, "false")) != "false":
        return None
    value = settings.get(REPLICAS)
    return None if value is None else int(value)


def fixed(settings: dict) -> bool:
    """Whether the settings leave the number alone: the server expands it, or the index is a mounted snapshot."""
    return str(settings.get(EXPAND, "false")) != "false" or settings.get("index.store.type") in _MOUNTED


_MOUNTED = ("snapshot", "remote_snapshot")


def plan_indices(found: dict, minimum: int, patterns: list[str]) -> list[Step]:
    """The indices with too few replicas. Hidden ones, those of the server itself and mounted snapshots stay as they are."""
    steps = []
    for name in sorted(found):
        settings = found[name]["settings"]
        hidden = settings.get("index.hidden") == "true" and not name.startswith(".ds-")
        if hidden or fixed(settings) or not covered(_plain(name), patterns):
            continue
        present = number(settings)
        if present is not None and present < minimum:
            steps.append(Step("PUT", f"/{name}/_settings", {REPLICAS: minimum}, f"index {name}", present, minimum))
    return steps


def _plain(name: str) -> str:
    """The name of an index, of a data stream's the name of that."""
    return name.removeprefix(".ds-") if name.startswith(".ds-") else name


def plan_legacy(found: dict, minimum: int) -> list[Step]:
    """The legacy templates below the floor, and our own one that is the floor."""
    steps = []
    strict = []
    for name in sorted(found):
        if name == FLOOR or name.startswith("."):
            continue
        present = number(found[name].get("settings", {}))
        if present is None:
            continue
        if present > minimum:
            strict.append(found[name].get("order", 0))
        if present < minimum:
            body = copy.deepcopy(found[name])
            body["settings"][REPLICAS] = str(minimum)
            steps.append(Step("PUT", f"/_template/{name}", body, f"template {name}", present, minimum))
    # Above all templates, so that none of the application's later ones goes below; but below those that ask for more.
    order = min([HIGHEST, *(one - 1 for one in strict)])
    own = found.get(FLOOR)
    wanted = {"order": order, "index_patterns": ["*"], "settings": {REPLICAS: str(minimum)}}
    if own is None or {name: own.get(name) for name in wanted} != wanted:
        present = number(own.get("settings", {})) if own else None
        steps.append(Step("PUT", f"/_template/{FLOOR}", wanted, f"template {FLOOR}", present, minimum))
    return steps


def _own(template: dict) -> dict:
    """A template's flat settings."""
    return flat((template.get("template") or {}).get("settings") or {})


def _managed(name: str, template: dict) -> bool:
    """Whether the server, or a product, keeps the template itself and would undo a change."""
    return name.startswith(".") or bool((template.get("_meta") or {}).get("managed"))


def _raised(template: dict, minimum: int) -> dict:
    body = {name: value for name, value in copy.deepcopy(template).items() if name not in _KEPT_BY_SERVER}
    body.setdefault("template", {})["settings"] = {**_own(template), REPLICAS: str(minimum)}
    return body


def plan_composable(found: dict, components: dict, minimum: int) -> list[Step]:
    """The component templates and composable templates below the floor.

    A composable template without a number, whose components have none either, gets the server's default of one replica;
    where the floor is higher it is given the number.
    """
    parts = {one["name"]: one["component_template"] for one in components.get("component_templates", [])}
    steps = []
    for name in sorted(parts):
        present = number(_own(parts[name]))
        if present is not None and present < minimum and not _managed(name, parts[name]):
            body = _raised(parts[name], minimum)
            steps.append(
                Step("PUT", f"/_component_template/{name}", body, f"component template {name}", present, minimum)
            )
    raised = {step.path.rpartition("/")[2] for step in steps}
    for one in sorted(found.get("index_templates", []), key=lambda one: one["name"]):
        name, template = one["name"], one["index_template"]
        if _managed(name, template):
            continue
        # Later components win over earlier ones, and the template's own settings over them all.
        layers = [(part, _own(parts[part])) for part in template.get("composed_of", []) if part in parts]
        layers.append((None, _own(template)))
        merged: dict = {}
        source = None
        for part, settings in layers:
            if REPLICAS in settings:
                source = part
            merged.update(settings)
        if fixed(merged):
            continue
        present = number(merged)
        if (1 if present is None else present) < minimum and (source is None or source not in raised):
            body = _raised(template, minimum)
            steps.append(Step("PUT", f"/_index_template/{name}", body, f"index template {name}", present, minimum))
    return steps


def plan(state: dict, minimum: int, patterns: list[str]) -> list[Step]:
    """All requests that raise what is below the floor, templates first so that no new index slips through.

    state: the answers to READS. minimum: replicas at least; with 0 only our own template goes, since replicas that no node
    can take would leave a cluster of one node yellow. patterns: of indices.
    """
    if minimum < 1:
        own = (state.get("legacy") or {}).get(FLOOR)
        gone = Step(
            "DELETE", f"/_template/{FLOOR}", None, f"template {FLOOR}", number((own or {}).get("settings", {})), None
        )
        return [gone] if own else []
    return [
        *plan_composable(state.get("composable") or {}, state.get("components") or {}, minimum),
        *plan_legacy(state.get("legacy") or {}, minimum),
        *plan_indices(state.get("indices") or {}, minimum, patterns),
    ]


def shown(steps: list[Step], after: bool) -> dict:
    """What the steps change, by subject, for a diff."""
    return {step.subject: step.after if after else step.before for step in steps}
