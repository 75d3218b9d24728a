"""The ledger's time: periods of the UTC calendar, and a store clock that never goes back.

Two readings are kept. The calendar decides which period it is: it is the later of the wall clock
and the last reading, so that no period comes twice. The lease decides when a reservation is
overdue: it adds up the wall clock's steps forward and leaves out those back. So a clock that jumps
forward ends reservations early (they count as spent), and one that jumps back ends none late.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, get_args

__all__ = [
    "DAY_S",
    "PERIODS",
    "Period",
    "StoreTime",
    "micros",
    "new_id",
    "period_end",
    "period_start",
]

Period = Literal["lifetime", "month", "day", "hour", "minute"]
PERIODS: tuple[Period, ...] = get_args(Period)

DAY_S = 86_400
_LENGTH_S = {"day": DAY_S, "hour": 3_600, "minute": 60}
_LAST_US = 253_370_764_800 * 1_000_000  # the year 9999: further the calendar does not go


@dataclass(frozen=True, slots=True)
class StoreTime:
    """The clock of a store, in microseconds; *wall_us* is the last reading of the wall clock."""

    wall_us: int = 0
    calendar_us: int = 0
    lease_us: int = 0

    def at(self, wall_us: int) -> StoreTime:
        """Return the store's clock when the wall clock shows *wall_us*."""
        return StoreTime(
            wall_us,
            max(self.calendar_us, wall_us),
            self.lease_us + max(0, wall_us - self.wall_us),
        )


def micros(seconds: float) -> int:
    """Return *seconds* since 1970 as whole microseconds, within what the calendar can say."""
    return max(0, min(int(seconds * 1_000_000), _LAST_US))


def period_start(period: str, at_s: int) -> int:
    """Return when the *period* around *at_s* began, in seconds since 1970; 0 for `lifetime`."""
    if period == "lifetime":
        return 0
    if period == "month":
        day = datetime.fromtimestamp(at_s, UTC)
        return int(datetime(day.year, day.month, 1, tzinfo=UTC).timestamp())
    return at_s - at_s % _LENGTH_S[period]


def period_end(period: str, start_s: int) -> int | None:
    """Return when the *period* that began at *start_s* ends; None for `lifetime`."""
    if period == "lifetime":
        return None
    if period == "month":
        day = datetime.fromtimestamp(start_s, UTC)
        year, month = (day.year + 1, 1) if day.month == 12 else (day.year, day.month + 1)
        return int(datetime(year, month, 1, tzinfo=UTC).timestamp())
    return start_s + _LENGTH_S[period]


def new_id(wall_s: float) -> str:
    """Return a fresh reservation id: 12 digits of time, so that neighbours are stored together."""
    return f"{max(0, int(wall_s * 1000)):012x}{secrets.token_hex(8)}"
