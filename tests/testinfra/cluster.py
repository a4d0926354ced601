# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab's cluster as the tests meet it: by its addresses, its certificates and SSH."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "molecule" / "shared"))

from lab import Lab  # noqa: E402

LAB = [sys.executable, str(ROOT / "molecule" / "shared" / "lab.py")]
# The tests read what Ansible prints; Molecule asks it for colours.
PLAIN = {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"}
# Where skipped hosts are shown, a task's name is printed when it begins: the last one tells where a run was killed.
SHOWN = PLAIN | {"ANSIBLE_DISPLAY_SKIPPED_HOSTS": "true"}
# With Debian 12 there is no pgbouncer (pgbouncer_enabled is auto), and Patroni 3.0 does not tell whether a replica streams.
BOOKWORM = Lab().debian == "12"
# The services' units, as each host of the lab has them.
UNITS = (
    "etcd",
    "patroni",
    "elasticsearch",
    "redis-server",
    "redis-sentinel",
    "docker",
    *(() if BOOKWORM else ("pgbouncer",)),
    "haproxy",
    "keepalived",
)


# The inventory of the scenario that has a backup host.
BACKED_UP = ROOT / "molecule" / "backup" / "inventory"


class Cluster:
    """Names, addresses and ways in."""

    def __init__(self, inventory: Path = ROOT / "inventories" / "lab"):
        self.lab = Lab()
        self.vip = self.lab.vip
        # Of the platform; a backup host is none of its members.
        self.hosts = {name: address for name, address in self.lab.hosts.items() if not name.startswith("backup")}
        self.backup = next((name for name in self.lab.hosts if name not in self.hosts), "")
        self.inventory = inventory
        self.secrets_directory = self.lab.directory / "secrets"
        self.ca = self.secrets_directory / "ca.crt"

    @property
    def passwords(self) -> dict[str, str]:
        return yaml.safe_load((self.secrets_directory / "passwords.yml").read_text())

    def keep(self, name: str, value: str) -> None:
        """Change a password where the inventory has it."""
        path = self.secrets_directory / "passwords.yml"
        path.write_text(re.sub(rf"^{name}: .*$", f"{name}: {value}", path.read_text(), flags=re.MULTILINE))

    def conninfo(self, port: int = 5432, host: str | None = None) -> str:
        """How an application connects: through the VIP, certificate and name verified, dead peers given up after 2 s."""
        return (
            f"host={host or self.vip} port={port} dbname=utmstack user=utmstack"
            f" password={self.passwords['postgresql_application_password']} sslmode=verify-full sslrootcert={self.ca}"
            " connect_timeout=2 tcp_user_timeout=2000 keepalives_idle=1 keepalives_interval=1 keepalives_count=2"
        )

    def ssh(self, host: str, command: str, check: bool = True, timeout: float = 60) -> subprocess.CompletedProcess:
        """Run a command on a host as root."""
        return subprocess.run(
            ["ssh", *self.lab.ssh_options(), f"ansible@{self.lab.hosts[host]}", f"sudo sh -c {shlex.quote(command)}"],
            check=check, timeout=timeout, capture_output=True, text=True,
        )  # fmt: skip

    def playbook(
        self, name: str, *arguments: str, check: bool = True, environment: dict[str, str] = SHOWN, **options
    ) -> subprocess.CompletedProcess:
        """Run a playbook of the checkout against the lab; what it printed is in stdout."""
        done = subprocess.run(
            ["ansible-playbook", "-i", str(self.inventory), str(ROOT / name), *arguments],
            cwd=ROOT, env=os.environ | environment, text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{name} ended with {done.returncode}: {eventful(done.stdout)}"
        return done

    def start(self, name: str, *arguments: str) -> subprocess.Popen:
        """Begin a playbook, to be waited for or killed (see kill); what it prints is in stdout."""
        return subprocess.Popen(
            ["ansible-playbook", "-i", str(self.inventory), str(ROOT / name), *arguments],
            cwd=ROOT, env=os.environ | SHOWN | {"PYTHONUNBUFFERED": "1"}, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def kill_when(self, marker: re.Pattern, times: int, name: str, *arguments: str) -> None:
        """Start a playbook and kill it, children and all, as soon as the marked task has changed so many hosts."""
        process = self.start(name, *arguments)
        seen, printed, task = 0, [], ""
        for line in process.stdout:
            printed.append(line)
            task = line if line.startswith("TASK") else task
            if marker.search(task) and line.startswith("changed:"):
                seen += 1
                if seen == times:
                    kill(process)
                    return
        raise AssertionError(f"the run ended before {marker.pattern} was seen {times} times:\n{''.join(printed)}")

    def kill_after(self, seconds: float, name: str, *arguments: str) -> subprocess.CompletedProcess:
        """Run a playbook and kill it, children and all, after a time.

        Its returncode is -9 then, and its own where it had ended by itself; what it had printed is in stdout.
        """
        process = self.start(name, *arguments)
        try:
            printed = process.communicate(timeout=seconds)[0]
        except subprocess.TimeoutExpired:
            kill(process)
            printed = process.communicate()[0]
        return subprocess.CompletedProcess(process.args, process.returncode, printed)

    def ask_patroni(self, path: str):
        """What the first member that answers says there; raises OSError when none does."""
        context = ssl.create_default_context(cafile=str(self.ca))
        problem = OSError("no hosts")
        for address in self.hosts.values():
            try:
                with urllib.request.urlopen(f"https://{address}:8008{path}", timeout=2, context=context) as answer:
                    return json.load(answer)
            except OSError as error:
                problem = error
        raise problem

    def patroni(self) -> dict[str, dict]:
        """Patroni's view, member name to its entry; raises OSError when no member answers."""
        return {member["name"]: member for member in self.ask_patroni("/cluster")["members"]}

    def primary(self) -> str:
        return next(name for name, member in self.patroni().items() if member["role"] == "leader")

    def leader(self) -> str | None:
        """The primary while there is one, for who waits for another."""
        with suppress(OSError, StopIteration):
            return self.primary()
        return None

    def whole(self) -> bool:
        """Whether all members run, one leads, another one is named to take over and all others stream.

        Nobody may take over from a leader that dies while no synchronous standby is named.
        """
        try:
            members = self.patroni()
        except OSError:
            return False
        states = sorted(member["state"] for member in members.values())
        named = any(member["role"] == "sync_standby" for member in members.values())
        return named and states == ["running"] + ["running" if BOOKWORM else "streaming"] * (len(self.hosts) - 1)

    def vip_holder(self) -> str | None:
        holders = self.vip_holders()
        return holders[0] if len(holders) == 1 else None

    def vip_holders(self) -> list[str]:
        return [
            host
            for host in self.running()
            if f" {self.vip}/" in self.ssh(host, "ip -4 -o address show", check=False).stdout
        ]

    def running(self) -> list[str]:
        """The hosts of the platform that have power."""
        from lab import states

        return [host for host, state in states(self.lab).items() if state == "running" and host in self.hosts]

    def etcd(self, host: str, arguments: str) -> str:
        tls = "/etc/utmstack-ha/tls"
        return self.ssh(
            host,
            f"etcdctl --endpoints https://{self.hosts[host]}:2379 --cacert {tls}/ca.crt --cert {tls}/host.crt"
            f" --key {tls}/host.key --command-timeout 5s {arguments}",
        ).stdout

    def etcd_leader(self) -> str:
        for host in self.running():
            status = json.loads(self.etcd(host, "endpoint status -w json"))[0]["Status"]
            if status["leader"] == status["header"]["member_id"]:
                return host
        raise AssertionError("etcd has no leader")

    def redis_master(self) -> str:
        """The host of the Redis master, as a sentinel names it."""
        import clients

        address, _port = clients.sentinel(self).discover_master(clients.REDIS_MASTER)
        return next(host for host, own in self.hosts.items() if own == address)

    def swarm_leader(self) -> str:
        for host in self.running():
            nodes = self.ssh(
                host, "docker node ls --format '{{.Hostname}} {{.ManagerStatus}}'", check=False
            ).stdout.splitlines()
            for line in nodes:
                if line.endswith(" Leader"):
                    return line.split()[0]
        raise AssertionError("the swarm has no leader")

    def status_is_ok(self) -> bool:
        """Whether the platform's own status finds nothing degraded."""
        return self.playbook("playbooks/status.yml", check=False).returncode == 0

    def status(self) -> dict:
        """The state of the platform as its own status has it."""
        printed = self.playbook("playbooks/status.yml", "-e", "format=json", check=False).stdout
        begin = re.search(r"^\{", printed, re.MULTILINE)
        assert begin, f"status.yml printed no state: {printed[-2000:]}"
        return json.JSONDecoder().raw_decode(printed[begin.start() :])[0]

    def open_configuration(self) -> None:
        """What the operator does once: open the sealed configuration, without which status of a platform with backups is red."""
        given = ("-e", "kind=configuration", "-e", f"identity={self.lab.identity}")
        self.playbook("playbooks/verify_backup.yml", *given)

    def lead_everything(self) -> str:
        """Give the virtual IP and etcd's leadership to PostgreSQL's primary; returns that host."""
        host = self.primary()
        others = [other for other in self.hosts if other != host]
        if self.vip_holder() != host:
            for other in others:
                self.ssh(other, "systemctl stop keepalived")
            until(lambda: self.vip_holder() == host, 30, f"the virtual IP on {host}")
            for other in others:
                self.ssh(other, "systemctl start keepalived")
        leader = self.etcd_leader()
        if leader != host:
            identity = json.loads(self.etcd(host, "endpoint status -w json"))[0]["Status"]["header"]["member_id"]
            self.etcd(leader, f"--user root:{self.passwords['etcd_root_password']} move-leader {identity:x}")
        until(lambda: self.etcd_leader() == host, 30, f"{host} to lead etcd")
        until(lambda: self.primary() == host and self.vip_holder() == host, 30, f"{host} to lead everything")
        return host


def of_scenario_backup() -> Cluster:
    """The deployed platform of scenario backup. `scope` is its name, which is the stanza's, and what a restore is confirmed by."""
    found = Cluster(BACKED_UP)
    found.scope = found.ssh(found.backup, "cat /var/backups/utmstack/.utmstack-backup").stdout.strip()
    return found


def told(done: subprocess.CompletedProcess) -> str:
    """What a run printed as one line, since messages are continued on lines of their own."""
    return " ".join(done.stdout.split())


def changes(output: str) -> dict[str, int]:
    """Host to the number of its changes, of what a playbook printed."""
    return {name: int(count) for name, count in re.findall(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)", output, re.MULTILINE)}


def eventful(output: str) -> str:
    """The tasks that changed something or failed: their names in one line, then all that a playbook printed of them."""
    tasks = re.split(r"^(?=(?:PLAY|TASK|RUNNING HANDLER) )", output, flags=re.MULTILINE)
    marks = re.compile(r"^(?:changed:|fatal:|failed:|\[ERROR\]|PLAY RECAP)", re.MULTILINE)
    found = [task for task in tasks if marks.search(task)]
    names = [name for task in found for name in re.findall(r"^(?:TASK|RUNNING HANDLER) \[(.*)\]", task)]
    return "\n".join([", ".join(names), "".join(found) or output])


def assert_unchanged(output: str) -> None:
    """Fail unless a playbook that printed this has changed nothing on any host; says which tasks did."""
    assert set(changes(output).values()) == {0}, f"{changes(output)}: {eventful(output)}"


def last_task(output: str) -> str:
    """The task that a playbook was at, of what it printed."""
    return (re.findall(r"^TASK \[(.*)\]", output, re.MULTILINE) or ["nothing"])[-1]


def started(cluster, host: str, unit: str) -> int:
    """When the process of a unit began, in seconds since 1970."""
    return int(cluster.ssh(host, f'date +%s -d "$(systemctl show -P ExecMainStartTimestamp {unit})"').stdout)


def everywhere(cluster, command: str, timeout: float = 300) -> dict[str, str]:
    """Run a command on all hosts at once; host to what it printed."""
    with ThreadPoolExecutor() as pool:
        done = {host: pool.submit(cluster.ssh, host, command, True, timeout) for host in cluster.hosts}
        return {host: future.result().stdout for host, future in done.items()}


def family(pid: int) -> set[int]:
    """A process and all that descend from it."""
    listed = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], check=True, capture_output=True, text=True).stdout
    parents = [tuple(map(int, line.split())) for line in listed.splitlines()]
    found = {pid}
    while more := {child for child, parent in parents if parent in found} - found:
        found |= more
    return found


def kill(process: subprocess.Popen) -> None:
    """Kill a process, children and all, also those that have left its group as Ansible's workers do."""

    def send(number: signal.Signals, pids: set[int]) -> None:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    # Stopped first, so that none has another child while they are looked for.
    stopped: set[int] = set()
    while more := family(process.pid) - stopped:
        send(signal.SIGSTOP, more)
        stopped |= more
    send(signal.SIGKILL, stopped)
    process.wait()


def until(condition, seconds: float, what: str) -> float:
    """Wait for a condition; returns the seconds it took, fails with what was waited for."""
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        if condition():
            return time.monotonic() - started
        time.sleep(0.5)
    raise AssertionError(f"waited {seconds} s in vain for {what}")
