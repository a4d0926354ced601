#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: elasticsearch_archive
short_description: Install Elasticsearch or OpenSearch from an archive
version_added: 0.1.0
description:
  - Installs a version, with plugins, from a zip or tar archive whose checksum is known, into a directory of its own.
  - The archive is unpacked beside its place and renamed when it is complete. A run that is killed leaves nothing half, and
    neither does a wrong checksum or a full disk.
  - Nothing is downloaded when the version is there already.
  - Data is looked at first. Where it was written by the other product, by a newer version or by one from which no single step leads to
    O(version), nothing is installed.
  - A Java of the host that is too old for the version is refused before the version is put in place.
author:
  - The utmstack.ha developers (@utmstack)
options:
  name:
    description:
      - The product.
    type: str
    choices: [elasticsearch, opensearch]
    default: elasticsearch
  version:
    description:
      - Its version.
    type: str
    required: true
  url:
    description:
      - Where the archive is, C(https://), C(http://), C(file://) or an absolute path on the host.
      - C({machine}) stands for C(x86_64) or C(aarch64), C({arch}) for C(x64) or C(arm64).
    type: str
    required: true
  checksum:
    description:
      - C(sha512:) or C(sha256:) and the archive's digest in hexadecimal, or the URL of a file with the digest.
    type: str
    required: true
  plugins:
    description:
      - Plugins from archives of their own. Those installed by an earlier run and not listed any more are removed.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The plugin's name, which is that of its directory.
        type: str
        required: true
      url:
        description: Where its archive is, as with O(url).
        type: str
        required: true
      checksum:
        description: Its checksum, as with O(checksum).
        type: str
        required: true
  directory:
    description:
      - Where the products are. The version is installed into C(<name>-<version>) there, and the link C(elasticsearch) leads to it.
    type: path
    default: /opt/utmstack-ha
  config_directory:
    description:
      - Where links to O(config_files) are made. They belong to the version and are not edited.
    type: path
    required: true
  config_files:
    description:
      - Files of the archive's C(config) that the server wants in its own configuration directory.
    type: list
    elements: str
    default: [jvm.options, log4j2.properties]
  data_directory:
    description:
      - Where the server's data is or will be.
    type: path
    required: true
  activate:
    description:
      - Whether the version is put in place, by the links to it. Without, it is only made ready, and what runs stays what it is, also
        after a restart.
    type: bool
    default: true
  prune:
    description:
      - Whether versions are removed that are neither this one nor the one before it.
    type: bool
    default: false
  account:
    description:
      - The account that will run the server. Whether there is one is told, and nothing else is done with it.
    type: str
    default: elasticsearch
  timeout:
    description:
      - How long the source of a download may be silent, in seconds.
    type: int
    default: 60
attributes:
  check_mode:
    description: Nothing is downloaded. What is refused because of data is refused all the same.
    support: full
  diff_mode:
    description: Tells the version and the plugins before and after.
    support: full
"""

EXAMPLES = r"""
- name: Install Elasticsearch
  utmstack.ha.elasticsearch_archive:
    version: 8.19.4
    url: https://artifacts.elastic.co/downloads/elasticsearch/elasticsearch-8.19.4-linux-{machine}.tar.gz
    checksum: sha512:https://artifacts.elastic.co/downloads/elasticsearch/elasticsearch-8.19.4-linux-{machine}.tar.gz.sha512
    config_directory: /etc/elasticsearch
    data_directory: /var/lib/elasticsearch

- name: Install OpenSearch from a file on the host, with a plugin
  utmstack.ha.elasticsearch_archive:
    name: opensearch
    version: 2.19.4
    url: /srv/opensearch-2.19.4.zip
    checksum: sha256:3902e642715210d1d9d7cbdcc8f5abd6f931d1d7a679cea3750937becf16c406
    plugins:
      - name: opensearch-security
        url: /srv/opensearch-security-2.19.4.0.zip
        checksum: sha256:1f673622c462c4171a8c53f9b1ad20e5b839834cb79b0d3b388da180a0e514e8
    config_directory: /etc/elasticsearch
    data_directory: /var/lib/elasticsearch
"""

RETURN = r"""
home:
  description: Where the version is installed.
  returned: always
  type: str
  sample: /opt/utmstack-ha/elasticsearch-8.19.4
java_home:
  description: The Java that runs it, the archive's own or else the host's.
  returned: always
  type: str
  sample: /usr/lib/jvm/java-21-openjdk-amd64
previous:
  description: Name and version that were installed before, as in C(elasticsearch-8.19.4), or null.
  returned: always
  type: str
  sample: elasticsearch-8.19.4
uid:
  description: Number of the account O(account), or null where there is none.
  returned: always
  type: int
  sample: 997
removed:
  description: Versions that were removed, or would be in check mode.
  returned: always
  type: list
  elements: str
  sample: [elasticsearch-8.18.0]
plugins:
  description: The plugins that this module manages.
  returned: always
  type: list
  elements: str
  sample: [opensearch-security]
"""

import contextlib
import os
import platform
import pwd
import re
import shutil

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.common import directories
from ansible_collections.utmstack.ha.plugins.module_utils.search import archive
from ansible_collections.utmstack.ha.plugins.module_utils.search import node as elasticsearch_node
from ansible_collections.utmstack.ha.plugins.module_utils.search import upgrade as search_upgrade

LINK = "elasticsearch"
# Leads to what LINK led to before, which is kept.
PREVIOUS_LINK = "elasticsearch-previous"
PRODUCTS = ("elasticsearch", "opensearch")


class Installation:
    """One version of the product on this host: what is there, and how to have it."""

    def __init__(self, params):
        self.params = params
        self.directory = params["directory"]
        self.home = os.path.join(self.directory, f"{params['name']}-{params['version']}")
        self.link = os.path.join(self.directory, LINK)
        self.part = os.path.join(self.directory, f".{params['name']}-{params['version']}.part")
        self.found = archive.installed(self.home)
        self.source = self.source_of(params)
        self.plugins = {item["name"]: self.source_of(item) for item in params["plugins"]}
        self.change = archive.plan_plugins(
            self.found.get("plugins", {}), {name: source.checksum for name, source in self.plugins.items()}
        )

    def source_of(self, item):
        """The archive that an option names."""
        machine = platform.machine()

        def opened(url):
            # Only where something is fetched: to import it takes a tenth of a second and more.
            from ansible.module_utils.urls import open_url

            return open_url(url, timeout=self.params["timeout"], http_agent="utmstack.ha")

        return archive.Source(
            archive.for_machine(item["url"], machine), archive.for_machine(item["checksum"], machine), opened
        )

    def link_target(self):
        """Where the link leads to, or ''."""
        try:
            return os.readlink(self.link)
        except OSError:
            return ""

    def previous(self):
        """Product and version that the link leads to, or None."""
        product, dash, version = os.path.basename(self.link_target()).partition("-")
        return (product, version) if dash else None

    def superfluous(self):
        """Directories of versions that this module has installed and nobody needs any more."""
        if not self.params["prune"]:
            return []
        kept = {self.home, self.link_target()}
        with contextlib.suppress(OSError):
            kept.add(os.readlink(os.path.join(self.directory, PREVIOUS_LINK)))
        found = [os.path.join(self.directory, name) for name in sorted(os.listdir(self.directory))]
        mine = [path for path in found if not os.path.islink(path) and archive.installed(path)]
        return [path for path in mine if path not in kept and os.path.basename(path).partition("-")[0] in PRODUCTS]

    def refuse(self):
        """Raise ArchiveError where the data is not this version's, or another archive of this version is installed."""
        archive.version_key(self.params["version"])
        data = self.params["data_directory"]
        if elasticsearch_node.has_data(data):
            reason = archive.refusal(self.previous(), self.params["name"], self.params["version"], data)
            if reason:
                raise archive.ArchiveError(reason)
        if self.found and archive.differs(self.found["archive"], self.source.checksum):
            raise archive.ArchiveError(
                f"{self.home} was installed from an archive with the checksum {self.found['archive']}, but "
                f"{self.source.checksum.text} is asked for. A version is never replaced under a server that may run it: "
                "correct the checksum, or stop the server and remove the directory."
            )

    def install(self):
        """Have the version, in one piece."""
        shutil.rmtree(self.part, ignore_errors=True)
        directories.make(self.part)
        try:
            path, checksum = self.source.fetch(self.part)
            fresh = os.path.join(self.part, "home")
            archive.unpack(path, fresh)
            self.judge(fresh)
            directories.make(os.path.join(fresh, "logs"))
            archive.write_manifest(fresh, {"archive": checksum, "plugins": {}})
            if os.path.exists(self.home):  # left by something else, or by a removal that was interrupted
                os.replace(self.home, os.path.join(self.part, "old"))
            os.replace(fresh, self.home)
        finally:
            shutil.rmtree(self.part, ignore_errors=True)
        self.found = archive.installed(self.home)

    def judge(self, fresh):
        """Raise ArchiveError where what was unpacked is not the product."""
        program = os.path.join("bin", self.params["name"])
        if not os.access(os.path.join(fresh, program), os.X_OK):
            raise archive.ArchiveError(
                f"{self.source.url} has no program {program}. Is it an archive of {self.params['name']} for Linux?"
            )

    def install_plugins(self):
        """Have the plugins. One that replaces another is put in place in one piece, too."""
        known = dict(self.found["plugins"])
        for name in self.change.remove:
            shutil.rmtree(os.path.join(self.home, "plugins", name), ignore_errors=True)
            del known[name]
        for name in self.change.add:
            shutil.rmtree(self.part, ignore_errors=True)
            directories.make(self.part)
            try:
                path, checksum = self.plugins[name].fetch(self.part)
                fresh, place = os.path.join(self.part, name), os.path.join(self.home, "plugins", name)
                archive.unpack(path, fresh)
                if os.path.exists(place):
                    os.replace(place, os.path.join(self.part, "old"))
                directories.make(os.path.dirname(place))
                os.replace(fresh, place)
            finally:
                shutil.rmtree(self.part, ignore_errors=True)
            known[name] = checksum
        archive.write_manifest(self.home, {**self.found, "plugins": known})

    def closed(self):
        """What a run under a strict umask has left so that the server's account can't read it."""
        return [path for path in (self.directory, self.home) if os.path.isdir(path) and not directories.is_open(path)]

    def links(self):
        """Path of each link and where it shall lead to."""
        if not self.params["activate"]:
            return {}
        wanted = {self.link: self.home}
        before = self.link_target()
        if before and before != self.home:
            # First of all, so that a run that dies here has not lost it.
            wanted = {os.path.join(self.directory, PREVIOUS_LINK): before, **wanted}
        for name in self.params["config_files"]:
            wanted[os.path.join(self.params["config_directory"], name)] = os.path.join(self.home, "config", name)
        return {path: target for path, target in wanted.items() if not self.leads(path, target)}

    @staticmethod
    def leads(path, target):
        return os.path.islink(path) and os.readlink(path) == target

    @staticmethod
    def make_link(path, target):
        directories.make(os.path.dirname(path))
        if os.path.lexists(path + ".new"):
            os.unlink(path + ".new")
        os.symlink(target, path + ".new")
        os.replace(path + ".new", path)

    def java_home(self):
        """The Java that runs this version. Raises ArchiveError where there is none, or one that is too old."""
        bundled = os.path.join(self.home, "jdk")
        if os.path.exists(os.path.join(bundled, "bin", "java")):
            return bundled
        program = shutil.which("java")
        if program:
            found = os.path.dirname(os.path.dirname(os.path.realpath(program)))
            version, needed = (
                self.java_version(found),
                search_upgrade.java_needed(*map(self.params.get, ("name", "version"))),
            )
            if version and version < needed:
                raise archive.ArchiveError(
                    f"{self.params['name']} {self.params['version']} needs Java {needed}, and {found} is Java {version}. Nothing "
                    f"was put in place. Install Debian's openjdk-{needed}-jre-headless, or use an archive that contains a JDK."
                )
            return found
        raise archive.ArchiveError(
            f"{self.home} brings no Java of its own and this host has none. Install Debian's openjdk-*-jre-headless, or use "
            "an archive that contains a JDK."
        )

    @staticmethod
    def java_version(home):
        """The major version of a Java, 0 where it does not tell."""
        try:
            with open(os.path.join(home, "release"), encoding="utf-8") as file:
                found = re.search(r'^JAVA_VERSION="(\d+)', file.read(), re.MULTILINE)
        except OSError:
            return 0
        return int(found[1]) if found else 0


def uid_of(name):
    """The account's number, None where there is no such account."""
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def main():
    source = {"url": {"type": "str", "required": True}, "checksum": {"type": "str", "required": True}}
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "choices": ["elasticsearch", "opensearch"], "default": "elasticsearch"},
            "version": {"type": "str", "required": True},
            **source,
            "plugins": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {"name": {"type": "str", "required": True}, **source},
            },
            "directory": {"type": "path", "default": "/opt/utmstack-ha"},
            "config_directory": {"type": "path", "required": True},
            "config_files": {"type": "list", "elements": "str", "default": ["jvm.options", "log4j2.properties"]},
            "data_directory": {"type": "path", "required": True},
            "activate": {"type": "bool", "default": True},
            "prune": {"type": "bool", "default": False},
            "account": {"type": "str", "default": "elasticsearch"},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    try:
        wanted = Installation(module.params)
        wanted.refuse()
        missing, links, previous = not wanted.found, wanted.links(), wanted.previous()
        closed = wanted.closed()
        before = sorted(wanted.found.get("plugins", {}))
        if not module.check_mode:
            directories.make(wanted.directory)
            for path in closed:
                directories.open_tree(path)
            if missing:
                wanted.install()
            if wanted.change:
                wanted.install_plugins()
        # A dry run can't know what an archive holds that has not been fetched.
        java_home = "" if module.check_mode and missing else wanted.java_home()
        removed = [] if module.check_mode and missing else wanted.superfluous()
        if not module.check_mode:
            for path, target in links.items():
                wanted.make_link(path, target)
            for path in removed:
                shutil.rmtree(path)
    except archive.ArchiveError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(
            msg=f"{module.params['name']} {module.params['version']} cannot be installed into {module.params['directory']}: {error}"
        )
    changed = bool(missing or wanted.change or links or removed or closed)
    module.exit_json(
        changed=changed,
        home=wanted.home,
        java_home=java_home,
        uid=uid_of(module.params["account"]),
        previous="-".join(previous) if previous else None,
        plugins=sorted(wanted.plugins),
        removed=[os.path.basename(path) for path in removed],
        diff={
            "before": {"home": None if missing else wanted.home, "plugins": before},
            "after": {
                "home": wanted.home,
                "plugins": sorted(wanted.plugins),
                "links": links,
                "removed": removed,
                "opened": closed,
            },
        }
        if changed
        else {},
    )


if __name__ == "__main__":
    main()
