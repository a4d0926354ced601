# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host tells of its keepalived."""

from __future__ import annotations

from ansible_collections.utmstack.ha.plugins.module_utils.common.deployed import Files
from ansible_collections.utmstack.ha.plugins.module_utils.vip import deployed
from host_files import ours, write


def test_keepalived_tells_the_virtual_ip(tmp_path):
    write(
        ours(tmp_path, "keepalived"),
        "/etc/keepalived/keepalived.conf",
        "vrrp_instance VIP {\n    virtual_ipaddress {\n        10.0.1.100/24 dev eth0\n    }\n}\n",
    )
    assert deployed.address(Files(tmp_path)) == {"vip": "10.0.1.100"}
