"""Waiting times in every notation that providers use."""

from __future__ import annotations

import pytest

from plugins._dialects.retry_after import duration_s, retry_after_s

NOON = 1795521600.0  # Tue, 24 Nov 2026 12:00:00 GMT


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0.0),
        ("17", 17.0),
        (" 1.5 ", 1.5),
        (".5", 0.5),
        ("250ms", 0.25),
        ("35ms", 0.035),
        ("1m30s", 90.0),
        ("2h", 7200.0),
        ("1h0m0.5s", 3600.5),
        ("1d", 86400.0),
        ("20µs", 20e-6),
        ("", None),
        ("-1", None),
        ("1e3", None),
        ("nan", None),
        ("inf", None),
        ("1m30", None),
        ("s", None),
        ("1 fortnight", None),
        ("9" * 5000, None),
    ],
)
def test_durations(text: str, expected: float | None) -> None:
    assert duration_s(text) == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "Tue, 24 Nov 2026 12:01:00 GMT"}, 60.0),
        ({"retry-after": "Tuesday, 24-Nov-26 12:01:00 GMT"}, 60.0),
        ({"retry-after": "Tue Nov 24 12:01:00 2026"}, 60.0),
        ({"retry-after": "Tue, 24 Nov 2026 13:01:00 +0100"}, 60.0),
        ({"retry-after": "Mon, 24 Nov 2025 12:00:00 GMT"}, 0.0),
        ({"retry-after": "Tue, 99 Nov 2026 12:00:00 GMT"}, None),
        ({"retry-after": "1795521610"}, 10.0),
        ({"retry-after-ms": "20", "retry-after": "1"}, 0.02),
        ({"x-ratelimit-reset-tokens": "250ms"}, 0.25),
        ({"x-ratelimit-reset": "1795521660000"}, 60.0),
        ({"x-ratelimit-reset-tokens": "2s", "x-ratelimit-reset-requests": "1s"}, 2.0),
        (
            {
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-requests": "1s",
                "x-ratelimit-remaining-tokens": "500",
                "x-ratelimit-reset-tokens": "60s",
            },
            1.0,
        ),
        ({"x-ratelimit-reset-tokens": "never"}, None),
    ],
)
def test_headers(headers: dict[str, str], expected: float | None) -> None:
    seen = retry_after_s(headers, now_s=NOON)
    assert seen == (None if expected is None else pytest.approx(expected))


def test_a_date_is_measured_by_the_clock_of_the_reply() -> None:
    headers = {
        "date": "Tue, 24 Nov 2026 15:00:00 GMT",
        "retry-after": "Tue, 24 Nov 2026 15:00:20 GMT",
    }
    assert retry_after_s(headers, now_s=NOON) == 20.0
    assert retry_after_s(headers, now_s=None) == 20.0


def test_a_date_without_any_clock_is_no_wait() -> None:
    assert retry_after_s({"retry-after": "Tue, 24 Nov 2026 12:01:00 GMT"}, now_s=None) is None


def test_a_header_beats_the_body_and_the_body_beats_reset_headers() -> None:
    assert retry_after_s({"retry-after": "3"}, now_s=NOON, body_s=17.0) == 3.0
    assert retry_after_s({"x-ratelimit-reset-tokens": "1s"}, now_s=NOON, body_s=17.0) == 17.0


def test_reset_headers_of_a_reply_that_is_not_limited_mean_nothing() -> None:
    headers = {"x-ratelimit-reset-tokens": "1s"}
    assert retry_after_s(headers, now_s=NOON, rate_limited=False) is None
