# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filter over what hosts get of the collection's Python."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.utmstack.ha.plugins.filter.programs import program_files


def test_a_folder_that_there_is_not_is_told():
    with pytest.raises(AnsibleFilterError, match="there is no folder 'redist'"):
        program_files("redist")
