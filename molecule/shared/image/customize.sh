#!/bin/sh
# Runs inside the new system, once, when the image is made: what makes a Debian host of a package list.
set -eu

# Each host makes its own host keys and machine id at its first boot.
rm -f /etc/ssh/ssh_host_* /var/lib/dbus/machine-id
: > /etc/machine-id

# Docker's own base image forbids package scripts to start services; a host does not.
rm -f /usr/sbin/policy-rc.d /etc/apt/apt.conf.d/docker-* /etc/dpkg/dpkg.cfg.d/docker-*
echo force-unsafe-io > /etc/dpkg/dpkg.cfg.d/lab

useradd --create-home --shell /bin/bash ansible
echo 'ansible ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/ansible
chmod 0440 /etc/sudoers.d/ansible

cat > /etc/systemd/system/lab-host-keys.service <<'UNIT'
[Unit]
Description=Make this host's SSH host keys
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key
Before=ssh.service

[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -A

[Install]
WantedBy=multi-user.target
UNIT

systemctl enable ssh.service lab-host-keys.service
# What only a machine with its own kernel, disks and consoles needs.
systemctl mask getty.target console-getty.service systemd-udevd.service systemd-udev-trigger.service \
    systemd-modules-load.service systemd-networkd-wait-online.service sys-kernel-debug.mount sys-kernel-tracing.mount
systemctl disable apt-daily.timer apt-daily-upgrade.timer fstrim.timer e2scrub_all.timer 2> /dev/null || true
systemctl set-default multi-user.target
rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin
