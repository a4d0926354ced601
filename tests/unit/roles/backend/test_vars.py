# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the variables of role backend come to."""

from __future__ import annotations

import pytest
from role_templates import topology
from role_vars import variable

PASSWORDS = {
    "postgresql_application_password": "of the database",
    "elasticsearch_application_password": "of the search engine",
    "redis_application_password": "of Redis",
    "backend_internal_key": "internal",
    "backend_encryption_key": "encryption",
}
SECRETS = {
    "DB_PASS": "of the database",
    "ELASTICSEARCH_PASS": "of the search engine",
    "REDIS_PASSWORD": "of Redis",
    "INTERNAL_KEY": "internal",
    "ENCRYPTION_KEY": "encryption",
}


@pytest.mark.parametrize(
    ("role", "name", "own"),
    [
        ("backend", "backend_all_secrets", {}),
        ("backend", "backend_all_secrets", {"MAIL_PASSWORD": "of mail", "DB_PASS": "another"}),
        ("base", "base_given_backend_secrets", {"DB_PASS": "another"}),
    ],
)
def test_the_application_gets_each_services_password_by_its_own_names_and_the_users_secrets(role, name, own):
    known = {"ha": topology({"swarm_managers": ["node1"]}, "node1"), "ha_secrets": PASSWORDS, "backend_secrets": own}
    found = variable(role, name, **known)
    assert found == SECRETS | own
    assert list(found) == list(SECRETS | own)
