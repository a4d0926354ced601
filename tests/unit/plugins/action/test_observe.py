# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Several questions in one process, by real runs of ansible against this machine and against a host that is not there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.utmstack.ha.plugins.module_utils.common import info as question
from ansible_collections.utmstack.ha.plugins.module_utils.operation.infos import QUESTIONS
from ansible_collections.utmstack.ha.plugins.modules import observe

ROOT = Path(__file__).resolve().parents[4]
SECRET = "not-to-be-seen-anywhere"  # noqa: S105
NOWHERE = {"endpoints": ["https://127.0.0.1:1"], "ca_path": "/none", "username": "root", "password": SECRET}


def ask(questions, *arguments):
    """What one host answers, and all that ansible printed."""
    done = subprocess.run(
        [
            Path(sys.executable).parent / "ansible", "all", "-m", "utmstack.ha.observe",
            "-a", json.dumps({"questions": questions}), "-e", f"ansible_python_interpreter={sys.executable}", *arguments,
        ],
        cwd=ROOT, env=os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    # ansible warns of a collection around the place where it is started.
    return done.returncode, done.stderr + done.stdout


def test_each_is_answered_whatever_becomes_of_the_others_and_secrets_are_shown_nowhere():
    questions = {
        "vip": {"utmstack.ha.vip_info": {"address": "192.0.2.1", "probe_seconds": 0}},
        "haproxy": {"utmstack.ha.haproxy_info": {"socket": "/none"}},
        "etcd": {"utmstack.ha.etcd_info": NOWHERE},
        "none": {"utmstack.ha.vip_info": None},
    }
    code, printed = ask(questions, "-i", "here,", "-c", "local", "-vvv")
    assert code == 0, printed
    answers = yaml.safe_load(printed.partition("here | SUCCESS => \n")[2])["answers"]
    assert (answers["vip"]["address"], answers["vip"]["held"]) == ("192.0.2.1", False)
    assert answers["haproxy"] == {
        "failed": True, "msg": "HAProxy does not answer on /none: No such file or directory"
    }  # fmt: skip
    assert answers["etcd"]["healthy"] is False
    assert answers["none"] == {"failed": True, "msg": "missing required arguments: address"}
    assert SECRET not in printed


def test_a_host_that_is_not_there_is_an_answer():
    code, printed = ask({"host": {"utmstack.ha.host_info": {}}}, "-i", "127.0.0.1,", "-e", "ansible_port=1")
    assert code == 0, printed
    assert "reachable: false" in printed
    # With pipelining, the answer of ssh may come only after the module was written to it.
    assert re.search("Connection refused|Broken pipe", printed), printed


def test_a_host_that_is_there_but_can_run_nothing_is_an_answer_to_each_question():
    questions = {"host": {"utmstack.ha.host_info": {}}, "haproxy": {"utmstack.ha.haproxy_info": {}}}
    code, printed = ask(questions, "-i", "here,", "-c", "local", "-e", "ansible_python_interpreter=/bin/false")
    assert code == 0, printed
    seen = yaml.safe_load(printed.partition("here | SUCCESS => \n")[2])
    assert seen["reachable"] is True
    assert {name: answer["failed"] for name, answer in seen["answers"].items()} == {"host": True, "haproxy": True}
    assert all(answer["msg"] for answer in seen["answers"].values())


@pytest.mark.parametrize("asked", [{"ansible.builtin.ping": {}}, {}, {name: {} for name in list(QUESTIONS)[:2]}])
def test_what_can_not_be_asked_is_refused_by_name(asked):
    code, printed = ask({"mine": asked}, "-i", "here,", "-c", "local")
    assert code != 0
    assert "question mine must name exactly one of utmstack.ha.backup_info, utmstack.ha.elasticsearch_health" in printed


def test_a_defect_in_one_costs_no_other(monkeypatch, capsys):
    def broken(_module, _given):
        raise ZeroDivisionError("by hand")

    monkeypatch.setitem(QUESTIONS, "utmstack.ha.host_info", question.Question({}, broken))
    vip = {"address": "192.0.2.1", "probe_seconds": 0}
    questions = {"host": {"utmstack.ha.host_info": {}}, "vip": {"utmstack.ha.vip_info": vip}}
    with patch_module_args({"questions": questions}), pytest.raises(SystemExit):
        observe.main()
    answers = json.loads(capsys.readouterr().out)["answers"]
    assert answers["host"] == {"failed": True, "msg": "ZeroDivisionError: by hand"}
    assert answers["vip"]["held"] is False
