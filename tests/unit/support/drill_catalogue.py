# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The faults that a drill knows, and the scenarios that its role brings along."""

from __future__ import annotations

from pathlib import Path

import yaml
from ansible_collections.utmstack.ha.plugins.module_utils.drill.scenario.catalogue import catalogue

ROLE = Path(__file__).resolve().parents[3] / "roles" / "drill"
CATALOGUE = catalogue()
SCENARIOS = yaml.safe_load((ROLE / "vars/main/scenarios.yml").read_text())["drill_scenarios"]
NODES = ["node1", "node2", "node3"]
