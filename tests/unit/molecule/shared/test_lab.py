"""An archive that answers with an error once does not end a lab's start."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[4] / "molecule/shared"))
import lab  # noqa: E402


def attempts(failures: int):
    made = []

    def attempt():
        made.append(1)
        if len(made) <= failures:
            raise lab.LabError("503 Service Unavailable")
        return len(made)

    return attempt


def test_a_fetch_is_made_again_after_an_error(capsys):
    assert lab.fetched(attempts(2), pauses=(0, 0, 0)) == 3
    assert capsys.readouterr().out.count("Again in 0 s, since: 503 Service Unavailable") == 2


def test_an_archive_that_never_answers_is_told():
    with pytest.raises(lab.LabError, match="503"):
        lab.fetched(attempts(9), pauses=(0, 0, 0))


def test_only_hosts_of_the_lab_are_destroyed(monkeypatch):
    made = lab.Lab()
    asked = []
    monkeypatch.setattr(lab, "states", lambda _lab: {"node1": "running", "node2": "absent", "node3": "exited"})
    monkeypatch.setattr(lab, "hang_up", lambda _lab, _host: None)
    monkeypatch.setattr(lab, "docker", lambda *words, **_options: asked.append(words))
    lab.destroy_hosts(made, "node1", "node2")
    assert asked == [("rm", "--force", "--volumes", made.container("node1"))]
    with pytest.raises(lab.LabError, match="backup9 is not a host of lab"):
        lab.destroy_hosts(made, "node1", "backup9")
    with pytest.raises(lab.LabError, match="needs the names of hosts"):
        lab.destroy_hosts(made)
    assert len(asked) == 1
