# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads what an image archive, as `docker save` writes it, contains, without a Docker engine."""

from __future__ import annotations

import json
import re
import tarfile

_CONFIG = re.compile(r"(?:blobs/sha256/)?([0-9a-f]{64})(?:\.json)?")


class ArchiveError(Exception):
    """The file is no archive of exactly one image."""


def read(path: str) -> dict:
    """The one image of an archive: {id, tags, entrypoint, command}.

    The id is the digest of the image's configuration, as engines name the image after loading it (OCI image specification,
    "ImageID"). Raises ArchiveError, and OSError where the file can't be read.
    """
    manifest, small = None, {}
    try:
        # In one pass: going back in a compressed file means reading it anew. A configuration is a few KiB.
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                if not member.isfile() or member.size > 1 << 20:
                    continue
                if member.name == "manifest.json":
                    manifest = json.load(archive.extractfile(member))
                elif _CONFIG.fullmatch(member.name):
                    small[member.name] = archive.extractfile(member).read()
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise ArchiveError(f"{path} is no image archive as `docker save` writes it: {error}") from error
    if not isinstance(manifest, list):
        raise ArchiveError(f"{path} is no image archive as `docker save` writes it: it has no manifest.json")
    if len(manifest) != 1:
        raise ArchiveError(f"{path} contains {len(manifest)} images; save exactly one into it")
    name = manifest[0]["Config"]
    match = _CONFIG.fullmatch(name)
    if not match or name not in small:
        raise ArchiveError(f"{path} is no image archive as `docker save` writes it: it lacks {name}")
    config = json.loads(small[name]).get("config") or {}
    return {
        "id": f"sha256:{match[1]}",
        "tags": manifest[0].get("RepoTags") or [],
        "entrypoint": config.get("Entrypoint") or [],
        "command": config.get("Cmd") or [],
    }
