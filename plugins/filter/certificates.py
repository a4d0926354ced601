# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters of role tls; what they do is in module_utils/common/certificates.py."""

from __future__ import annotations

import functools

from ansible.errors import AnsibleFilterError
from ansible_collections.utmstack.ha.plugins.module_utils.common import certificates


def _told(function):
    @functools.wraps(function)
    def call(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except (certificates.MissingLibrary, ValueError) as error:
            raise AnsibleFilterError(f"{function.__name__}: {error}") from error

    return call


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        """Name to function."""
        names = ("certificate_faults", "foreign_authority", "public_key", "subject_alt_names")
        return {name: _told(getattr(certificates, name)) for name in names}
