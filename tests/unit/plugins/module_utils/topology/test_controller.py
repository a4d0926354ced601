# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A job of AWX does not make secrets that are deleted with it."""

from __future__ import annotations

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.services.passwords import passwords
from ansible_collections.utmstack.ha.plugins.module_utils.topology.controller import check_job
from ansible_collections.utmstack.ha.plugins.module_utils.topology.faults import Findings

DIRECTORIES = ["/runner/project", "/runner/inventory"]
BESIDE = {"ha_secrets_dir": "/runner/inventory/.secrets"}
JOB = {**BESIDE, "awx_job_id": 17}
PASSWORDS = passwords()
ALL = dict.fromkeys(PASSWORDS, "Given-by-the-user-1")
ALL_BUT_TWO = {name: "Given-by-the-user-1" for name in list(PASSWORDS)[2:]}
FILES = {"files"}
OURS = {"local_ca"}


def told(variables, sources, *there):
    found = Findings()
    check_job(
        variables, DIRECTORIES, sources, found,
        lambda path: str(path) in {f"/runner/inventory/.secrets/{name}" for name in there},
    )  # fmt: skip
    return "\n".join(map(str, found.faults))


@pytest.mark.parametrize(
    ("variables", "sources", "what"),
    [
        (JOB, OURS, f"{len(PASSWORDS)} passwords and a certificate authority"),
        ({**BESIDE, "tower_job_id": 17}, FILES, f"{len(PASSWORDS)} passwords"),
        ({**JOB, **ALL_BUT_TWO}, FILES, "2 passwords"),
        ({**JOB, **ALL}, OURS, "a certificate authority"),
        ({**JOB, **ALL}, OURS | FILES, "a certificate authority"),
        ({**JOB, **ALL, "redis_admin_password": ""}, FILES, "1 password"),
        ({**JOB, **ALL_BUT_TWO, "ha_secrets_dir": "/runner/inventory/secrets"}, FILES, "2 passwords"),
        ({**JOB, **ALL_BUT_TWO, "ha_secrets_dir": "/runner/project/a/b"}, FILES, "2 passwords"),
    ],
)
def test_what_a_job_would_make_and_lose_is_refused_with_both_remedies(variables, sources, what):
    text = told(variables, sources)
    assert (
        text.startswith("group all: ha_secrets_dir leads to /runner/")
        and f": this job would make {what}, which are deleted" in text
    )
    assert "Point it to a directory" in text and "tls_source: files" in text and "docs/controller.md" in text


@pytest.mark.parametrize(
    ("variables", "sources", "there"),
    [
        (BESIDE, OURS, ()),  # no job
        ({**JOB, "ha_secrets_dir": "/srv/secrets"}, OURS, ()),
        ({**JOB, "ha_secrets_dir": "/runner/project-secrets"}, OURS, ()),
        ({**JOB, "ha_secrets_dir": ""}, OURS, ()),
        ({**JOB, **ALL}, FILES, ()),
        (JOB, OURS, ("passwords.yml", "ca.key")),  # a project that brings them along
        (JOB, FILES, ("passwords.yml",)),
    ],
)
def test_a_job_that_makes_nothing_or_keeps_it_may_run(variables, sources, there):
    assert told(variables, sources, *there) == ""
