# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Moments as people write them."""

from __future__ import annotations

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.common import moments


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-30T11:45:26Z",
        "2026-11-30 11:45:26",
        "2026-11-30T12:45:26+01:00",
        "1796039126",
        1796039126,
        1796039126.9,
    ],
)
def test_one_moment_can_be_written_in_many_ways(text):
    assert moments.epoch(text) == 1796039126


def test_no_moment_is_no_limit():
    assert moments.epoch("") == moments.epoch(None) == 0


@pytest.mark.parametrize("text", ["yesterday", "30.11.2026", "2026-13-01"])
def test_what_is_no_time_is_said(text):
    with pytest.raises(ValueError, match="is no time. Write it like 2026-11-30T12:00:00Z"):
        moments.epoch(text)


def test_a_moment_is_told_in_utc():
    assert moments.clock(1796039126.4) == "2026-11-30 11:45:26 UTC"
