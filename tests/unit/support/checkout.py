# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where the collection is: in a checkout, below links, or in the directories that ansible-test insists on."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
IS_CHECKOUT = ROOT.parents[1].name != "ansible_collections"
COLLECTIONS = ROOT / "collections" if IS_CHECKOUT else ROOT.parents[2]
