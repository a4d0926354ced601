#!/usr/bin/env python3
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab: Debian hosts with systemd in containers, on a network of their own, reachable by SSH.

Settings come from the environment, so that make, Molecule and Ansible agree on them:
LAB_NAME (demo), LAB_SUBNET (10.0.1.0/24), LAB_HOSTS ("node1 node2 node3"), LAB_DEBIAN (13), LAB_ELASTICSEARCH (8.19.4).
Hosts get the addresses .11, .12, … and the virtual address is .100. With a host whose name begins with `backup` there is an operator's key pair, too.
"""

from __future__ import annotations

import argparse
import hashlib
import ipaddress
import json
import os
import re
import resource
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from analysis import build as analysis
from standin import build as standin

CHECKOUT = Path(__file__).resolve().parents[2]
RECIPE = Path(__file__).resolve().parent / "image"
LABEL = "utmstack.ha.lab"
SUITES = {"12": "bookworm", "13": "trixie"}
DEFAULT_SUBNET = "10.0.1.0/24"
USER = "ansible"
CAP_SYS_RESOURCE = 1 << 24
# What hosts find in SHARED: archives that the lab fetches once for all of them, or makes.
CACHE, SHARED = CHECKOUT / ".lab" / "cache", "/srv/lab"
ELASTICSEARCH_VERSION = "8.19.4"
ELASTICSEARCH_URL = "https://repo1.maven.org/maven2/org/elasticsearch/distribution/integ-test-zip/elasticsearch"


class LabError(Exception):
    """What the user has to know or to do; printed without a traceback."""


class Lab:
    """Names and addresses of one lab."""

    def __init__(self):
        environment = os.environ
        self.name = environment.get("LAB_NAME") or "demo"
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,9}", self.name):
            raise LabError(f"LAB_NAME={self.name}: use 1 to 10 lower case letters, digits and dashes.")
        self.debian = environment.get("LAB_DEBIAN") or "13"
        if self.debian not in SUITES:
            raise LabError(f"LAB_DEBIAN={self.debian}: use one of {', '.join(SUITES)}.")
        try:
            self.subnet = ipaddress.IPv4Network(environment.get("LAB_SUBNET") or DEFAULT_SUBNET)
        except ValueError as error:
            raise LabError(f"LAB_SUBNET: {error}. Give a network such as {DEFAULT_SUBNET}.") from error
        if self.subnet.prefixlen > 25:
            raise LabError(
                f"LAB_SUBNET={self.subnet} is too small: hosts begin at .11, the virtual IP is .100; use a /24."
            )
        self.hosts = {
            host: str(self.subnet[11 + number])
            for number, host in enumerate((environment.get("LAB_HOSTS") or "node1 node2 node3").split())
        }
        self.vip = str(self.subnet[100])
        self.elasticsearch = environment.get("LAB_ELASTICSEARCH") or ELASTICSEARCH_VERSION
        self.network = self.bridge = f"ha-{self.name}"
        self.directory = CHECKOUT / ".lab" / self.name
        # Socket paths are limited to some 100 characters, so not below the checkout.
        self.control_directory = Path.home() / ".ansible" / "cp" / f"lab-{self.name}"

    @property
    def key(self) -> Path:
        return self.directory / "id_ed25519"

    @property
    def identity(self) -> Path:
        """The key that opens the sealed configuration, of a lab with a backup host."""
        return self.directory / "operator.key"

    @property
    def known_hosts(self) -> Path:
        return self.directory / "known_hosts"

    def container(self, host: str) -> str:
        """The container's name of a host of this lab."""
        if host not in self.hosts:
            raise LabError(f"{host} is not a host of lab {self.name}; its hosts are {', '.join(self.hosts)}.")
        return f"ha-{self.name}-{host}"

    def ssh_options(self) -> list[str]:
        """What ssh needs for this lab only. A host that lost its power is noticed within 20 s, a busy one is borne."""
        options = {
            "IdentityFile": self.key,
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": self.known_hosts,
            "StrictHostKeyChecking": "yes",
            "ServerAliveInterval": 5,
            "ServerAliveCountMax": 4,
        }
        return [part for option, value in options.items() for part in ("-o", f"{option}={value}")]

    def inventory(self) -> dict:
        """Ansible's dynamic inventory: addresses and the way in. Groups are in inventories/lab/hosts.yml."""
        hostvars = {
            host: {
                "ansible_host": address,
                "ansible_user": USER,
                "ansible_ssh_common_args": shlex.join(self.ssh_options()),
                "ansible_control_path_dir": str(self.control_directory),
                "ansible_control_path": f"%(directory)s/{host}",
            }
            for host, address in self.hosts.items()
        }
        image, archive = standin.expected(CACHE)
        settings = {
            "ha_vip": f"{self.vip}/{self.subnet.prefixlen}",
            "ha_secrets_dir": str(self.directory / "secrets"),
            "backend_image": image,
            "backend_image_archive": str(archive),
            "lab_elasticsearch_version": self.elasticsearch,
            "lab_program": str(Path(__file__).resolve()),
            "lab_analysis_recipe": analysis_recipe(),
        }
        if self.identity.exists():
            settings["backup_recipients"] = re.findall(
                r"^# public key: (age1\w+)$", self.identity.read_text(), re.MULTILINE
            )
        return {"_meta": {"hostvars": hostvars}, "all": {"hosts": list(self.hosts), "vars": settings}}


# -- running things ---------------------------------------------------------------------------------------------------


def run(*command, check=True, quiet=True, timeout=None, **options) -> subprocess.CompletedProcess:
    """Run a command; its output is kept, and shown where it fails."""
    if quiet:
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    result = subprocess.run([str(part) for part in command], check=False, text=True, timeout=timeout, **options)
    if check and result.returncode:
        said = "".join(part for part in (result.stdout, result.stderr) if part).strip()
        raise LabError(f"{shlex.join(str(part) for part in command)} ended with {result.returncode}:\n{said}")
    return result


def as_root(*command) -> list[str]:
    return [*(() if os.geteuid() == 0 else ("sudo",)), *(str(part) for part in command)]


def root(*command, **options) -> subprocess.CompletedProcess:
    return run(*as_root(*command), **options)


def docker(*arguments, **options) -> subprocess.CompletedProcess:
    return root("docker", *arguments, **options)


def say(message: str) -> None:
    print(message, flush=True)


def fetched(attempt, pauses=(5, 20, 60)):
    """What the attempt returns. Archives answer with an error now and then: it is made again after each pause."""
    for pause in pauses:
        try:
            return attempt()
        except LabError as error:
            say(f"    Again in {pause} s, since: {str(error)[-500:]}")
            time.sleep(pause)
    return attempt()


@contextmanager
def phase(title: str):
    """Say what begins, and how long it took."""
    started = time.monotonic()
    say(f"==> {title}")
    yield
    say(f"    {title}: {time.monotonic() - started:.1f} s")


def until(condition, seconds: float, what: str):
    """Ask until the answer is true; a LabError that names what was waited for when it never is."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise LabError(f"Waited {seconds:.0f} s for {what}, in vain.")
        time.sleep(0.1)
    return answer


# -- the engine -------------------------------------------------------------------------------------------------------

DOCKERD_PID = CHECKOUT / ".lab" / "dockerd.pid"
DOCKERD_LOG = CHECKOUT / ".lab" / "dockerd.log"


def docker_answers() -> bool:
    return docker("version", "--format", "{{.Server.Version}}", check=False).returncode == 0


def started_engine() -> int | None:
    """The process of the engine that a lab of this checkout has started, while it lives."""
    try:
        pid = int(DOCKERD_PID.read_text())
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        name = Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return None
    return pid if state != "Z" and name in ("dockerd", "sudo") else None


def start_docker() -> None:
    """Have an engine that answers: by systemd where it runs this machine, else in the background."""
    if docker_answers():
        return
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    if not (shutil.which("dockerd", path=path) and shutil.which("docker")):
        raise LabError("Docker is not installed. On Debian `make demo` does it; elsewhere install Docker Engine first.")
    if started_engine():
        why = docker("version", check=False).stderr.strip()
        raise LabError(f"Docker runs (process {started_engine()}) but does not answer: {why}")
    with phase("Start Docker"):
        if Path("/run/systemd/system").is_dir():
            root("systemctl", "start", "docker")
        else:
            DOCKERD_LOG.parent.mkdir(exist_ok=True)
            with DOCKERD_LOG.open("w") as log:
                process = subprocess.Popen(
                    as_root("dockerd", "--log-level", "warn"),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            DOCKERD_PID.write_text(f"{process.pid}\n")
        try:
            until(lambda: docker_answers() or (DOCKERD_PID.exists() and not started_engine()), 60, "Docker to answer")
            docker("version")
        except LabError as error:
            last = DOCKERD_LOG.read_text()[-1500:] if DOCKERD_LOG.exists() else ""
            raise LabError(f"{error}\n{last}\nDoes this machine allow containers? See {DOCKERD_LOG}.") from error


def stop_docker() -> None:
    """End the engine that a lab of this checkout has started, unless somebody still has containers."""
    if pid := started_engine():
        listed = docker("ps", "--all", "--quiet", check=False)
        if listed.returncode or listed.stdout.strip():
            say("    Docker goes on: there are other containers.")
            return
        root("kill", pid)
        until(lambda: not started_engine(), 30, "Docker to end")
        root("ip", "link", "delete", "docker0", check=False)
    DOCKERD_PID.unlink(missing_ok=True)
    DOCKERD_LOG.unlink(missing_ok=True)


def raise_kernel_limits() -> None:
    """Raise what the hosts share with the machine and cannot set by themselves.

    systemd in each host takes inotify instances from one account of the machine: 128 last for some 25 hosts. Elasticsearch
    maps its index files into memory.
    """
    for name, least in (("fs.inotify.max_user_instances", 1024), ("vm.max_map_count", 262144)):
        if int(Path("/proc/sys", name.replace(".", "/")).read_text()) < least:
            root("sysctl", "-qw", f"{name}={least}")


# -- the image --------------------------------------------------------------------------------------------------------


def image_tag(debian: str) -> str:
    recipe = hashlib.sha256(debian.encode())
    for path in sorted(RECIPE.iterdir()):
        recipe.update(path.name.encode() + b"\0" + path.read_bytes())
    return f"utmstack-ha-lab:debian{debian}-{recipe.hexdigest()[:12]}"


def registry_answers() -> bool:
    try:
        urllib.request.urlopen("https://registry-1.docker.io/v2/", timeout=5)
    except urllib.error.HTTPError as error:
        return error.code == 401
    except OSError:
        return False
    return True


def build_from_registry(tag: str, suite: str) -> bool:
    if not registry_answers():
        return False
    result = docker("build", "--pull", "--tag", tag, "--build-arg", f"SUITE={suite}", RECIPE, check=False, timeout=600)
    return result.returncode == 0


def build_from_packages(tag: str, suite: str) -> None:
    """Make the system with mmdebstrap, straight from Debian's archive."""
    if not shutil.which("mmdebstrap"):
        raise LabError("No registry answers and mmdebstrap is not installed. On Debian: apt-get install mmdebstrap.")
    mirror = "http://deb.debian.org/debian"
    packages = ",".join((RECIPE / "packages").read_text().split())
    system = CHECKOUT / ".lab" / f"{tag.replace(':', '-')}.tar"
    system.parent.mkdir(exist_ok=True)
    try:
        command = (
            "mmdebstrap",
            "--variant=minbase",
            '--aptopt=Acquire::Retries "3"',
            f"--include={packages}",
            f"--customize-hook=copy-in {RECIPE}/customize.sh /",
            "--customize-hook=chroot $1 sh /customize.sh && rm $1/customize.sh",
            f"--customize-hook=upload {RECIPE}/lab-init /usr/local/sbin/lab-init",
            "--customize-hook=chmod 0755 $1/usr/local/sbin/lab-init",
            suite,
            system,
            f"deb {mirror} {suite} main",
            f"deb {mirror} {suite}-updates main",
            f"deb http://deb.debian.org/debian-security {suite}-security main",
        )
        fetched(lambda: root(*command))
        docker(
            "import", "--change", "ENV container=docker", "--change", 'CMD ["/usr/local/sbin/lab-init"]', system, tag
        )
    finally:
        root("rm", "-f", system)


def ensure_image(debian: str) -> str:
    tag = image_tag(debian)
    if docker("image", "inspect", tag, check=False).returncode:
        with phase(f"Build the host image, Debian {debian}"):
            if not build_from_registry(tag, SUITES[debian]):
                build_from_packages(tag, SUITES[debian])
    return tag


def analysis_recipe() -> str:
    return hashlib.sha256(analysis.SOURCE.read_bytes()).hexdigest()[:12]


def elasticsearch_archives(version: str) -> tuple[Path, Path]:
    """The server's archive, and that of the plugin that the one from Maven Central needs for native users."""
    return CACHE / f"elasticsearch-{version}.zip", CACHE / f"lab-analysis-{version}-{analysis_recipe()}.zip"


def fetch(url: str, target: Path) -> None:
    """Have the file whole or not at all."""
    part = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        urllib.request.urlretrieve(url, part)
        part.rename(target)
    except OSError as error:
        raise LabError(f"{url} cannot be fetched: {error}") from error
    finally:
        part.unlink(missing_ok=True)


def ensure_elasticsearch(version: str) -> None:
    """Have a version of Elasticsearch for the hosts; made once for all labs of this checkout."""
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise LabError(f"{version} is no version of Elasticsearch, such as {ELASTICSEARCH_VERSION}.")
    CACHE.mkdir(parents=True, exist_ok=True)
    server, plugin = elasticsearch_archives(version)
    checksum = Path(f"{server}.sha512")
    if not (server.exists() and checksum.exists()):
        with phase(f"Fetch Elasticsearch {version} from Maven Central"):
            url = f"{ELASTICSEARCH_URL}/{version}/{server.name}"
            if not server.exists():
                fetched(lambda: fetch(url, server))
            try:
                fetch(f"{url}.sha512", checksum)
            except LabError:  # Maven Central has one for some versions only
                with server.open("rb") as archive:
                    checksum.write_text(hashlib.file_digest(archive, "sha512").hexdigest() + "\n")
    if not plugin.exists():
        with phase(f"Build the plugin that Elasticsearch {version} needs for native users"):
            analysis.build(str(server), plugin)


def ensure_archives(lab: Lab) -> None:
    """Have what the hosts install and no registry offers."""
    ensure_elasticsearch(lab.elasticsearch)
    if not standin.expected(CACHE)[1].exists():
        with phase("Build the test application, in the place of UTMStack's"):
            fetched(lambda: standin.ensure_standin(root, CACHE))


# -- network and hosts ------------------------------------------------------------------------------------------------


def networks_in_use(lab: Lab) -> list[tuple[ipaddress.IPv4Network, str]]:
    """Networks that this machine has already, apart from the lab's own, and where."""
    found = []
    for route in json.loads(run("ip", "-json", "-4", "route", "show", "table", "all").stdout):
        local = route["dst"] == "default" or route.get("type") in ("broadcast", "multicast")
        if not local and route.get("dev") != lab.bridge:
            found.append((ipaddress.IPv4Network(route["dst"], strict=False), f"interface {route.get('dev', '?')}"))
    for name in docker("network", "ls", "--format", "{{.Name}}").stdout.split():
        for pool in json.loads(docker("network", "inspect", name).stdout)[0]["IPAM"].get("Config") or ():
            if name != lab.network and ":" not in pool["Subnet"]:
                found.append((ipaddress.IPv4Network(pool["Subnet"], strict=False), f"Docker network {name}"))
    return found


def ensure_network(lab: Lab) -> None:
    existing = docker("network", "inspect", lab.network, check=False)
    if existing.returncode == 0:
        subnet = json.loads(existing.stdout)[0]["IPAM"]["Config"][0]["Subnet"]
        if subnet != str(lab.subnet):
            raise LabError(
                f"Lab {lab.name} exists with LAB_SUBNET={subnet}, not {lab.subnet}. Remove it first "
                f"(make demo-down LAB_NAME={lab.name}) or take another LAB_NAME."
            )
        return
    in_use = networks_in_use(lab)
    users = sorted({f"{network} of {user}" for network, user in in_use if network.overlaps(lab.subnet)})
    if users:
        candidates = (ipaddress.IPv4Network(f"10.0.{third}.0/24") for third in range(1, 256))
        free = next(one for one in candidates if not any(network.overlaps(one) for network, user in in_use))
        raise LabError(
            f"The network {lab.subnet} is in use on this machine: {'; '.join(users)}. Choose another, for example "
            f"LAB_SUBNET={free}; beside another lab also a LAB_NAME of its own."
        )
    docker(
        "network",
        "create",
        "--label",
        f"{LABEL}={lab.name}",
        "--subnet",
        lab.subnet,
        "--opt",
        f"com.docker.network.bridge.name={lab.bridge}",
        lab.network,
    )


def nameservers() -> str:
    """This machine's name servers, where a container can reach them too."""
    for path in (Path("/run/systemd/resolve/resolv.conf"), Path("/etc/resolv.conf")):
        if path.exists():
            servers = re.findall(r"^nameserver\s+([0-9.]+)\s*$", path.read_text(), re.MULTILINE)
            return " ".join(server for server in servers if not server.startswith("127."))
    return ""


def privileges() -> list[str]:
    """What systemd needs in a container, of that which this machine itself is allowed."""
    options = [
        "--cap-add",
        "ALL",
        "--security-opt",
        "seccomp=unconfined",
        "--security-opt",
        "systempaths=unconfined",
        "--security-opt",
        "apparmor=unconfined",
        "--cgroupns=private",
    ]
    bounding = int(re.search(r"^CapBnd:\s*(\w+)$", Path("/proc/self/status").read_text(), re.MULTILINE)[1], 16)
    if not bounding & CAP_SYS_RESOURCE:
        options += ["--cap-drop", "SYS_RESOURCE"]
    if not Path("/sys/fs/cgroup/cgroup.controllers").exists():
        options += ["--env", "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1"]
    return options


def ensure_key(lab: Lab) -> None:
    for directory in (lab.directory, lab.directory / "snapshots", lab.directory / "secrets"):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Shared by accounts of the hosts, whose numbers this machine does not know.
    (lab.directory / "snapshots").chmod(0o1777)
    if not lab.key.exists():
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"lab {lab.name}", "-f", lab.key)
    if any(host.startswith("backup") for host in lab.hosts) and not lab.identity.exists():
        run("age-keygen", "-o", lab.identity)


def file_limit_volume() -> list[str]:
    """Where no process may open as many files as Elasticsearch insists on: a library that says it may (see nofile.c)."""
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] >= 65535:
        return []
    source, library = Path(__file__).with_name("nofile.c"), CHECKOUT / ".lab" / "nofile.so"
    library.parent.mkdir(exist_ok=True)
    if not library.exists() or library.stat().st_mtime < source.stat().st_mtime:
        run("cc", "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl")
    return ["--volume", f"{library}:/usr/local/lib/lab-nofile.so:ro"]


def create_host(lab: Lab, host: str, image: str) -> None:
    docker(
        "run",
        "--detach",
        "--name",
        lab.container(host),
        "--hostname",
        host,
        "--label",
        f"{LABEL}={lab.name}",
        "--network",
        lab.network,
        "--ip",
        lab.hosts[host],
        "--env",
        f"LAB_NAMESERVERS={nameservers()}",
        *privileges(),
        "--stop-signal",
        "SIGRTMIN+3",
        # A host that reboots comes back by itself; one that lost its power does not.
        "--restart",
        "unless-stopped",
        "--shm-size",
        "512m",
        "--tmpfs",
        "/run:exec,mode=0755",
        "--tmpfs",
        "/run/lock",
        "--tmpfs",
        "/tmp:exec,mode=1777",
        "--volume",
        f"{lab.directory / 'snapshots'}:/mnt/snapshots",
        "--volume",
        f"{CACHE}:{SHARED}:ro",
        # The engine in the host needs a file system that can carry overlays, which the host's own is not.
        "--volume",
        "/var/lib/docker",
        "--volume",
        "/var/lib/containerd",
        *file_limit_volume(),
        image,
    )


def admit_key(lab: Lab, host: str) -> str:
    """Let the lab's key in; the host's own key comes back, as a line for known_hosts."""
    script = (
        "install -d -m 0700 -o ansible -g ansible /home/ansible/.ssh && "
        "install -m 0600 -o ansible -g ansible /dev/stdin /home/ansible/.ssh/authorized_keys"
    )
    docker(
        "exec", "--interactive", lab.container(host), "sh", "-c", script, input=lab.key.with_suffix(".pub").read_text()
    )

    def made():
        return docker(
            "exec", lab.container(host), "cat", "/etc/ssh/ssh_host_ed25519_key.pub", check=False
        ).stdout.strip()

    host_key = until(
        made,
        60,
        f"{host} to make its SSH host key",
    )
    return f"{lab.hosts[host]} {' '.join(host_key.split()[:2])}\n"


def ssh_answers(lab: Lab, host: str) -> bool:
    try:
        with socket.create_connection((lab.hosts[host], 22), timeout=2) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def states(lab: Lab) -> dict[str, str]:
    """Each host's state as Docker names it, `absent` where there is no container."""
    listed = docker("ps", "--all", "--filter", f"label={LABEL}={lab.name}", "--format", "{{.Names}} {{.State}}").stdout
    found = dict(line.split() for line in listed.splitlines())
    return {host: found.get(lab.container(host), "absent") for host in lab.hosts}


def containers(lab: Lab) -> list[str]:
    return docker("ps", "--all", "--quiet", "--filter", f"label={LABEL}={lab.name}").stdout.split()


# -- commands ---------------------------------------------------------------------------------------------------------


def ensure_release(lab: Lab) -> None:
    """Refuse hosts that an earlier run has left with another release of Debian: whoever asks for one would test the other."""
    for container in containers(lab):
        name, image = docker("inspect", "--format", "{{.Name}} {{.Config.Image}}", container).stdout.split()
        if f":debian{lab.debian}-" not in image:
            raise LabError(
                f"{name.lstrip('/')} was made from {image}, and this is for Debian {lab.debian}. Remove the lab first: "
                f"make demo-down LAB_NAME={lab.name}"
            )


def up(lab: Lab) -> None:
    """Have the lab running; what is there already stays as it is."""
    start_docker()
    ensure_release(lab)
    raise_kernel_limits()
    ensure_network(lab)
    image = ensure_image(lab.debian)
    ensure_archives(lab)
    with phase(f"Start lab {lab.name}: {', '.join(f'{host} {address}' for host, address in lab.hosts.items())}"):
        ensure_key(lab)
        for host, state in states(lab).items():
            if state == "absent":
                create_host(lab, host, image)
            elif state != "running":
                docker("start", lab.container(host))
        with ThreadPoolExecutor() as pool:
            lab.known_hosts.write_text("".join(pool.map(lambda host: admit_key(lab, host), lab.hosts)))
        for host in lab.hosts:
            until(lambda host=host: ssh_answers(lab, host), 60, f"SSH on {host} ({lab.hosts[host]})")


def down(lab: Lab) -> None:
    """Leave nothing of the lab: hosts, network, volumes, keys and secrets, connections, the engine if it was started."""
    with phase(f"Remove lab {lab.name}"):
        for host in lab.hosts:
            hang_up(lab, host)
        shutil.rmtree(lab.control_directory, ignore_errors=True)
        if lab.directory.exists():
            # Hosts outlive an engine that ended without them.
            start_docker()
        if docker_answers():
            if found := containers(lab):
                docker("rm", "--force", "--volumes", *found)
            if docker("network", "inspect", lab.network, check=False).returncode == 0:
                docker("network", "rm", lab.network)
        root("rm", "-rf", lab.directory, lab.directory.with_name(f"molecule-{lab.name}"))
        stop_docker()


def destroy_hosts(lab: Lab, *hosts: str) -> None:
    """Leave nothing of some hosts: containers and the volumes that are theirs. The others stay, as do what all hosts share (the snapshots) and the
    controller's own files. `up` makes them anew."""
    if not hosts:
        raise LabError("destroy-hosts needs the names of hosts.")
    known = {host: lab.container(host) for host in hosts}
    found = states(lab)
    with phase(f"Destroy {', '.join(hosts)} of lab {lab.name}"):
        for host in hosts:
            hang_up(lab, host)
        there = [name for host, name in known.items() if found[host] != "absent"]
        if there:
            docker("rm", "--force", "--volumes", *there)


def status(lab: Lab) -> None:
    if not docker_answers():
        raise LabError("Docker does not answer: there is no lab.")
    found = states(lab)
    for host, state in found.items():
        say(f"{host:<10} {lab.hosts[host]:<15} {state}{', SSH answers' if ssh_answers(lab, host) else ''}")
    if set(found.values()) != {"running"}:
        raise LabError(f"Lab {lab.name} is not complete; make up brings it up.")


def hang_up(lab: Lab, host: str) -> None:
    """End Ansible's kept connection to a host, which would otherwise be tried after the host has gone."""
    control = lab.control_directory / host
    if control.exists():
        run("ssh", "-o", f"ControlPath={control}", "-O", "exit", host, check=False)


def power_off(lab: Lab, host: str) -> None:
    """Take a host's power: first its cable, so that no peer hears a farewell from the kernel, then its processes."""
    container = lab.container(host)
    pid = docker("inspect", "--format", "{{.State.Pid}}", container).stdout.strip()
    if pid == "0":
        raise LabError(f"{host} has no power already.")
    cable = root("cat", f"/proc/{pid}/root/sys/class/net/eth0/iflink").stdout.strip()
    interface = re.search(rf"^{cable}: ([^@:]+)", run("ip", "-oneline", "link").stdout, re.MULTILINE)[1]
    root("ip", "link", "set", interface, "down")
    docker("kill", container)
    hang_up(lab, host)


def power_on(lab: Lab, host: str) -> None:
    docker("start", lab.container(host))
    until(lambda: ssh_answers(lab, host), 60, f"SSH on {host} ({lab.hosts[host]})")


def freeze(lab: Lab, host: str) -> None:
    """Have a host stand still: it is there, takes connections, and says nothing."""
    hang_up(lab, host)
    docker("pause", lab.container(host))


def thaw(lab: Lab, host: str) -> None:
    docker("unpause", lab.container(host))
    until(lambda: ssh_answers(lab, host), 60, f"SSH on {host} ({lab.hosts[host]})")


def shell(lab: Lab, host: str) -> None:
    lab.container(host)
    command = ["ssh", "-t", *lab.ssh_options(), f"{USER}@{lab.hosts[host]}", "sudo", "-i"]
    os.execvp("ssh", command)


def memory_of(container: str) -> int:
    """Bytes that a host uses, without file pages that the kernel can drop: as `docker stats` counts."""
    pid = docker("inspect", "--format", "{{.State.Pid}}", container).stdout.strip()
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _number, controllers, path = line.split(":", 2)
        # systemd in the host makes groups of its own below the container's.
        path = re.sub(r"/(init\.scope|system\.slice|user\.slice).*", "", path)
        if controllers == "memory":
            group, usage, inactive = (
                Path("/sys/fs/cgroup/memory" + path),
                "memory.usage_in_bytes",
                "total_inactive_file",
            )
        elif not controllers and Path("/sys/fs/cgroup/cgroup.controllers").exists():
            group, usage, inactive = Path("/sys/fs/cgroup" + path), "memory.current", "inactive_file"
        else:
            continue
        statistics = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return int((group / usage).read_text()) - int(statistics[inactive])
    raise LabError(f"{container}: the kernel does not account its memory.")


def measure(lab: Lab, *command: str) -> None:
    """Run a command, and tell the most memory that all hosts together used meanwhile."""
    if not command:
        raise LabError("measure needs a command.")
    process = subprocess.Popen(command)
    peak: dict[str, int] = {}
    while process.poll() is None:
        try:
            now = {host: memory_of(lab.container(host)) for host, state in states(lab).items() if state == "running"}
        except (LabError, OSError):
            now = {}  # A host has just gone.
        peak = max(peak, now, key=lambda sample: sum(sample.values()))
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=3)
    each = ", ".join(f"{host} {used / 2**30:.2f} GiB" for host, used in peak.items())
    say(f"    Peak memory of all hosts together: {sum(peak.values()) / 2**30:.2f} GiB ({each})")
    if process.returncode:
        sys.exit(process.returncode)


def write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


def access(lab: Lab) -> None:
    """Print the ways in. Passwords go into files for libpq and curl, not onto the screen."""
    import yaml

    secrets = lab.directory / "secrets"
    passwords = yaml.safe_load((secrets / "passwords.yml").read_text())
    pgpass, netrc = lab.directory / "pgpass", lab.directory / "netrc"
    password = passwords["postgresql_application_password"]
    write_private(pgpass, "".join(f"{lab.vip}:{port}:utmstack:utmstack:{password}\n" for port in (5432, 5433)))
    password = passwords["elasticsearch_monitoring_password"]
    write_private(netrc, f"machine {lab.vip} login utmstack-monitoring password {password}\n")
    verified = f"curl --silent --show-error --cacert {secrets / 'ca.crt'}"

    def psql(port: int) -> str:
        return (
            f'PGPASSFILE={shlex.quote(str(pgpass))} psql "host={lab.vip} port={port} dbname=utmstack user=utmstack '
            f'sslmode=verify-full sslrootcert={secrets / "ca.crt"}"'
        )

    rule = "=" * 100
    other = "" if lab.name == "demo" else f" LAB_NAME={lab.name} LAB_SUBNET={lab.subnet}"
    hosts = ", ".join(f"{host} {address}" for host, address in lab.hosts.items())
    say(f"""{rule}
 Virtual IP   {lab.vip}      hosts: {hosts}
 Statistics   https://{next(iter(lab.hosts.values()))}:8404/stats, likewise on each host; user operator
 Passwords    {secrets}/passwords.yml
 CA           {secrets}/ca.crt

 The application: each request writes PostgreSQL, Elasticsearch and Redis, and answers which host served it:
{verified} https://{lab.vip}/api/events

 PostgreSQL, on whichever host is the primary, and on a replica:
{psql(5432)}
{psql(5433)}

 Elasticsearch:
{verified} --netrc-file {shlex.quote(str(netrc))} "https://{lab.vip}:9200/_cat/nodes?v"

 More:
make status{other}
make shell HOST=node1{other}
make demo-down{other}
{rule}""")


def journal(lab: Lab) -> None:
    """Print what all hosts have logged."""
    for host, state in states(lab).items():
        say(f"==> {host}, {state}")
        if state == "running":
            docker(
                "exec",
                lab.container(host),
                "journalctl",
                "--no-pager",
                "--output=short-precise",
                check=False,
                quiet=False,
            )


def archives(_lab: Lab, *versions: str) -> None:
    """Have further versions of Elasticsearch for the hosts, to upgrade to by -e elasticsearch_version=…."""
    for version in versions:
        ensure_elasticsearch(version)


def inventory(lab: Lab) -> None:
    say(json.dumps(lab.inventory(), indent=2))


COMMANDS = {
    "up": up,
    "down": down,
    "destroy-hosts": destroy_hosts,
    "status": status,
    "power-off": power_off,
    "power-on": power_on,
    "freeze": freeze,
    "thaw": thaw,
    "shell": shell,
    "access": access,
    "journal": journal,
    "inventory": inventory,
    "archives": archives,
    "measure": measure,
}


OF_A_HOST = ("power-off", "power-on", "freeze", "thaw", "shell")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument(
        "rest",
        nargs=argparse.REMAINDER,
        help="a host for power-off, power-on, freeze, thaw and shell; hosts for destroy-hosts; a command for measure; versions of Elasticsearch for "
        "archives",
    )
    arguments = parser.parse_args()
    if arguments.command in OF_A_HOST and len(arguments.rest) != 1:
        parser.error(f"{arguments.command} needs one host")
    try:
        takes_more = arguments.command in (*OF_A_HOST, "destroy-hosts", "measure", "archives")
        COMMANDS[arguments.command](Lab(), *(arguments.rest if takes_more else []))
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
