# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The faults and scenarios that role drill brings along."""

from __future__ import annotations

from pathlib import Path

import yaml

ROLE = Path(__file__).resolve().parents[3] / "roles" / "drill"
CATALOGUE = yaml.safe_load((ROLE / "vars/main/faults.yml").read_text())["drill_faults"]
SCENARIOS = {path.stem: yaml.safe_load(path.read_text()) for path in (ROLE / "files/scenarios").glob("*.yml")}
NODES = ["node1", "node2", "node3"]
