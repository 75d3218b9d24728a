"""Random histories of a store with two clients, each step held against the plain model."""

from __future__ import annotations

import asyncio
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from plugins._ledger import UNITS, Amount, Budget, BudgetExhausted, Crossing, Reservation
from plugins._ledger_time import PERIODS
from tests.plugins.ledger_model import Held, Level, Model, Refused, end_of
from tests.plugins.ledger_stores import Store, Wall

__all__ = ["Histories"]

NAMES = ("account", "key:a", "team:b")
# Small and odd on purpose: limits are met often, and beyond 53 bits no float can help.
LIMITS = st.sampled_from([None, 0, 1, 7, 10, 10, 25, 10**18])
UNIT = st.one_of(st.integers(0, 6), st.sampled_from([0, 10**17 + 1]))
AMOUNTS = st.builds(Amount, UNIT, st.integers(0, 6), st.integers(0, 2))
# Beyond 53 bits too: the time of a file in nanoseconds.
SINCE = st.sampled_from([0, 1, 9, 10, 1_795_000_000_000_000_123, 1_795_000_000_000_000_124])
BUDGETS = st.builds(
    Budget, st.sampled_from(NAMES), st.sampled_from(PERIODS), LIMITS, LIMITS, LIMITS, SINCE
)
# 2027-12-31T23:59:30Z: every kind of period ends within a minute; 2028 is a leap year.
START = 1_830_297_570.0
STEPS = [0.0, 0.25, 1.0, 31.0, 61.0, 3_600.0, 86_400.0, 28 * 86_400.0, 31 * 86_400.0, -1.0, -90.0]


class Histories(RuleBasedStateMachine):
    """Set `store` in a subclass."""

    store: Store

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.store.empty()
        self.wall = Wall(START)
        self.clients = [self.store.client(self.wall) for _ in range(2)]
        self.model = Model()
        self.granted: list[tuple[Reservation, Held]] = []
        self.turn = 0
        self.audits = 0
        self.folded_to = 0.0

    @initialize(budgets=st.lists(BUDGETS, min_size=2, max_size=4))
    def start(self, budgets: list[Budget]) -> None:
        for client in self.clients:
            self.run(client.start())
        for budget in budgets:
            self.define(budget)
        for name in NAMES:
            if name not in self.model.budgets:
                self.define(Budget(name, "lifetime", nano_usd=10))

    @rule(budget=BUDGETS)
    def define(self, budget: Budget) -> None:
        self.tick()
        newer = self.run(self.client().define([budget]))
        self.model.define(budget)
        there = self.model.budgets[budget.name]
        assert newer == (() if there == budget else (there,))
        assert all(one.since == there.since for one in newer)

    @rule(
        names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=3),
        amount=AMOUNTS,
        ttl=st.sampled_from([0.0, 0.5, 30.0, 30.0, 90.0]),
    )
    def reserve(self, names: list[str], amount: Amount, ttl: float) -> None:
        self.tick()
        try:
            held, levels = self.model.reserve(names, amount, int(ttl * 1_000_000))
        except Refused as refused:
            with pytest.raises(BudgetExhausted) as error:
                self.run(self.client().reserve(names, amount, ttl))
            self._check_refusals(error.value, names, refused.levels)
            return
        got = self.run(self.client().reserve(names, amount, ttl))
        assert _levels(got.crossings) == levels
        assert tuple(map(tuple, got.rows)) == held.rows
        assert abs(got.expires_at * 1_000_000 - held.expires_us) < 1_000
        self.model.held[got.id] = held
        self.granted.append((got, held))

    @precondition(lambda self: self.granted)
    @rule(which=st.integers(0, 20), actual=AMOUNTS)
    def settle(self, which: int, actual: Amount) -> None:
        self.tick()
        got, held = self.granted[-1 - which % len(self.granted)]
        assert _levels(self.run(self.client().settle(got, actual))) == self.model.settle(
            held, actual
        )

    @precondition(lambda self: self.granted)
    @rule(which=st.integers(0, 20), actual=st.none() | AMOUNTS)
    def book(self, which: int, actual: Amount | None) -> None:
        """Settle or release, with nobody waiting: the next step finds it done."""
        self.tick()
        got, held = self.granted[-1 - which % len(self.granted)]
        client = self.client()
        told: list[Crossing] = []

        async def both() -> tuple[Crossing, ...]:
            client.book(got, actual, told.extend)
            return await client.sweep()

        expired = self.run(both())
        levels = set() if actual is None else self.model.settle(held, actual)
        if actual is None:
            self.model.release(held)
        assert _levels((*told, *expired)) == levels | self.model.sweep()

    @precondition(lambda self: self.granted)
    @rule(which=st.integers(0, 20))
    def release(self, which: int) -> None:
        self.tick()
        got, held = self.granted[-1 - which % len(self.granted)]
        self.run(self.client().release(got))
        self.model.release(held)

    @rule()
    def sweep(self) -> None:
        self.tick()
        assert _levels(self.run(self.client().sweep())) == self.model.sweep()

    @rule(name=st.sampled_from(NAMES), amount=AMOUNTS, back=st.booleans())
    def adjust(self, name: str, amount: Amount, back: bool) -> None:
        self.tick()
        amount = -amount if back else amount
        try:
            levels = self.model.adjust(name, amount)
        except ValueError:
            with pytest.raises(ValueError, match="less than nothing"):
                self.run(self.client().adjust(name, amount, "test", "me"))
            return
        assert _levels(self.run(self.client().adjust(name, amount, "test", "me"))) == levels

    @rule(seconds=st.sampled_from(STEPS))
    def wait(self, seconds: float) -> None:
        self.wall.at += seconds

    @rule(days=st.sampled_from([0.0, 1.0, 40.0]))
    def fold(self, days: float) -> None:
        # What ended before is forgotten, so the test must not end it a second time.
        self.tick()
        self.run(self.client().sweep())
        self.model.sweep()
        before = self.wall.at - days * 86_400
        self.run(self.client().fold(before))
        self.folded_to = max(self.folded_to, before)
        self.granted = [pair for pair in self.granted if pair[1].state == "open"]

    @precondition(lambda self: self.wall.at >= self.folded_to)  # merged counters do not come back
    @rule()
    def accept(self) -> None:
        self.tick()
        self.run(self.client().accept("test", "me"))
        self.model.accept()

    @rule(which=st.integers(0, 1))
    def reopen(self, which: int) -> None:
        self.run(self.clients[which].close())
        self.clients[which] = self.store.client(self.wall)
        self.run(self.clients[which].start())

    @invariant()
    def rooms_are_the_models(self) -> None:
        if not self.model.budgets:
            return
        now_us = max(self.model.calendar, self._wall_us())  # looking does not set the clock
        for room in self.run(self.client().rooms()):
            name = room.budget.name
            row = self.model.row(name, now_us)
            assert room.budget == self.model.budgets[name]
            assert (room.start, room.end) == (row[2], end_of(row[1], row[2]))
            assert _units(room.spent) == self.model.spent_of(row)
            assert _units(room.held) == self.model.held_of(row)

    @invariant()
    def books_are_in_order(self) -> None:
        self.audits += 1
        if self.audits % 5 == 0 and self.model.budgets:
            self._audit()

    def _audit(self) -> None:
        findings = self.run(self.client().check())
        assert [one for one in findings if "clock" not in one.what] == []

    def teardown(self) -> None:
        self._audit()
        for client in self.clients:
            self.run(client.close())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()

    def client(self) -> Any:
        """The clients take turns, so that each meets what the other did."""
        self.turn += 1
        return self.clients[self.turn % 2]

    def tick(self) -> None:
        self.model.clock(self._wall_us())

    def run(self, coroutine: Any) -> Any:
        return self.loop.run_until_complete(coroutine)

    def _wall_us(self) -> int:
        return int(self.wall.at * 1_000_000)

    def _check_refusals(self, error: BudgetExhausted, names: list[str], levels: set[Level]) -> None:
        assert _levels(error.crossings) == levels
        for one in error.refusals:
            row = self.model.row(one.budget)
            limit = self.model.budgets[one.budget].limit(one.unit)
            assert one.budget in names
            assert limit is not None
            used = self.model.spent_of(row)[one.unit] + self.model.held_of(row)[one.unit]
            assert one.left == max(0, limit - used)
            assert one.resets_at == end_of(row[1], row[2])


def _levels(crossings: tuple[Crossing, ...]) -> set[Level]:
    levels = [(one.budget, one.unit, one.level, one.resets_at) for one in crossings]
    assert len(set(levels)) == len(levels)
    return set(levels)


def _units(amount: Amount) -> dict[str, int]:
    return {unit: getattr(amount, unit) for unit in UNITS}
