"""What is left of the budgets, as of a moment ago: asked seldom, and never waited for long.

A scrape and a page that looks every second must not keep the ledger busy, and a ledger that hangs
must not hang them: then the last answer is shown, and that it is old.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from plugins._ledger import UNITS, Budget, LedgerUnavailable, Room, UnknownBudget
from plugins._ledger_forecast import Forecast, forecast, rate
from plugins._money import Money

__all__ = ["Left", "Rooms"]

log = logging.getLogger("qwen3_router")

_EVERY_S = 1.0
_WAIT_S = 1.0
_FORECAST_EVERY_S = 30.0
_FORECAST_WAIT_S = 0.5


@dataclass(frozen=True, slots=True)
class Left:
    """*rooms* as they were at *at* (a reading of the clock); *up* if the ledger answers now."""

    rooms: tuple[Room, ...] = ()
    at: float = float("-inf")
    up: bool = False


class Rooms:
    """The budgets of one process; *clock* is monotonic, in seconds."""

    def __init__(self, money: Money, clock: Callable[[], float]) -> None:
        self._money = money
        self._clock = clock
        self._left = Left()
        self._asked = float("-inf")
        self._asking: asyncio.Task[None] | None = None
        self._rates: dict[tuple[str, str], float] = {}
        self._rated = float("-inf")
        self._rating: asyncio.Task[None] | None = None

    async def left(self, budgets: Sequence[Budget]) -> Left:
        """Return what is left of *budgets*, at most a moment old if the ledger answers."""
        if not budgets:
            return Left(at=self._clock(), up=True)
        now = self._clock()
        same = {one.budget.name for one in self._left.rooms} == {one.name for one in budgets}
        if self._asking is None and (now - self._asked >= _EVERY_S or not same):
            self._asked = now
            self._asking = asyncio.create_task(self._ask(list(budgets)))
        if self._asking is not None:
            # Left running: the next one who looks gets its answer.
            await asyncio.wait([self._asking], timeout=_WAIT_S)
            if self._asking is not None and self._asking.done():
                self._asking = None
        if self._asking is not None:
            return Left(self._left.rooms, self._left.at, up=False)
        return self._left

    async def _ask(self, budgets: list[Budget]) -> None:
        try:
            await self._money.define(budgets)
            rooms = await self._money.ledger.rooms([one.name for one in budgets])
            self._left = Left(tuple(rooms), self._clock(), up=True)
        except Exception as error:
            if not isinstance(error, LedgerUnavailable | UnknownBudget):
                log.error("the budgets cannot be read (%s)", type(error).__name__)
            self._left = Left(self._left.rooms, self._left.at, up=False)

    async def forecasts(self, left: Left) -> dict[str, Forecast]:
        """Return by budget what will be of those that have a limit and spend something."""
        now = self._clock()
        if self._rating is None and left.up and now - self._rated >= _FORECAST_EVERY_S:
            self._rated = now
            self._rating = asyncio.create_task(self._rate(left))
        if self._rating is not None:
            await asyncio.wait([self._rating], timeout=_FORECAST_WAIT_S)
            if self._rating is not None and self._rating.done():
                self._rating = None
        found = {}
        for room in left.rooms:
            for unit in UNITS:
                per_s = self._rates.get((room.budget.name, unit))
                coming = None if per_s is None else forecast(room, unit, per_s)
                if coming is not None and room.budget.limit(unit) is not None:
                    found[room.budget.name] = coming
        return found

    async def _rate(self, left: Left) -> None:
        for room in left.rooms:
            for unit in UNITS:
                if room.budget.limit(unit) is None:
                    continue
                try:
                    per_s = await rate(self._money.ledger, room, unit)
                except Exception as error:
                    if not isinstance(error, LedgerUnavailable):
                        log.error("a rate cannot be read (%s)", type(error).__name__)
                    return
                self._rates[room.budget.name, unit] = per_s
