"""How long a provider asked us to wait, in seconds, from all that providers are known to send.

Seen in the wild: `Retry-After` in seconds or as an HTTP date (RFC 9110 §10.2.3),
`retry-after-ms`, Scaleway's `x-ratelimit-reset-*` durations ("250ms", docs of 2026-04-24),
OpenRouter's `metadata.retry_after_seconds` and copied headers inside the error body. Epoch values
are told from seconds by their size.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

__all__ = ["duration_s", "retry_after_s"]

# Thirteen digits are an epoch in milliseconds; longer ones are nothing that makes sense, and the
# bound keeps a hostile header from costing anything.
_NUMBER = re.compile(r"\d{1,13}(?:\.\d{0,9})?|\.\d{1,9}")
_PART = re.compile(r"(\d{1,12}(?:\.\d{0,9})?)\s*(ms|us|µs|ns|s|m|h|d)")
_UNIT_S = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86400.0,
}
_EPOCH_S = 1e9  # 2001 as seconds since 1970; nobody asks to wait thirty years
_EPOCH_MS = 1e12


def duration_s(text: str) -> float | None:
    """Return seconds from a number ("17", "0.5") or Go's duration form ("250ms", "1m30s").

    None when *text* is neither.
    """
    text = text.strip().lower()
    if _NUMBER.fullmatch(text):
        return float(text)
    position, total = 0, 0.0
    for part in _PART.finditer(text):
        if part.start() != position:
            return None
        total += float(part[1]) * _UNIT_S[part[2]]
        position = part.end()
    return total if position and position == len(text) else None


def retry_after_s(
    headers: Mapping[str, str],
    *,
    now_s: float | None,
    body_s: float | None = None,
    rate_limited: bool = True,
) -> float | None:
    """Return the seconds that a reply asks us to wait, 0 or more and not bounded, else None.

    *headers* has lower-case names. *now_s* (seconds since 1970) is needed for dates and epochs,
    unless the reply carries its own `Date`, which is preferred: it is the clock the answer was
    made by. *body_s* is what the body said. The `x-ratelimit-reset-*` headers come with every reply
    of the providers that have them, so they count only if *rate_limited*.
    """
    now_s = _date_s(headers.get("date", "")) or now_s
    milliseconds = headers.get("retry-after-ms", "").strip()
    if _NUMBER.fullmatch(milliseconds):
        return float(milliseconds) / 1000.0
    told = _moment_s(headers.get("retry-after", ""), now_s)
    if told is None:
        told = body_s
    if told is None and rate_limited:
        told = _reset_s(headers, now_s)
    return None if told is None else max(0.0, told)


def _moment_s(text: str, now_s: float | None) -> float | None:
    """Seconds from now for a duration, an epoch in seconds or milliseconds, or an HTTP date."""
    seconds = duration_s(text)
    if seconds is None:
        moment = _date_s(text)
    elif seconds >= _EPOCH_MS:
        moment = seconds / 1000.0
    elif seconds >= _EPOCH_S:
        moment = seconds
    else:
        return seconds
    return None if moment is None or now_s is None else max(0.0, moment - now_s)


def _date_s(text: str) -> float | None:
    if len(text) > 40 or not text[:1].isalpha():
        return None
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp()


def _reset_s(headers: Mapping[str, str], now_s: float | None) -> float | None:
    """The longest reset among the exhausted limits, or among all if none says it is exhausted."""
    exhausted: list[float] = []
    others: list[float] = []
    for name, value in headers.items():
        if not name.startswith("x-ratelimit-reset"):
            continue
        seconds = _moment_s(value, now_s)
        if seconds is None:
            continue
        remaining = headers.get(name.replace("-reset", "-remaining", 1), "").strip()
        (exhausted if remaining == "0" else others).append(seconds)
    return max(exhausted or others, default=None)
