# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tags of the command line that choose nothing: Ansible would skip all tasks without a word, or none."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from ..common.text import nearest
from .faults import Findings

# Ansible's own.
SPECIAL = ("all", "always", "never", "tagged", "untagged")


def check_tags(given: Mapping[str, Iterable[str]], known: Iterable[str], ours: bool, found: Findings) -> None:
    """Refuse tags that do not exist. given: option to its tags, --tags for example.

    A playbook that is not `ours` may have tags of its own, and tools skip tags of theirs in whatever they run (Molecule: notest). There
    only what is nearly one of this collection is refused.
    """
    known = set(known)
    for option, tags in given.items():
        for tag in tags:
            if tag in known or tag in SPECIAL:
                continue
            if (ours and option != "--skip-tags") or difflib.get_close_matches(tag.lower(), known, n=1, cutoff=0.7):
                found.refuse(
                    "command line",
                    option,
                    f"has {tag or 'an empty word'}, which is no tag of this collection",
                    nearest(tag, known),
                )
