# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What of PostgreSQL's data lies on a host, from files and from what pg_controldata 15.20 printed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import jinja2
import pytest
import role_templates
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql import data as postgresql_data

CONTROLDATA = (Path(__file__).parents[3] / "fixtures" / "postgresql" / "controldata_15.20.txt").read_text()
PASSWORDS = ("etcd_patroni", "postgresql_rest", "postgresql_superuser", "postgresql_replication", "postgresql_rewind")
GROUPS = {name: ["node1", "node2", "node3"] for name in ("loadbalancer", "etcd", "postgresql")}


def cluster(directory, version="15", control="pg_control"):
    """A data directory as its files show it."""
    (directory / "global").mkdir(parents=True)
    (directory / "PG_VERSION").write_text(f"{version}\n")
    if control:
        (directory / "global" / control).write_bytes(b"\x01")
    return directory


def config(directory, version="15"):
    return f"postgresql:\n  data_dir: {directory}\n  bin_dir: /usr/lib/postgresql/{version}/bin\n"


def test_patronis_configuration_tells_directory_and_version():
    assert postgresql_data.configured(config("/data/pg")) == {"directory": "/data/pg", "version": "15", "closed": False}
    assert postgresql_data.configured("") == {"directory": "", "version": "", "closed": False}


@pytest.mark.parametrize(("extra", "closed"), [([], False), ([postgresql_data.CLOSED_HBA], True)])
def test_it_is_read_as_the_role_writes_it(extra, closed):
    text = rendered(role_templates.topology(GROUPS, "node1"), postgresql_hba_extra=extra)
    assert postgresql_data.configured(text) == {"directory": "/data/17", "version": "17", "closed": closed}


def rendered(ha, **variables):
    text = (role_templates.ROLES / "postgresql" / "templates" / "config.yml.j2").read_text()
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.ChainableUndefined, autoescape=False)
    environment.filters |= {
        "to_json": json.dumps,
        "ansible.utils.ipaddr": lambda value, _kind: f"{value}/32",
        "to_nice_yaml": lambda value, indent: str(value),
        "regex_replace": lambda value, _pattern, end: str(value) + end,
        "bool": bool,
    }
    return environment.from_string(text).render(
        ha=ha | {"tls": {}},
        ha_secrets={f"{name}_password": "secret" for name in PASSWORDS},
        postgresql_data="/data/17",
        postgresql_major="17",
        postgresql_rest_allowed_networks=[],
        postgresql_client_networks=["10.0.1.11/32"],
        postgresql_local_parameters={},
        postgresql_trial_parameters={},
        postgresql_fast_switchover=False,
        postgresql_watchdog_mode="automatic",
        postgresql_patroni_tags={},
        **variables,
    )


@pytest.mark.parametrize(
    ("version", "control", "found"),
    [
        ("15", "pg_control", {"version": "15", "disabled": False}),
        ("15", "pg_control.old", {"version": "15", "disabled": True}),
        # A base backup that is under way.
        ("15", "", {"version": "15", "disabled": False}),
    ],
)
def test_data_in_use_are_those_that_patroni_is_configured_with(tmp_path, version, control, found):
    directory = cluster(tmp_path / "data", version, control)
    (tmp_path / "config.yml").write_text(config(directory))
    assert postgresql_data.in_use(tmp_path / "config.yml") == {"directory": str(directory), **found}


def test_a_host_without_data_or_without_patroni_has_none_in_use(tmp_path):
    assert postgresql_data.in_use(tmp_path / "config.yml")["version"] == ""
    (tmp_path / "config.yml").write_text(config(tmp_path / "data"))
    assert postgresql_data.in_use(tmp_path / "config.yml")["version"] == ""


def test_control_data_are_read():
    assert postgresql_data.parse_controldata(CONTROLDATA) == {
        "system_identifier": "7712295033673263039",
        "state": "shut down",
        "checkpoint": "0/17529B0",
        "timeline": "1",
    }


def test_a_control_file_that_was_put_away_is_still_read(tmp_path, monkeypatch):
    directory = cluster(tmp_path / "data", control="pg_control.old")
    monkeypatch.setattr(os.path, "exists", lambda _path: True)
    asked = []

    def run(command, **_options):
        asked.append((Path(command[1]) / "global" / "pg_control").read_bytes())
        return 0, CONTROLDATA, ""

    assert postgresql_data.look(run, str(directory))["checkpoint"] == "0/17529B0"
    assert asked == [b"\x01"]
    assert not (directory / "global" / "pg_control").exists()


def test_a_server_runs_where_the_process_of_its_pid_file_works_there(tmp_path):
    directory = cluster(tmp_path / "data")
    assert not postgresql_data.running(str(directory))
    (directory / "postmaster.pid").write_text("711\n/var/lib/postgresql\n")
    proc = tmp_path / "proc" / "711"
    proc.mkdir(parents=True)
    assert not postgresql_data.running(str(directory), tmp_path / "proc")
    (proc / "cwd").symlink_to(tmp_path)
    assert not postgresql_data.running(str(directory), tmp_path / "proc")
    (proc / "cwd").unlink()
    (proc / "cwd").symlink_to(directory)
    assert postgresql_data.running(str(directory), tmp_path / "proc")


def test_a_place_that_does_not_exist_yet_is_that_of_what_holds_it(tmp_path):
    assert postgresql_data.place(str(tmp_path / "17" / "utmstack")) == postgresql_data.place(str(tmp_path))
    (tmp_path / "file").write_text("")
    assert not postgresql_data.place(str(tmp_path))["empty"]
