"""What is left of the budgets, as a page shows it: soon, and without waiting for the ledger."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from plugins import _rooms
from plugins._ledger import Amount, Budget, Ledger, LedgerUnavailable, Room
from plugins._ledger_sqlite import SqliteLedger
from plugins._money import Money
from plugins._rooms import Rooms

DAY = Budget("a", "day", tokens=100)
OTHER = Budget("b", "lifetime", nano_usd=5)


class Slow:
    """A ledger that answers late, or not at all."""

    def __init__(self, inner: Ledger) -> None:
        self._inner = inner
        self.wait_s = 0.0
        self.away = False
        self.asked = 0

    async def define(self, budgets: list[Budget]) -> tuple[Budget, ...]:
        return await self._inner.define(budgets)

    async def rooms(self, names: list[str]) -> list[Room]:
        self.asked += 1
        await asyncio.sleep(self.wait_s)
        if self.away:
            raise LedgerUnavailable("away")
        return await self._inner.rooms(names)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may take its time, where a test is not about that."""
    monkeypatch.setattr(_rooms, "_WAIT_S", 30.0)


@pytest.fixture
def ledger(tmp_path: Path) -> SqliteLedger:
    return SqliteLedger(tmp_path / "ledger.db", apart=False)


def test_ledger_that_hangs_is_not_waited_for_and_goes_on_later(
    ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        slow, now = Slow(ledger), 0.0
        rooms = Rooms(Money(slow, lambda: now), lambda: now)  # type: ignore[arg-type]
        first = await rooms.left([DAY])
        assert (first.up, [one.budget.name for one in first.rooms]) == (True, ["a"])
        monkeypatch.setattr(_rooms, "_WAIT_S", 0.05)
        now, slow.wait_s = 2.0, 2.0
        begun = time.monotonic()
        late = await rooms.left([DAY])
        assert time.monotonic() - begun < 1.5
        assert (late.up, late.rooms) == (False, first.rooms)
        monkeypatch.setattr(_rooms, "_WAIT_S", 30.0)
        assert (await rooms.left([DAY])).up
        assert slow.asked == 2
        await ledger.close()

    asyncio.run(run())


def test_ledger_that_is_away_leaves_the_last_figures_and_says_so(ledger: SqliteLedger) -> None:
    async def run() -> None:
        slow, now = Slow(ledger), 0.0
        rooms = Rooms(Money(slow, lambda: now), lambda: now)  # type: ignore[arg-type]
        await rooms.left([DAY])
        now, slow.away = 2.0, True
        left = await rooms.left([DAY])
        assert (left.up, len(left.rooms)) == (False, 1)
        now, slow.away = 4.0, False
        assert (await rooms.left([DAY])).up
        await ledger.close()

    asyncio.run(run())


def test_a_crowd_of_readers_asks_once_a_second(ledger: SqliteLedger) -> None:
    async def run() -> None:
        slow, now = Slow(ledger), 0.0
        rooms = Rooms(Money(slow, lambda: now), lambda: now)  # type: ignore[arg-type]
        for _ in range(50):
            await asyncio.gather(*(rooms.left([DAY]) for _ in range(4)))
        assert slow.asked == 1
        # Another configuration, other budgets: asked at once.
        assert len((await rooms.left([DAY, OTHER])).rooms) == 2
        await ledger.close()

    asyncio.run(run())


def test_forecast_comes_from_what_was_spent(ledger: SqliteLedger) -> None:
    async def run() -> None:
        now = 0.0
        money = Money(ledger, lambda: now)
        rooms = Rooms(money, lambda: now)
        await money.define([DAY, OTHER])
        await ledger.adjust("b", Amount(nano_usd=3), "test", "test")
        left = await rooms.left([DAY, OTHER])
        coming = await rooms.forecasts(left)
        assert set(coming) == {"b"}
        assert coming["b"].empty_at is not None
        await ledger.close()

    asyncio.run(run())
