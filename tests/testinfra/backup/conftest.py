# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the tests of backups share: the platform of scenario backup, deployed and whole, with its backup host."""

from __future__ import annotations

import pytest
from cluster import of_scenario_backup, until


@pytest.fixture(scope="session")
def cluster():
    """Whole, and with its sealed configuration opened, so that status is green."""
    found = of_scenario_backup()
    until(found.whole, 300, "a whole cluster")
    found.open_configuration()
    return found
