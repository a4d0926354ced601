# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host says of itself that other tests do not reach."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.host import info
from ansible_collections.utmstack.ha.plugins.module_utils.topology.releases import releases

NOTHING = {"packages": [], "kernel_settings": [], "texts": [], "private_key": None, "units": [], "patroni_config": None}


@pytest.mark.parametrize(
    ("version", "known"), [("12", releases()["12"]), ("13", releases()["13"]), ("11", {})], ids=["12", "13", "other"]
)
def test_a_host_has_what_is_known_of_its_release(monkeypatch, version, known):
    files = {"/etc/os-release": f'ID=debian\nVERSION_ID="{version}"\n', "/proc/meminfo": "MemTotal: 4096 kB\n"}
    monkeypatch.setattr(info, "read", lambda path: files.get(str(path), ""))
    # Not every account may look at the first process.
    monkeypatch.setattr(info.host, "booted", lambda _proc: "")
    found = info.answer(SimpleNamespace(get_bin_path=lambda _name: None), {**NOTHING, "releases": releases()})
    assert (found["distribution_version"], found["release"]) == (version, known)
