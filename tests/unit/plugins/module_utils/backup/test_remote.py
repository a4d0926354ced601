# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What rclone says of a remote that can't be used becomes one sentence with the setting to look at. Recorded: rclone 1.60.1 with versitygw 1.8.0."""

from __future__ import annotations

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.backup import remote
from ansible_collections.utmstack.ha.plugins.module_utils.common.command import Result

LISTING = "2026/11/30 22:20:00 ERROR : : error listing: "
LAST = "\n2026/11/30 22:20:00 Failed to lsf with 2 errors: last error was: error in ListJSON"
SAID = {
    "ca": f'{LISTING}RequestError: send request failed\ncaused by: Get "https://localhost:9443/backups": x509: certificate signed by unknown authority',
    "credentials": f"{LISTING}SignatureDoesNotMatch: The request signature we calculated does not match the signature you provided.",
    "key": f"{LISTING}InvalidAccessKeyId: The AWS Access Key Id you provided does not exist in our records.",
    "place": f"{LISTING}directory not found",
    "region": f'{LISTING}AuthorizationHeaderMalformed: The authorization header is malformed; the region "eu-1" is wrong; expecting "us-east-1"',
    "away": f'{LISTING}RequestError: send request failed\ncaused by: Get "https://localhost:9444/backups": dial tcp 127.0.0.1:9444: connect:'
    " connection refused",
}  # fmt: skip


@pytest.mark.parametrize(
    ("case", "s3", "what", "setting"),
    [
        ("ca", True, "is not trusted", "backup_s3_ca_file"),
        ("ca", False, "is not trusted", "backup_remote_ca_file"),
        ("credentials", True, "refuses these credentials", "backup_s3_key and backup_s3_secret"),
        ("key", False, "refuses these credentials", "backup_remote and backup_remote_secrets"),
        ("place", True, "has no such bucket", "backup_s3_bucket"),
        ("place", False, "has no such place", "backup_remote_path"),
        ("region", True, "in another region", "backup_s3_region"),
        ("away", True, "can't be used", "backup_s3_endpoint"),
        ("away", False, "can't be used", "backup_remote"),
    ],
)
def test_what_is_wrong_is_said_with_its_cause_and_the_setting(case, s3, what, setting):
    told = remote.said(Result(1, "", SAID[case] + LAST, 1.0))
    assert told.startswith("error listing: ") and ("caused by" in told) is ("caused by" in SAID[case])
    found, remedy = remote.explain(told, {"s3": s3})
    assert what in found and setting in remedy


def test_nothing_but_the_directory_of_a_backup_is_removed():
    found = remote.Remote({"base": "copies/demo/backup1", "title": "far", "passphrase": "x"})
    for path in ("", "/", "files/redis/../.."):
        with pytest.raises(remote.BackupError, match="is no directory of a backup"):
            found.remove(remote.ENCRYPTED, path)
