# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import json

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.utmstack.ha.plugins.module_utils.search import node as elasticsearch_node
from ansible_collections.utmstack.ha.plugins.module_utils.search import password_hash
from ansible_collections.utmstack.ha.plugins.modules import opensearch_internal_users

# Debian's package on hosts; `make .venv` installs it for these tests.
with_bcrypt = pytest.mark.skipif(password_hash.bcrypt is None, reason="needs bcrypt, see requirements-dev.txt")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ((), False),
        (("tmp/x",), False),
        (("_state/node-0.st",), True),  # Elasticsearch 8
        (("nodes/0/_state/node-0.st",), True),  # OpenSearch 2
    ],
)
def test_data_is_what_a_node_has_written_its_state_to(tmp_path, files, expected):
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("")
    assert elasticsearch_node.has_data(str(tmp_path)) is expected


def test_no_directory_is_no_data(tmp_path):
    assert elasticsearch_node.has_data(str(tmp_path / "none")) is False


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, []),
        ("-Ecluster.initial_master_nodes=a,b,c\n", ["a", "b", "c"]),
        ("-Ecluster.initial_cluster_manager_nodes=a\n", ["a"]),
        ("-Eother=1\n", []),
    ],
)
def test_the_options_of_the_first_start_tell_who_forms_the_cluster(tmp_path, text, expected):
    path = tmp_path / "first-boot"
    if text is not None:
        path.write_text(text)
    assert elasticsearch_node.initial_masters(str(path)) == expected


@pytest.mark.parametrize(
    ("ram_mb", "share", "expected"),
    [(3072, 8 / 24, 512), (3000, 8 / 24, 448), (32768, 0.5, 8192), (32101, 0.5, 8000), (262144, 1, 30720)],
)
def test_the_heap_is_half_of_the_share_and_at_most_30_gib(ram_mb, share, expected):
    assert elasticsearch_node.heap_mb(ram_mb, share) == expected


@pytest.mark.parametrize(("ram_mb", "share", "words"), [(1024, 0.25, "at least 256 MiB"), (4096, 0, "share is 0")])
def test_a_heap_too_small_to_run_on_is_refused(ram_mb, share, words):
    with pytest.raises(ValueError, match=words):
        elasticsearch_node.heap_mb(ram_mb, share)


@with_bcrypt
def test_bcrypt_makes_hashes_that_fit_their_password_only():
    made = password_hash.make("correct horse", cost=4)
    assert made.startswith("$2y$04$")
    assert password_hash.verify("correct horse", made)
    assert not password_hash.verify("wrong horse", made)
    assert not password_hash.verify("x", "plain text")
    assert password_hash.make("correct horse", cost=4) != made


@with_bcrypt
def test_bcrypt_knows_hashes_of_others():
    # From the test vectors of OpenBSD's bcrypt, as jBCrypt publishes them.
    assert password_hash.verify("abc", "$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i")
    # What this collection wrote by the system's libcrypt.
    assert password_hash.verify("correct horse", "$2y$04$1v/rAJsI/6pMQQngb888nuE.LhCfY5FzDCSjWa3bYaSTgbTsoJpJq")


@with_bcrypt
def test_bcrypt_refuses_what_it_would_cut_off():
    with pytest.raises(ValueError, match="72 bytes"):
        password_hash.make("x" * 73)


@with_bcrypt
def test_a_second_run_keeps_the_hash_that_fits(monkeypatch):
    monkeypatch.setattr(password_hash.make, "__defaults__", (4,))
    users = [{"name": "admin", "password": "one", "backend_roles": ["admin"]}]
    first = opensearch_internal_users.wanted_users({}, users)
    assert opensearch_internal_users.wanted_users(first, users) == first
    changed = opensearch_internal_users.wanted_users(first, [{**users[0], "password": "two"}])
    assert changed["admin"]["hash"] != first["admin"]["hash"]


@pytest.mark.parametrize(
    ("check", "said"), [(False, "run playbooks/base.yml before"), (True, "nobody knows whether")], ids=["run", "check"]
)
def test_a_host_without_bcrypt_is_told_what_installs_it_and_a_dry_run_goes_on(
    monkeypatch, capsys, tmp_path, check, said
):
    monkeypatch.setattr(password_hash, "bcrypt", None)
    users = [{"name": "admin", "password": "one"}]
    given = {"path": str(tmp_path / "internal_users.yml"), "users": users, "_ansible_check_mode": check}
    with patch_module_args(given), pytest.raises(SystemExit):
        opensearch_internal_users.main()
    result = json.loads(capsys.readouterr().out)
    assert said in result["msg"]
    assert (result.get("failed", False), result.get("skipped", False)) == (not check, check)
