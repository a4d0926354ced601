#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at a host once for everything that the roles decide upon."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_info
author: The utmstack.ha developers (@utmstack)
version_added: 0.1.0
short_description: Gather all host facts used by the roles in one call
description:
  - Reads system, memory, network, clock, packages, kernel settings and files in one call, since a call costs far
    more than what it reads.
  - What is missing is returned as empty, never as an error, so that it also serves on a bare host.
attributes:
  check_mode:
    description: It never changes anything.
    support: full
  diff_mode:
    description: It never changes anything.
    support: none
options:
  packages:
    description: Debian packages to look for.
    type: list
    elements: str
    default: []
  kernel_settings:
    description: Names of kernel settings to read, for example V(net.ipv4.tcp_retries2).
    type: list
    elements: str
    default: []
  texts:
    description: Files whose text is wanted.
    type: list
    elements: path
    default: []
  private_key:
    description: A private key whose public half is wanted. The key itself is not returned.
    type: path
  units:
    description: Units of systemd to look for, by their full names.
    type: list
    elements: str
    default: []
  releases:
    description: What differs between the distribution's releases, by their versions.
    type: dict
    default: {}
  patroni_config:
    description: Patroni's configuration file, as role P(utmstack.ha.postgresql#role) writes it, whose data directory is looked at.
    type: path
"""

EXAMPLES = r"""
- name: Gather host facts
  utmstack.ha.host_info:
    packages: [patroni]
    kernel_settings: [net.ipv4.tcp_retries2]
  register: host
"""

RETURN = r"""
distribution:
  description: The distribution's identifier, as in C(/etc/os-release).
  type: str
  returned: success
  sample: debian
distribution_version:
  description: Its version.
  type: str
  returned: success
  sample: "13"
release:
  description: What O(releases) has of this version; empty where it has nothing.
  type: dict
  returned: success
  sample: {postgresql: "17"}
memory_mb:
  description: The host's memory, in MiB.
  type: int
  returned: success
  sample: 24000
container:
  description: Whether the host is a container.
  type: bool
  returned: success
interfaces:
  description: Interface name to the list of its addresses.
  type: dict
  returned: success
  sample: {eth0: ["10.0.1.11"]}
clock_synchronised:
  description: Whether the kernel holds the clock for synchronised.
  type: bool
  returned: success
time:
  description: The host's time, in seconds since 1970.
  type: float
  returned: success
clock:
  description: By how much the host's clock is ahead of the controller's, C(offset_s), and how far that may be off, C(uncertainty_s).
  type: dict
  returned: success
  sample: {offset_s: -0.012, uncertainty_s: 0.3}
missing_packages:
  description: Those of O(packages) that are not installed.
  type: list
  elements: str
  returned: success
interrupted_packages:
  description: Whether an installation was interrupted. Packages are half installed or not set up, or services are still kept from starting.
  type: bool
  returned: success
held_packages:
  description: Those of O(packages) that are installed and held at their version.
  type: list
  elements: str
  returned: success
kernel_settings:
  description: Setting to its present value, a string; settings that the kernel does not have are left out.
  type: dict
  returned: success
  sample: {"net.ipv4.tcp_retries2": "5"}
ipv6:
  description: Whether the kernel has IPv6.
  type: bool
  returned: success
texts:
  description: File to its text, empty where there is no such file.
  type: dict
  returned: success
  sample: {/etc/hosts: "127.0.0.1 localhost\n"}
public_key:
  description: The public half of O(private_key), PEM; empty when there is no such key.
  type: str
  returned: success
units:
  description: Those of O(units) that are installed, each with C(state) and C(started), ISO 8601 in UTC or null.
  type: dict
  returned: success
  sample: {etcd.service: {state: active, started: "2026-03-01T12:00:00.000Z"}}
postgresql_data:
  description:
    - The data that Patroni is configured with, C(directory); their major C(version), empty where there are none; C(disabled), whether
      pg_upgrade has put their C(pg_control) away.
  type: dict
  returned: success
  sample: {directory: /var/lib/postgresql/17/utmstack, version: "17", disabled: false}
booted:
  description: When the host's first process started, ISO 8601 in UTC.
  type: str
  returned: success
  sample: "2026-02-27T08:11:12.010Z"
"""

from ansible_collections.utmstack.ha.plugins.module_utils.host import info as ask_host
from ansible_collections.utmstack.ha.plugins.module_utils.operation.info_module import run


def main():
    run(ask_host.QUESTION)


if __name__ == "__main__":
    main()
