# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Lets the tests import the collection from a plain checkout."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent / "support"))

from checkout import COLLECTIONS  # noqa: E402

sys.path.insert(0, str(COLLECTIONS))

# Ansible's own finder makes `ansible_collections.utmstack.ha` importable, namespace packages and all.
from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder  # noqa: E402

_AnsibleCollectionFinder(paths=[str(COLLECTIONS)])._install()


@pytest.fixture(autouse=True)
def _no_new_secrets(monkeypatch):
    """From ansible-core 2.22 on a module hands its secrets to the controller, which masks them; tests look for them in all the rest."""
    try:
        from ansible.module_utils._internal._secrets import NewSecretTracker
    except ImportError:
        return
    monkeypatch.setattr(NewSecretTracker, "flush", lambda _tracker: frozenset())
