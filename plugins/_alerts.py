"""Budget alerts: the log's line when 50, 80 or 100 % of a limit is spent, in people's units."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal

from plugins._ledger import Crossing, Unit

__all__ = ["alert", "amount", "iso"]

log = logging.getLogger("qwen3_router.money")


def alert(crossings: Iterable[Crossing]) -> None:
    """Log each threshold that a step of the ledger crossed; the store tells every one once."""
    for one in crossings:
        log.warning(
            "budget alert: budget=%s unit=%s level=%d%% spent=%s limit=%s resets_at=%s",
            one.budget,
            "usd" if one.unit == "nano_usd" else one.unit,
            one.level,
            amount(one.unit, one.spent),
            amount(one.unit, one.limit),
            "never" if one.resets_at is None else iso(one.resets_at),
        )


def amount(unit: Unit, number: int) -> str:
    """Return *number* of *unit* in digits; nano-dollars as dollars, exactly."""
    if unit != "nano_usd":
        return str(number)
    text = f"{Decimal(number).scaleb(-9):.9f}".rstrip("0")
    return text + "0" * max(0, 2 - len(text.partition(".")[2]))


def iso(at: float) -> str:
    """Return seconds since 1970 as `2026-12-01T00:00:00Z`."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"
