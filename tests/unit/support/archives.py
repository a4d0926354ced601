# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Small archives of a server, as their makers pack them."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile

FILES = {
    "bin/elasticsearch": (0o755, b"#!/bin/sh\n"),
    "config/jvm.options": (0o660, b"-Xms1g\n"),
    "lib/x.jar": (0o600, b"jar"),
}


def make_zip(path, files, top="elasticsearch-8.19.4/"):
    with zipfile.ZipFile(path, "w") as made:
        for name, (mode, content) in files.items():
            info = zipfile.ZipInfo(top + name)
            info.external_attr = mode << 16
            made.writestr(info, content)
    return path


def make_tar(path, files, top="./elasticsearch-8.19.4/"):
    with tarfile.open(path, "w:gz") as made:
        for name, (mode, content) in files.items():
            info = tarfile.TarInfo(top + name)
            info.mode, info.size = mode, len(content)
            made.addfile(info, io.BytesIO(content))
    return path


def checksum(path):
    return f"sha512:{hashlib.sha512(path.read_bytes()).hexdigest()}"
