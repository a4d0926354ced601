# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Versions, what dpkg and apt print, and the package manager of a host, whose commands are answered by a stand-in."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.host import packages

FIXTURES = Path(__file__).parents[3] / "fixtures" / "packages"


# Each was compared with `dpkg --compare-versions` 1.22.
@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("3.5.16-4", "3.5.16-10"),
        ("3.5.9-1", "3.5.16-1"),
        ("7.0-1", "5:6.0-1"),
        ("4.0.7-3~deb13u1", "4.0.7-3"),
        ("3.0.11-1", "3.0.11-1+deb13u5"),
        ("3.0.11-1+deb13u5", "3.0.11-1+deb13u5+lab1"),
        ("1.7.24~ds1-6", "1.7.24-1"),
        ("1.0~rc1", "1.0"),
        ("1.0", "1.0-1"),
        ("1.0a", "1.0+b"),
        ("26.1.5+dfsg1-9", "26.1.5+dfsg1-9+b1"),
        ("2.3.3-1", "1:2.3.1-1"),
    ],
)
def test_versions_are_ordered_as_dpkg_orders_them(older, newer):
    assert packages.compare(older, newer) == -1
    assert packages.compare(newer, older) == 1
    assert packages.compare(newer, newer) == 0


@pytest.mark.parametrize(
    ("left", "right"), [("1.0", "1.00"), ("0:1.0-1", "1.0-1"), ("1.0", "1.0-0"), ("1.01-1", "1.1-1")]
)
def test_versions_may_be_equal_and_written_differently(left, right):
    assert packages.compare(left, right) == 0


@pytest.mark.parametrize(
    ("version", "upstream", "numbers"),
    [
        ("5:8.0.2-3+deb13u3", "8.0.2", (8, 0, 2)),
        ("26.1.5+dfsg1-9+deb13u1+b1", "26.1.5", (26, 1, 5)),
        ("1.7.24~ds1-6", "1.7.24", (1, 7, 24)),
        ("17.12-0+deb13u1", "17.12", (17, 12)),
        ("3.5.16", "3.5.16", (3, 5, 16)),
    ],
)
def test_the_projects_own_version_is_found_in_debians(version, upstream, numbers):
    assert (packages.upstream(version), packages.numbers(version)) == (upstream, numbers)


def test_a_version_is_meant_by_its_full_name_or_by_the_projects():
    offered = ["3.5.16-4", "3.5.17-1", "3.5.17-2"]
    assert packages.choose(offered, "3.5.17-1") == "3.5.17-1"
    assert packages.choose(offered, "3.5.17") == "3.5.17-2"
    assert packages.choose(offered, "3.5.1") is None
    assert packages.newest([]) is None


def test_a_version_that_only_this_host_has_is_not_offered():
    said = (FIXTURES / "apt_3.0.4_policy.txt").read_text()
    found = packages.parse_policy(said)
    assert found["haproxy"] == {
        "candidate": "3.0.11-1+deb13u5",
        "offered": ["3.0.11-1+deb13u5", "3.0.11-1+deb13u4"],
    }
    assert found["redis-server"]["offered"] == ["5:8.0.2-3+deb13u3"]
    without = packages.parse_policy(
        said.replace("500 http://deb.debian.org/debian trixie/main amd64 Packages\n        ", "")
    )
    assert without["etcd-server"] == {"candidate": "3.5.16-4", "offered": []}


def test_a_package_is_described_by_host_and_repository_and_an_unknown_one_left_out():
    query = packages.parse_query(
        "hold installed 3.5.16-4 etcd-server\ndeinstall config-files 1.0 old\nunknown not-installed  never\n"
    )
    policy = packages.parse_policy((FIXTURES / "apt_3.0.4_policy.txt").read_text())
    found = packages.describe(["etcd-server", "valkey-server", "old", "nosuch"], query, policy)
    assert found == {
        "etcd-server": {
            "installed": "3.5.16-4", "status": "installed", "held": True, "candidate": "3.5.16-4", "offered": ["3.5.16-4"],
        },
        "valkey-server": {
            "installed": None, "status": "not-installed", "held": False, "candidate": "8.1.1+dfsg1-3+deb13u3",
            "offered": ["8.1.1+dfsg1-3+deb13u3"],
        },
    }  # fmt: skip


class Host:
    """Answers commands as a host with one package would; `fails` answers apt-get before that, one entry for each call."""

    def __init__(self, held=True, fails=()):
        self.version, self.held, self.commands, self.fails, self.slept = "3.5.16-4", held, [], list(fails), 0

    def run(self, command, text=None):
        self.commands.append(command)
        if command[0] == "dpkg-query":
            return 0, f"{'hold' if self.held else 'install'} installed {self.version} etcd-server\n", ""
        if command[:2] == ["dpkg", "--set-selections"]:
            assert text == "etcd-server hold\n"
            self.held = True
        if command[:2] == ["apt-cache", "show"]:
            return 0, "Package: etcd-server\nInstalled-Size: 41931\nSize: 9\n", ""
        if command[0] == "apt-get":
            if self.fails:
                return 100, "", self.fails.pop(0)
            if "--download-only" not in command:
                self.version, self.held = command[-1].partition("=")[2], False
            return 0, "Need to get 12 MB of archives.\n", ""
        return 0, "", ""

    def sleep(self, seconds):
        self.slept += seconds

    def manager(self, seconds=5):
        return packages.Packages(self.run, seconds, self.sleep)


@pytest.mark.parametrize("held", [True, False])
def test_a_held_package_is_upgraded_and_stays_held_and_a_free_one_stays_free(held):
    host = Host(held=held)
    host.manager().install({"etcd-server": "3.5.17-1"})
    assert (host.version, host.held) == ("3.5.17-1", held)


def test_an_upgrade_removes_nothing_and_keeps_the_hosts_files():
    host = Host()
    host.manager().install({"etcd-server": "3.5.17-1"})
    command = next(command for command in host.commands if command[0] == "apt-get")
    assert {"--no-remove", "--no-install-recommends", "Dpkg::Options::=--force-confold", "etcd-server=3.5.17-1"} <= set(
        command
    )


def test_a_disk_that_is_too_small_is_told_before_anything_is_fetched():
    host = Host()
    with pytest.raises(packages.PackageError, match="need up to 40 MiB below /usr, where 39 MiB are free"):
        host.manager().fetch({"etcd-server": "3.5.17-1"}, free_kib=40000)
    assert not [command for command in host.commands if command[0] == "apt-get"]
    assert host.manager().fetch({"etcd-server": "3.5.17-1"}, free_kib=50000) is True


def test_archives_that_can_not_be_had_are_told_with_what_apt_says():
    host = Host(fails=["E: You don't have enough free space in /var/cache/apt/archives/.\n"])
    with pytest.raises(
        packages.PackageError, match="nothing was installed: E: You don't have enough free space in /var/cache"
    ):
        host.manager().fetch({"etcd-server": "3.5.17-1"}, free_kib=50000)


def test_another_process_that_has_the_package_manager_is_waited_for():
    lock = "E: Could not get lock /var/cache/apt/archives/lock. It is held by process 12 (apt-get)"
    host = Host(fails=[lock, lock])
    host.manager().fetch({"etcd-server": "3.5.17-1"}, free_kib=50000)
    assert host.slept == 2


def test_a_package_manager_that_never_gets_free_is_given_up():
    host = Host(fails=["E: Unable to lock directory /var/lib/apt/lists/"] * 9)
    with pytest.raises(packages.PackageError, match="tried for 5 s"):
        host.manager().refresh()


def test_any_other_failure_is_told_at_once():
    host = Host(fails=["E: Version '3.5.17-1' for 'etcd-server' was not found"])
    with pytest.raises(packages.PackageError, match="was not found"):
        host.manager().install({"etcd-server": "3.5.17-1"})
    assert host.slept == 0


def alone(policy, seconds=0, sleep=time.sleep):
    """With a lock that lies beside the directory of the policy, not in it."""
    lock = policy.parent.with_name(f"{policy.parent.name}.lock")
    return packages.services_left_alone(seconds, policy, lock, sleep)


def test_nothing_restarts_services_while_packages_change(tmp_path):
    policy = tmp_path / "policy-rc.d"
    with alone(policy):
        assert policy.read_text() == packages.POLICY_TEXT
        assert policy.stat().st_mode & 0o777 == 0o755
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("died", [False, True])
def test_a_policy_of_the_hosts_own_comes_back_even_after_a_run_that_died(tmp_path, died):
    policy = tmp_path / "policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 0\n")
    if died:
        policy.rename(tmp_path / "policy-rc.d.utmstack-ha")
        policy.write_text(packages.POLICY_TEXT)
    with pytest.raises(ZeroDivisionError), alone(policy):
        raise ZeroDivisionError
    assert policy.read_text() == "#!/bin/sh\nexit 0\n"
    assert list(tmp_path.iterdir()) == [policy]


def test_a_policy_that_a_run_left_behind_is_seen_and_goes(tmp_path):
    policy = tmp_path / "policy-rc.d"
    assert not packages.left_over(policy)
    policy.write_text("#!/bin/sh\nexit 101\n")
    assert not packages.left_over(policy), "the host's own"
    policy.write_text(packages.POLICY_TEXT)
    assert packages.left_over(policy)
    with alone(policy):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_died_between_putting_the_hosts_own_policy_away_and_writing_ours_is_seen(tmp_path):
    policy, aside = tmp_path / "policy-rc.d", tmp_path / "policy-rc.d.utmstack-ha"
    aside.write_text("#!/bin/sh\nexit 0\n")
    assert packages.left_over(policy)
    with alone(policy):
        pass
    assert policy.read_text() == "#!/bin/sh\nexit 0\n"
    assert list(tmp_path.iterdir()) == [policy]


def test_what_somebody_has_put_in_the_place_of_the_policy_stays(tmp_path):
    policy = tmp_path / "policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 0\n")
    with alone(policy) as died:
        policy.write_text("#!/bin/sh\nexit 1\n")
    assert not died
    assert policy.read_text() == "#!/bin/sh\nexit 1\n"
    assert list(tmp_path.iterdir()) == [policy]


def test_a_run_waits_for_one_that_was_killed_on_the_controller_and_is_still_at_work(tmp_path):
    """Both side by side, the first would give the host's own policy back under the second, which would then remove it."""
    policy = tmp_path / "policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 0\n")
    first = alone(policy)
    first.__enter__()
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 3:
            first.__exit__(None, None, None)

    with alone(policy, 5, sleep) as died:
        assert not died, "the first has ended properly"
        assert policy.read_text() == packages.POLICY_TEXT
    assert slept == [1, 1, 1]
    assert policy.read_text() == "#!/bin/sh\nexit 0\n"
    assert list(tmp_path.iterdir()) == [policy]


def test_a_run_that_is_still_at_work_after_that_time_is_told_and_nothing_is_touched(tmp_path):
    policy = tmp_path / "policy-rc.d"
    with (
        alone(policy),
        pytest.raises(packages.PackageError, match="Another run still changes packages on this host, after 2 s"),
        alone(policy, 2, lambda _seconds: None),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


class Broken:
    """A host whose power went while dpkg worked. audit: what `dpkg --audit` says until something finishes it."""

    def __init__(self, audit="", pending="", finished_by="dpkg --configure", fails=()):
        self.audit, self.pending, self.finished_by, self.fails = audit, pending, finished_by, list(fails)
        self.ran = []

    def run(self, command, text=None):
        words = " ".join(
            word
            for word in command
            if word in ("apt-get", "dpkg", "find", "update", "clean", "install") or word[:4] in ("--co", "--fi", "--au")
        )
        self.ran.append(words)
        if words == "dpkg --audit":
            return 0, self.audit, ""
        if self.fails and words == self.fails[0][0]:
            return 1, "", self.fails.pop(0)[1]
        said = self.pending if words == "dpkg --configure" else ""
        if words == self.finished_by:
            self.audit = self.pending = ""
        return 0, said, ""

    def manager(self):
        return packages.Packages(self.run, 1, lambda _seconds: None)


def test_packages_that_were_unpacked_are_set_up_and_nothing_else_happens():
    host = Broken(audit="etcd-server is not configured", pending="Setting up etcd-server ...")
    assert host.manager().repair() is True
    assert host.ran == ["dpkg --configure", "dpkg --audit"]
    assert host.manager().repair() is False


@pytest.mark.parametrize("fails", [[], [("dpkg --configure", "dependency problems - leaving unconfigured")]])
def test_packages_that_are_half_unpacked_are_fetched_anew_and_unpacked_again(fails):
    host = Broken(audit="patroni is half installed", finished_by="apt-get install --fix-broken", fails=fails)
    assert host.manager().repair() is True
    assert host.ran[-4:] == ["apt-get clean", "apt-get update", "apt-get install --fix-broken", "dpkg --configure"]


def test_an_installation_is_tried_again_with_lists_that_are_fetched_anew():
    host = Broken(fails=[("apt-get install", "E: Unable to locate package patroni")])
    host.manager().add(["patroni"], refresh=False)
    # apt does not fetch a damaged list again as long as the repository has the same.
    assert host.ran[:4] == ["apt-get install", "apt-get clean", "find", "apt-get update"]
    assert host.ran[-1] == "apt-get install"


def test_an_installation_that_fails_for_good_is_told_with_what_apt_says():
    said = ("apt-get install", "E: Unable to locate package patrony")
    with pytest.raises(packages.PackageError, match="Unable to locate package patrony"):
        Broken(fails=[said, said]).manager().add(["patrony"], refresh=True)
