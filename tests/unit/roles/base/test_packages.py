# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which of Debian's packages a host gets."""

from __future__ import annotations

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from role_templates import ROLES, topology

SEARCH, OTHER = ["node1", "node2", "node3"], "node4"


@pytest.mark.parametrize(
    ("flavor", "host", "wanted"),
    [("opensearch", "node1", True), ("elasticsearch", "node1", False), ("opensearch", OTHER, False)],
)
def test_only_nodes_of_opensearch_get_what_hashes_its_passwords(flavor, host, wanted):
    ha = topology(
        {"elasticsearch": SEARCH, "redis": [*SEARCH[:2], OTHER]},
        host,
        elasticsearch_flavor=flavor,
        elasticsearch_version="9.9.9",
    )
    given = {
        "ha": ha,
        "inventory_hostname": host,
        "base_host": {"distribution_version": "13"},
        "base_extra_packages": [],
    }
    expressions = DataLoader().load_from_file(str(ROLES / "base/vars/main.yml"), trusted_as_template=True)
    packages = Templar(loader=DataLoader(), variables=expressions | given).template(expressions["base_packages"])
    assert ("python3-bcrypt" in packages) == wanted
    assert "openssl" in packages
