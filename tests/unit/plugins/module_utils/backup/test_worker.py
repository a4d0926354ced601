# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Work in a process of its own: its result, its failure, its limit, and that nothing of it is left."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.backup import worker
from ansible_collections.utmstack.ha.plugins.module_utils.common.backup import BackupError
from ansible_collections.utmstack.ha.plugins.module_utils.common.command import run

ME = "root" if os.geteuid() == 0 else os.environ.get("USER", "nobody")


def do(work, limit_s=20.0, account=ME, **more):
    return worker.do(work, account, limit_s, **more)


def alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_the_result_comes_back_from_another_process():
    assert do(lambda: {"pid": os.getpid(), "text": "ä" * 100_000})["pid"] != os.getpid()


@pytest.mark.parametrize(
    ("error", "said", "code"), [(BackupError("no room", 4), "no room", 4), (ValueError("x"), "ValueError: x", 1)]
)
def test_what_goes_wrong_comes_back_with_its_code(error, said, code):
    def work():
        raise error

    with pytest.raises(BackupError) as found:
        do(work)
    assert (found.value.reason, found.value.code) == (said, code)


def test_a_process_that_dies_is_a_failure_with_its_reason():
    with pytest.raises(BackupError, match="ended without a result, by signal 9"):
        do(lambda: os.kill(os.getpid(), signal.SIGKILL))


def test_what_does_not_end_in_time_is_ended_with_all_that_it_started(tmp_path):
    """The program that it started has a process group of its own."""
    note = tmp_path / "pid"
    began = time.monotonic()
    with pytest.raises(BackupError, match="did not end within 1 s"):
        do(lambda: run(["sh", "-c", f"echo $$ > {note}; sleep 60"], 100).rc, limit_s=1.0)
    assert time.monotonic() - began < 9
    assert not alive(int(note.read_text()))


def test_an_account_that_is_not_there_is_told_before_anything_is_done():
    if os.geteuid() != 0:
        pytest.skip("only root becomes another account")
    with pytest.raises(BackupError, match="there is no account nobody-at-all") as found:
        do(lambda: 1, account="nobody-at-all")
    assert found.value.code == 2


def test_root_becomes_the_account_for_good():
    if os.geteuid() != 0:
        pytest.skip("only root becomes another account")
    found = do(lambda: [*os.getresuid(), *os.getresgid(), os.getgroups()], account="nobody")
    assert set(found[:3]) == {65534} and 0 not in found[3:6] and 0 not in found[6]


def test_isolated_work_reaches_nobody():
    """A listener of this very host, on loopback."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "--net", "true"], check=False).returncode:
        pytest.skip("this account can't make a network of its own")
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()

        def reach():
            with socket.socket() as client:
                client.settimeout(2)
                return client.connect_ex(address)

        assert do(reach) == 0
        assert do(reach, isolated=True) != 0
