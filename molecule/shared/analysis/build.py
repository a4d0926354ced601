#!/usr/bin/env python3
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""build.py HOME ZIP: makes the lab's analysis plugin for the unpacked Elasticsearch in HOME.

Needs a javac, that of JAVA_HOME if set, of version 17 or later for Elasticsearch 8, 21 or later for 9.

Only for the archive on Maven Central: without it, native users and roles cannot be kept ("Unknown filter type
[pattern_capture]"). To be unpacked into plugins/lab-analysis on every node before it starts.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

SOURCE = Path(__file__).with_name("LabAnalysisPlugin.java")
DESCRIPTOR = """\
name=lab-analysis
description=Analysis components that the index of native users needs
version=1
elasticsearch.version={version}
java.version={java}
classname=org.utmstack.lab.LabAnalysisPlugin
"""


def build(home: Path, target: Path) -> None:
    """Compile against the libraries in `home` and write the plugin's archive."""
    version = next(
        filter(
            None, (re.fullmatch(r"elasticsearch-(\d+(?:\.\d+)+)\.jar", one.name) for one in (home / "lib").iterdir())
        )
    )[1]
    java = "17" if version.startswith("8.") else "21"
    javac = str(Path(os.environ["JAVA_HOME"], "bin/javac")) if "JAVA_HOME" in os.environ else "javac"
    with tempfile.TemporaryDirectory() as place:
        subprocess.run(
            [javac, "--release", java, "-nowarn", "-cp", f"{home}/lib/*", "-d", f"{place}/classes", str(SOURCE)],
            check=True,
        )
        jar = Path(place, "lab-analysis.jar")
        with zipfile.ZipFile(jar, "w") as archive:
            for one in sorted(Path(place, "classes").rglob("*.class")):
                archive.write(one, one.relative_to(f"{place}/classes"))
        with zipfile.ZipFile(target, "w") as archive:
            archive.write(jar, jar.name)
            archive.writestr("plugin-descriptor.properties", DESCRIPTOR.format(version=version, java=java))


if __name__ == "__main__":
    build(Path(sys.argv[1]), Path(sys.argv[2]))
