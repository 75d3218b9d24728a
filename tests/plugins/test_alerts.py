"""Alerts in the log: once each, in dollars and in times that people read."""

from __future__ import annotations

import logging

import pytest

from plugins._alerts import alert, amount, iso
from plugins._ledger import Crossing


def test_an_alert_is_told_in_dollars_and_with_a_time_that_people_read(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, "qwen3_router.money"):
        alert([Crossing("deepinfra", "nano_usd", 80, 1_440_000_010, 1_800_000_000, 1_796_083_200)])
        alert([Crossing("scaleway-free", "tokens", 100, 999_990, 1_000_000, None)])
    assert [one.getMessage() for one in caplog.records] == [
        (
            "budget alert: budget=deepinfra unit=usd level=80% spent=1.44000001 limit=1.80 "
            "resets_at=2026-12-01T00:00:00Z"
        ),
        (
            "budget alert: budget=scaleway-free unit=tokens level=100% spent=999990 limit=1000000 "
            "resets_at=never"
        ),
    ]


@pytest.mark.parametrize(
    ("nano_usd", "text"),
    [
        (0, "0.00"),
        (1, "0.000000001"),
        (10**9, "1.00"),
        (10**18, "1000000000.00"),
        (-5 * 10**8, "-0.50"),
    ],
)
def test_nano_dollars_are_written_exactly(nano_usd: int, text: str) -> None:
    assert amount("nano_usd", nano_usd) == text


def test_a_time_is_utc() -> None:
    assert iso(0) == "1970-01-01T00:00:00Z"
