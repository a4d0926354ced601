#!/usr/bin/env python3
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""build.py ELASTICSEARCH ZIP: makes the lab's analysis plugin for an Elasticsearch, and ZIP.sha512 beside it.

ELASTICSEARCH is its zip archive, as a file or a URL, or the directory it was unpacked to. Needs a javac of version 17 or later, that
of JAVA_HOME if set.

Only for the archive on Maven Central: without it, native users and roles cannot be kept ("Unknown filter type
[pattern_capture]"). To be unpacked into plugins/lab-analysis on every node before it starts; role elasticsearch does so for
`elasticsearch_plugins: [{name: lab-analysis, url: ZIP, checksum: "sha512:ZIP.sha512"}]`, paths on the hosts.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from pathlib import Path

SOURCE = Path(__file__).with_name("LabAnalysisPlugin.java")
JAVA_17 = (61).to_bytes(2, "big")
DESCRIPTOR = """\
name=lab-analysis
description=Analysis components that the index of native users needs
version=1
elasticsearch.version={version}
java.version=17
classname=org.utmstack.lab.LabAnalysisPlugin
"""


def libraries(elasticsearch: str, place: Path) -> Path:
    """The directory with the server's libraries, unpacked below `place` where need be."""
    if Path(elasticsearch).is_dir():
        return Path(elasticsearch, "lib")
    if "://" in elasticsearch:
        elasticsearch, _headers = urllib.request.urlretrieve(elasticsearch, place / "elasticsearch.zip")
    with zipfile.ZipFile(elasticsearch) as archive:
        jars = [name for name in archive.namelist() if re.fullmatch(r"[^/]+/lib/[^/]+\.jar", name)]
        archive.extractall(place, jars)
    return place / Path(jars[0]).parent


def version_of(lib: Path) -> str:
    """The server's version, by the name of its own library."""
    found = (re.fullmatch(r"elasticsearch-(\d+(?:\.\d+)+)\.jar", one.name) for one in lib.iterdir())
    return next(one[1] for one in found if one)


def readable(lib: Path, place: Path) -> Path:
    """A copy of the libraries that are compiled against, in a format of class files that javac 17 reads.

    Elasticsearch 9 is compiled for Java 21. Of what is used here, the format differs by its number only.
    """
    target = place / "readable"
    target.mkdir()
    for jar in sorted(lib.glob("elasticsearch-*.jar")) + sorted(lib.glob("lucene-*.jar")):
        with zipfile.ZipFile(jar) as source, zipfile.ZipFile(target / jar.name, "w", zipfile.ZIP_STORED) as copy:
            for name in source.namelist():
                if name.endswith(".class"):
                    content = source.read(name)
                    copy.writestr(name, content[:6] + min(content[6:8], JAVA_17) + content[8:])
    return target


def packed(files: dict[str, bytes]) -> bytes:
    """A zip archive of the files, the same whenever it is made."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, files[name])
    return buffer.getvalue()


def build(elasticsearch: str, target: Path) -> None:
    """Compile against the server's libraries and write the plugin's archive."""
    with tempfile.TemporaryDirectory() as place:
        lib = libraries(elasticsearch, Path(place))
        version = version_of(lib)
        javac = str(Path(os.environ["JAVA_HOME"], "bin/javac")) if "JAVA_HOME" in os.environ else "javac"
        classes = Path(place, "classes")
        subprocess.run(
            [javac, "--release", "17", "-nowarn", "-cp", f"{readable(lib, Path(place))}/*", "-d", classes, SOURCE],
            check=True,
        )
        compiled = {str(one.relative_to(classes)): one.read_bytes() for one in classes.rglob("*.class")}
    descriptor = DESCRIPTOR.format(version=version)
    whole = packed({"lab-analysis.jar": packed(compiled), "plugin-descriptor.properties": descriptor.encode()})
    target.write_bytes(whole)
    Path(f"{target}.sha512").write_text(f"{hashlib.sha512(whole).hexdigest()}  {target.name}\n")


if __name__ == "__main__":
    build(sys.argv[1], Path(sys.argv[2]))
