# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Snapshot repositories: registered, proven on every node, and taken back where the proof fails."""

from __future__ import annotations

import re
from dataclasses import dataclass

from . import client as search_client
from . import cluster as search_cluster
from . import settings as search_settings
from .client import part

# Nodes with one of these roles write to or read from a repository, and so verify it.
USERS_OF_REPOSITORIES = ("master", "cluster_manager", "data")

# What brings the types that are not in every server.
PLUGINS = {"s3": "repository-s3", "gcs": "repository-gcs", "azure": "repository-azure", "hdfs": "repository-hdfs"}


@dataclass(frozen=True)
class Repository:
    """What the cluster keeps of a repository. `settings`: flat, with stored values."""

    type: str
    settings: dict

    @property
    def body(self) -> dict:
        return {"type": self.type, "settings": self.settings}

    @classmethod
    def of(cls, kind: str, settings: dict) -> Repository:
        """The repository in the form in which it is compared; settings that are null are left out."""
        flat = search_settings.flat(settings)
        return cls(kind, {name: value for name, value in sorted(flat.items()) if value is not None})


def read(client: search_client.Client, name: str) -> Repository | None:
    """The repository as it is registered. Raises SearchError."""
    found = client.get(f"/_snapshot/{part(name)}", f"The repository {name}", missing=(404,))
    return Repository.of(found[name]["type"], found[name].get("settings", {})) if found else None


def running(client: search_client.Client, name: str) -> list[str]:
    """The names of the snapshots that are being taken in the repository. Raises SearchError."""
    found = client.get(f"/_snapshot/{part(name)}/_current", f"What happens in the repository {name}", missing=(404,))
    return [one["snapshot"] for one in (found or {}).get("snapshots", [])]


def put(client: search_client.Client, name: str, wanted: Repository) -> None:
    """Register the repository without proof; that is `verify`'s. Raises SearchError with a remedy."""
    try:
        client.act("PUT", f"/_snapshot/{part(name)}?verify=false", wanted.body, f"Registering the repository {name}")
    except search_client.Refused as error:
        raise search_client.SearchError(f"{error}{remedy(error.reply.reason, wanted)}") from error


def delete(client: search_client.Client, name: str) -> None:
    """Unregister the repository. What is in it stays where it is. Raises SearchError."""
    client.act("DELETE", f"/_snapshot/{part(name)}", None, f"Unregistering the repository {name}", allowed=(404,))


def verify(client: search_client.Client, name: str, wanted: Repository, timeout: float) -> list[str]:
    """Let every node prove that it reads and writes the repository; the names of those that did.

    timeout: in s. Raises SearchError that names the nodes that did not, the server's reason and a remedy.
    """
    expected = {
        node
        for node, roles in search_cluster.members(client).items()
        if any(role.startswith(USERS_OF_REPOSITORIES) for role in roles)
    }
    path = f"/_snapshot/{part(name)}/_verify?timeout={timeout:.0f}s"
    reply = client.call(client.urls[0], "POST", path, timeout=timeout + 5)
    if reply.status >= 400:
        raise search_client.SearchError(
            f"The repository {name} cannot be used{_where(reply.reason)}: {reply.reason}.{remedy(reply.reason, wanted)}"
        )
    verified = sorted(node["name"] for node in reply.body["nodes"].values())
    silent = sorted(expected - set(verified))
    if silent:
        raise search_client.SearchError(
            f"The repository {name} was not verified by {', '.join(silent)}. Do these nodes answer? See elasticsearch_health."
        )
    return verified


def _where(reason: str) -> str:
    """On which nodes, as far as the server says so."""
    names = sorted(set(re.findall(r"on the node \[\{([^}]+)\}", reason)))
    return f" on {', '.join(names)}" if names else ""


def remedy(reason: str, wanted: Repository) -> str:
    """What to do about the server's reason for refusing a repository, or ''."""
    if "path.repo" in reason:
        return (
            " The location has to be in or below a directory of path.repo in every node's configuration"
            " (elasticsearch_path_repo), which counts after a restart."
        )
    if "does not exist" in reason and "repository type" in reason:
        plugin = PLUGINS.get(wanted.type)
        if not plugin:
            return " Is the type spelt right?"
        return (
            f" The servers lack {plugin}, which is a module of Elasticsearch's own archives or else a plugin: install it on"
            " every node, and restart them."
        )
    if "is not shared" in reason or "cannot be accessed on the node" in reason:
        return (
            " Mount the same shared folder (NFS, CephFS, …) at the location on every node, writable by the user that runs the"
            " server; or use a type that needs no shared folder, as s3."
        )
    if "access_denied" in reason or "is not accessible" in reason or "failed to create blob container" in reason:
        return (
            f" The user that runs the server has to be able to write to {wanted.settings.get('location', 'the repository')}"
            " on every node. Is it mounted?"
        )
    if "client_name" in reason or "Unable to load" in reason and "credentials" in reason or "access_key" in reason:
        return " Credentials belong into the keystore of every node (elasticsearch_keystore), not into these settings."
    if "currently used" in reason or "concurrent_modification" in reason or "is already in progress" in reason:
        return " Wait until the snapshot is taken, or the restore is over, and try again."
    return ""


def reconcile(
    client: search_client.Client, name: str, wanted: Repository, prove: bool, timeout: float, check: bool
) -> dict:
    """Register the repository as wanted and let every node prove it.

    Where the proof fails, a new registration is taken back and a changed one is made what it was, so that no snapshot goes
    to a place where it cannot be read again. Raises SearchError. Returns changed, before, after, nodes.
    """
    current = read(client, name)
    changed = current != wanted
    verified: list[str] = []
    if changed and not check:
        put(client, name, wanted)
    if prove and not check:
        try:
            verified = verify(client, name, wanted, timeout)
        except search_client.SearchError as error:
            if not changed:
                raise
            if current is None:
                delete(client, name)
                raise search_client.SearchError(f"{error} It is not registered.") from error
            put(client, name, current)
            raise search_client.SearchError(f"{error} It stays as it was.") from error
    return {
        "changed": changed,
        "before": current and current.body,
        "after": wanted.body,
        "nodes": verified,
    }


def remove(client: search_client.Client, name: str, check: bool) -> dict:
    """Unregister the repository, but not while a snapshot runs in it. Raises SearchError."""
    current = read(client, name)
    if current:
        busy = running(client, name)
        if busy:
            raise search_client.SearchError(
                f"The repository {name} is in use: {', '.join(busy)} is being taken. Wait until it is complete."
            )
        if not check:
            delete(client, name)
    return {"changed": current is not None, "before": current and current.body, "after": None, "nodes": []}
