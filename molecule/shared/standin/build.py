#!/usr/bin/env python3
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Build the stand-in's image from Debian's packages, without a registry, and save it as an archive.

Prints tag, image ID and archive as JSON. Nothing is built while the archive of the same recipe is there.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = HERE.parents[2] / ".lab" / "cache"
SUITE = "trixie"
MIRROR = "http://deb.debian.org/debian"
SOURCES = [
    f"deb {MIRROR} {SUITE} main",
    f"deb {MIRROR} {SUITE}-updates main",
    f"deb http://deb.debian.org/debian-security {SUITE}-security main",
]
UNWANTED = ["/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/man/*", "/usr/share/lintian/*"]
CHANGES = [
    "ENV PYTHONPATH=/opt PYTHONUNBUFFERED=1",
    'ENTRYPOINT ["/usr/bin/python3", "-m", "standin.app"]',
    "EXPOSE 8080 50051",
    "HEALTHCHECK --interval=5s --timeout=10s --start-period=60s --retries=5"
    ' CMD ["/usr/bin/python3", "-I", "-S", "/opt/standin/app/probe.py"]',
]


@dataclass(frozen=True)
class Image:
    """What a role needs to know: the name, the ID that says what is in it, and where it is."""

    tag: str
    id: str
    archive: str


def sources() -> list[Path]:
    return sorted((HERE / "app").glob("*.py"))


def recipe() -> str:
    """Twelve digits that change with whatever goes into the image."""
    digest = hashlib.sha256()
    for path in (HERE / "build.py", HERE / "packages", *sources()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def image_id(archive: Path) -> str:
    """The image ID in an archive of `docker save`: the digest of its configuration."""
    with tarfile.open(archive) as files:
        (entry,) = json.load(files.extractfile("manifest.json"))
    return "sha256:" + Path(entry["Config"]).name.removesuffix(".json")


def expected(cache: Path = CACHE) -> tuple[str, Path]:
    """Tag and archive of this recipe's image, whether they are there yet or not."""
    version = recipe()
    return f"utmstack-standin:{version}", cache / f"standin-{version}.tar.gz"


def ensure_standin(root: Callable[..., object], cache: Path = CACHE) -> Image:
    """Have the archive; `root` runs a command as root and raises where it fails."""
    tag, archive = expected(cache)
    if not archive.exists():
        cache.mkdir(parents=True, exist_ok=True)
        build(root, tag, archive)
    return Image(tag, image_id(archive), str(archive))


def build(root: Callable[..., object], tag: str, archive: Path) -> None:
    if not shutil.which("mmdebstrap"):
        raise FileNotFoundError("mmdebstrap is not installed. On Debian: apt-get install mmdebstrap.")
    system, saved = (archive.with_name(f".{part}-{os.getpid()}.tar") for part in ("system", "saved"))
    try:
        root(
            "mmdebstrap",
            "--variant=essential",
            f"--include={','.join((HERE / 'packages').read_text().split())}",
            *(f"--dpkgopt=path-exclude={pattern}" for pattern in UNWANTED),
            "--customize-hook=mkdir -p $1/opt/standin/app",
            f"--customize-hook=copy-in {' '.join(map(str, sources()))} /opt/standin/app",
            "--customize-hook=chroot $1 python3 -m compileall -q /opt/standin/app",
            SUITE,
            system,
            *SOURCES,
        )
        root("docker", "import", *(part for change in CHANGES for part in ("--change", change)), system, tag)
        root("docker", "save", "--output", saved, tag)
        # The hosts have it from the archive; the engine that made it has no use for it.
        root("docker", "rmi", tag)
        root("gzip", "-4", saved)
        root("chown", f"{os.getuid()}:{os.getgid()}", f"{saved}.gz")
        os.rename(f"{saved}.gz", archive)
    finally:
        root("rm", "-f", system, saved, f"{saved}.gz")


def run_as_root(*command) -> None:
    sudo = [] if os.geteuid() == 0 else ["sudo"]
    subprocess.run([*sudo, *map(str, command)], check=True, stdout=sys.stderr)


if __name__ == "__main__":
    print(json.dumps(asdict(ensure_standin(run_as_root)), indent=2))
