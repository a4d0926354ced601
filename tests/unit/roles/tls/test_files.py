# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What role tls says of certificate files, by the variables of its task."""

from __future__ import annotations

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from role_templates import ROLES

FILES = {"tls_ca_file": "ca.crt", "tls_certificate_file": "host.crt", "tls_private_key_file": "host.key"}


def trusted(value):
    if isinstance(value, dict):
        return {key: trusted(part) for key, part in value.items()}
    return trust_as_template(value) if isinstance(value, str) else value


@pytest.mark.parametrize("absent", [["ca.crt"], ["host.crt", "host.key"], list(FILES.values())], ids=" ".join)
def test_files_that_are_not_there_are_named_and_nothing_is_read(tmp_path, absent):
    task = yaml.safe_load((ROLES / "tls" / "tasks" / "files.yml").read_text())[0]
    variables = {setting: str(tmp_path / name) for setting, name in FILES.items()} | {"tls_names": ["node1"]}
    for name in set(FILES.values()) - set(absent):
        (tmp_path / name).write_text("no certificate")
    templar = Templar(DataLoader(), variables | trusted(task["vars"]))
    found = templar.template(trust_as_template("{{ tls_file_faults }}"))
    assert found == [f'there is no file "{tmp_path / name}" on the controller' for name in absent]
