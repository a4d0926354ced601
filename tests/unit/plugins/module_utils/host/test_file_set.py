# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import getpass
import grp
import json
import os

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.utmstack.ha.plugins.module_utils.host import file_set
from ansible_collections.utmstack.ha.plugins.modules import file_set as module

ME, MY_GROUP = getpass.getuser(), grp.getgrgid(os.getgid()).gr_name


def run(capsys, files, check=False, **options):
    """Run the module as Ansible does; returns its answer."""
    entries = [{"owner": ME, "group": MY_GROUP, **entry} for entry in files]
    arguments = {"files": entries, "_ansible_check_mode": check, "_ansible_diff": True, **options}
    with patch_module_args(arguments), pytest.raises(SystemExit):
        module.main()
    return json.loads(capsys.readouterr().out)


def test_files_are_written_once_with_their_parents_and_modes(tmp_path, capsys):
    target = tmp_path / "etc" / "deep" / "service.conf"
    files = [{"path": str(target), "content": "a\n", "mode": "0640"}]
    assert run(capsys, files)["changed_paths"] == [str(target)]
    assert target.read_text() == "a\n"
    assert target.stat().st_mode & 0o7777 == 0o640
    assert run(capsys, files)["changed"] is False


def test_check_mode_reports_the_change_on_a_bare_host_and_leaves_it_bare(tmp_path, capsys):
    target = tmp_path / "absent" / "service.conf"
    entry = {"path": str(target), "content": "a\n", "owner": "nobody-has-this-name", "group": "nor-this"}
    answer = run(capsys, [entry], check=True, validate=[["/no/such/program", str(target)]])
    assert answer["changed"] is True
    assert answer["diff"][0]["after"] == "a\n"
    assert not target.parent.exists()


def test_no_judged_file_is_written_when_they_are_refused_together(tmp_path, capsys):
    one, two, script = tmp_path / "one", tmp_path / "two", tmp_path / "script"
    one.write_text("old one\n")
    answer = run(
        capsys,
        [
            {"path": str(one), "content": "new one\n"},
            {"path": str(two), "content": "bad two\n"},
            {"path": str(script), "content": "exit\n"},
        ],
        validate=[
            ["/bin/grep", "new", str(one)],
            ["/bin/sh", "-c", 'cat "$1" "$2"; ! grep bad "$2"', "sh", str(one), str(two)],
        ],
    )
    assert answer["failed"] is True
    assert answer["msg"].startswith(f"{one}, {two} not written: ")
    assert answer["msg"].endswith("(rc 1): new one\nbad two\nbad two")
    assert one.read_text() == "old one\n"
    assert not two.exists()
    assert script.exists(), "what no command names may be needed by the judgement"


def test_unchanged_files_are_judged_where_they_are(tmp_path, capsys):
    one, two = tmp_path / "one", tmp_path / "two"
    files = [{"path": str(one), "content": "one\n"}, {"path": str(two), "content": "two\n"}]
    run(capsys, files)
    files[1]["content"] = "two again\n"
    answer = run(
        capsys, files, validate=[["/bin/grep", "-q", "^one$", str(one)], ["/bin/grep", "-q", "again", str(two)]]
    )
    assert answer["changed_paths"] == [str(two)]


def test_a_change_of_mode_alone_is_made_without_judging(tmp_path, capsys):
    target = tmp_path / "script"
    target.write_text("x")
    target.chmod(0o600)
    answer = run(capsys, [{"path": str(target), "content": "x", "mode": "0755"}], validate=[["/bin/false"]])
    assert answer["changed"] is True
    assert "mode: 0600 -> 0755" in answer["diff"][0]["prepared"]
    assert target.stat().st_mode & 0o777 == 0o755


def test_a_secret_is_in_no_part_of_the_answer(tmp_path, capsys):
    target = tmp_path / "credentials"
    answer = run(capsys, [{"path": str(target), "secret_content": "password hunter2hunter2\n"}])
    assert answer["changed"] is True
    assert "hunter2" not in json.dumps(answer)
    assert target.read_text() == "password hunter2hunter2\n"


@pytest.mark.parametrize(
    ("entry", "mode"),
    [
        ({"content": "a\n"}, 0o644),
        ({"secret_content": "a\n"}, 0o600),
        ({"secret_content": "a\n", "mode": "0640"}, 0o640),
    ],
)
def test_a_file_with_a_secret_is_its_owners_where_no_mode_is_given(entry, mode, tmp_path, capsys):
    target = tmp_path / "credentials"
    run(capsys, [{"path": str(target), **entry}])
    assert target.stat().st_mode & 0o7777 == mode


def test_directories_get_their_modes(tmp_path, capsys):
    hooks = tmp_path / "hooks.d"
    directory = {"path": str(hooks), "mode": "0700", "owner": ME, "group": MY_GROUP}
    assert run(capsys, [], directories=[directory])["changed_paths"] == [str(hooks)]
    assert hooks.stat().st_mode & 0o777 == 0o700
    assert run(capsys, [], directories=[directory])["changed"] is False


def test_a_link_keeps_pointing_to_the_file(tmp_path, capsys):
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("old")
    link.symlink_to(real)
    run(capsys, [{"path": str(link), "content": "new"}])
    assert link.is_symlink()
    assert real.read_text() == "new"


@pytest.mark.parametrize("text", ["u=rw", "0999", "77777", ""])
def test_a_mode_that_is_none_is_refused(text):
    with pytest.raises(ValueError):
        file_set.mode_of(text)


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("etcd3.hosts.2 10.0.1.13:2379 didn't pass validation: '10.0.1.13:2379 is not reachable'", "written"),
        ("etcd3.hosts.2 is not reachable\nname is missing", "refused"),
        ("", "refused"),
    ],
)
def test_a_failure_that_says_nothing_but_what_is_tolerated_is_none(tmp_path, capsys, said, code):
    target, script = tmp_path / "config", tmp_path / "judge"
    script.write_text(f"#!/bin/sh\ncat <<'.'\n{said}\n.\nexit 1\n")
    script.chmod(0o755)
    answer = run(
        capsys,
        [{"path": str(target), "content": "x"}],
        validate=[[str(script), str(target)]],
        tolerate=[r"etcd3\.hosts\.\d+ .*is not reachable"],
    )
    assert target.exists() == (code == "written")
    assert answer.get("failed", False) == (code == "refused")


def test_what_the_files_take_the_place_of_goes_when_they_are_there(tmp_path, capsys):
    former, link, new = tmp_path / "former", tmp_path / "link", tmp_path / "new"
    (former / "deep").mkdir(parents=True)
    (former / "deep" / "file").write_text("x")
    link.symlink_to(former)
    files, absent = [{"path": str(new), "content": "new\n"}], [str(link), str(former), str(tmp_path / "never")]
    assert run(capsys, files, check=True, absent=absent)["changed_paths"] == [str(new), str(link), str(former)]
    assert former.exists()
    refused = run(capsys, files, absent=absent, validate=[["/bin/false", str(new)]])
    assert refused["failed"] is True
    assert former.exists() and link.exists()
    answer = run(capsys, files, absent=absent)
    assert answer["changed_paths"] == [str(new), str(link), str(former)]
    assert answer["diff"][1] == {"prepared": f"{link} (removed)\n"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new"]
    assert run(capsys, files, absent=absent)["changed"] is False
