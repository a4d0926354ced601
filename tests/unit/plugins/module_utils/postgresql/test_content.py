# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether users and databases have to be created or changed, by what the one query of role postgresql finds."""

from __future__ import annotations

import copy

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.utmstack.ha.plugins.filter.patroni import postgresql_content_faults
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql.content import differences
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql.scram import verifier

NO_RIGHTS = "NOSUPERUSER,NOCREATEDB,NOCREATEROLE,NOREPLICATION,NOBYPASSRLS"
USERS = [
    {"name": "utmstack", "password": "secret"},
    {"name": "reaper", "password": 1234, "role_attr_flags": NO_RIGHTS},
    {"name": "builder", "password": verifier("third", "builder"), "role_attr_flags": "createdb,NOINHERIT"},
]
MEMBERSHIPS = {"reaper": ["pg_read_all_stats", "pg_signal_backend"]}
DATABASES = [{"name": "utmstack", "owner": "utmstack"}]
# As PostgreSQL 15 answers roles/postgresql/files/content.sql.
FOUND = {
    "users": {
        "utmstack": {"password": verifier("secret", "utmstack"), "flags": ["INHERIT", "LOGIN"]},
        "reaper": {"password": verifier("1234", "reaper"), "flags": ["INHERIT", "LOGIN"]},
        "builder": {"password": verifier("third", "builder"), "flags": ["CREATEDB", "LOGIN"]},
    },
    "members": [
        ["pg_read_all_settings", "pg_monitor"],
        ["pg_read_all_stats", "reaper"],
        ["pg_signal_backend", "reaper"],
    ],
    "databases": {
        "postgres": {"owner": "postgres", "encoding": "UTF8"},
        "utmstack": {"owner": "utmstack", "encoding": "UTF8"},
    },
    "lookup": True,
}
NEW = {
    "users": None,
    "members": None,
    "databases": {"postgres": {"owner": "postgres", "encoding": "UTF8"}},
    "lookup": False,
}


def test_nothing_is_done_where_all_is_as_declared():
    assert differences(FOUND, USERS, MEMBERSHIPS, DATABASES) == []


def test_a_new_cluster_lacks_everything():
    assert differences(NEW, USERS, MEMBERSHIPS, DATABASES) == [
        "user utmstack is missing",
        "user reaper is missing",
        "user builder is missing",
        "user reaper is no member of pg_read_all_stats",
        "user reaper is no member of pg_signal_backend",
        "database utmstack is missing, or has another owner or encoding",
    ]


@pytest.mark.parametrize(
    ("where", "value", "told"),
    [
        (("users", "utmstack", "password"), None, "user utmstack has another password"),
        (("users", "utmstack", "password"), verifier("old", "utmstack"), "user utmstack has another password"),
        # The same password by other salt is set anew, as community.postgresql.postgresql_user does.
        (("users", "utmstack", "password"), verifier("secret", "other"), "user utmstack has another password"),
        (("users", "reaper", "flags"), ["INHERIT", "LOGIN", "SUPERUSER"], "user reaper has other attributes"),
        (("users", "reaper", "flags"), ["LOGIN", "BYPASSRLS"], "user reaper has other attributes"),
        (("users", "builder", "flags"), ["LOGIN"], "user builder has other attributes"),
        (("users", "builder", "flags"), ["CREATEDB", "INHERIT", "LOGIN"], "user builder has other attributes"),
        (("members",), [["pg_read_all_stats", "reaper"]], "user reaper is no member of pg_signal_backend"),
        (
            ("databases", "utmstack", "owner"),
            "postgres",
            "database utmstack is missing, or has another owner or encoding",
        ),
        (
            ("databases", "utmstack", "encoding"),
            "LATIN1",
            "database utmstack is missing, or has another owner or encoding",
        ),
    ],
)
def test_each_difference_is_found_and_told_without_a_password(where, value, told):
    found = copy.deepcopy(FOUND)
    place = found
    for key in where[:-1]:
        place = place[key]
    place[where[-1]] = value
    assert differences(found, USERS, MEMBERSHIPS, DATABASES) == [told]


def test_an_attribute_that_is_not_declared_is_left_alone():
    found = copy.deepcopy(FOUND)
    found["users"]["utmstack"]["flags"] = ["LOGIN", "CREATEDB", "CREATEROLE"]
    assert differences(found, USERS, MEMBERSHIPS, DATABASES) == []


@pytest.mark.parametrize("flags", ["NOLOGINS", "SUPER", "NO"])
def test_an_unknown_attribute_is_left_to_the_module_that_refuses_it(flags):
    users = [{**USERS[0], "role_attr_flags": flags}]
    assert differences(FOUND, users, {}, []) == ["user utmstack has other attributes"]


def test_a_password_that_the_backend_changes_is_left_to_it():
    found = copy.deepcopy(FOUND)
    found["users"]["utmstack"]["password"] = verifier("old", "utmstack")
    assert differences(found, USERS, MEMBERSHIPS, DATABASES, kept="utmstack") == []
    del found["users"]["utmstack"]
    assert differences(found, USERS, MEMBERSHIPS, DATABASES, kept="utmstack") == ["user utmstack is missing"]


def test_an_answer_of_another_query_is_refused():
    with pytest.raises(AnsibleFilterError, match="postgresql_content_faults wants what"):
        postgresql_content_faults({}, USERS, {}, [])
