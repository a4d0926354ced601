# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""PostgreSQL's values and the memory settings."""

from __future__ import annotations

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql import parameters as postgresql


@pytest.mark.parametrize(
    ("name", "one", "other", "equal"),
    [
        ("shared_buffers", "16MB", "16MB", True),
        ("shared_buffers", "16MB", 2048, True),
        ("shared_buffers", "1GB", "1024MB", True),
        ("shared_buffers", "16mb", "16MB", False),
        ("work_mem", "4MB", 4096, True),
        ("work_mem", "4MB", 4, False),
        ("max_wal_size", 1024, "1GB", True),
        ("wal_keep_size", "0.5GB", "512MB", True),
        ("checkpoint_timeout", 300, "5min", True),
        ("checkpoint_timeout", "300s", "5min", True),
        ("wal_sender_timeout", "5s", "5000ms", True),
        ("wal_sender_timeout", "5s", 5000, True),
        ("wal_sender_timeout", "5s", 5, False),
        ("statement_timeout", 0, "0ms", True),
        ("max_slot_wal_keep_size", -1, "-1", True),
        ("an_extension.timeout", 0, "0s", True),
        ("an_extension.timeout", 5, "5s", False),
        ("max_connections", 100, "100", True),
        ("max_connections", 100, "0x64", True),
        ("max_connections", 100, 101, False),
        ("log_file_mode", "0640", 416, True),
        ("seq_page_cost", "1e0", 1.0, True),
        ("wal_log_hints", "on", True, True),
        ("wal_log_hints", "yes", "ON", True),
        ("wal_log_hints", "off", 0, True),
        ("wal_log_hints", "on", "off", False),
        ("synchronous_commit", "local", True, False),
        ("synchronous_commit", "on", True, True),
        ("archive_command", "cp %p /a", "cp %p /b", False),
        ("log_line_prefix", "%m ", "%m", False),
        ("max_connections", None, 100, False),
        ("", [1], [1], True),
        ("", [1], [2], False),
        ("", {"a": 1}, "x", False),
    ],
)
def test_values_are_compared_by_their_meaning(name, one, other, equal):
    for pair in ((one, other), (other, one)):
        assert postgresql.same(name, *pair) is equal


def test_lowered_and_raised_know_patronis_defaults():
    before, after = {"max_connections": "200"}, {"max_connections": 150, "max_wal_senders": 12, "work_mem": "1MB"}
    assert postgresql.lowered(before, after) == ["max_connections"]
    assert postgresql.raised(before, after) == ["max_wal_senders"]
    assert postgresql.lowered({"max_worker_processes": 16}, {}) == ["max_worker_processes"]
    assert postgresql.lowered({"max_connections": "many"}, {"max_connections": 1}) == []


def test_restarts_are_forecast_for_parameters_of_context_postmaster():
    assert postgresql.needs_restart(["work_mem", "Shared_Buffers", "archive_mode"]) == [
        "Shared_Buffers",
        "archive_mode",
    ]


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        (
            (16384, 0.5, 200),
            {
                "shared_buffers": "2GB",
                "effective_cache_size": "6GB",
                "maintenance_work_mem": "512MB",
                "autovacuum_work_mem": "256MB",
                "work_mem": "10MB",
                "wal_buffers": "16MB",
            },
        ),
        (
            (512, 0.5, 100),
            {
                "shared_buffers": "64MB",
                "effective_cache_size": "192MB",
                "maintenance_work_mem": "16MB",
                "autovacuum_work_mem": "8MB",
                "work_mem": "1MB",
                "wal_buffers": "2MB",
            },
        ),
    ],
)
def test_memory_settings_follow_ram_share_and_connections(arguments, settings):
    assert postgresql.memory(*arguments) == settings


def test_many_gibibytes_stay_within_the_documented_limits():
    settings = postgresql.memory(524288, 0.8, 100)
    assert settings["maintenance_work_mem"] == "2GB"
    assert settings["wal_buffers"] == "16MB"


def test_a_few_pages_more_or_less_change_nothing():
    assert postgresql.memory(32011, 0.5, 200) == postgresql.memory(32100, 0.5, 200)


@pytest.mark.parametrize("ram", [256, 1000, 4096, 15998, 64000, 257_000])
def test_what_is_reserved_fits_into_the_share(ram):
    limit = ram * 0.8 * 1024**2
    amount = {n: postgresql.quantity(n, v)[1] for n, v in postgresql.memory(ram, 0.8, 50).items()}
    assert amount["shared_buffers"] <= limit / 4
    assert amount["effective_cache_size"] < limit
    assert amount["shared_buffers"] + 50 * amount["work_mem"] + 3 * amount["autovacuum_work_mem"] <= limit
