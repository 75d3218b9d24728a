"""Money around an attempt, on a real ledger with a clock of the test."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from plugins._attempt import Attempt, Outcome
from plugins._background import Background
from plugins._errors import Fault, ProviderFault, TurnedDown, Unavailable
from plugins._ledger import Amount, Budget
from plugins._ledger_open import quota
from plugins._ledger_sqlite import SqliteLedger
from plugins._money import Money
from plugins._pool import Candidate
from tests.plugins.ledger_stores import Wall
from tests.plugins.plans import candidate

DAY_S = 86_400.0
TIMED_OUT = ProviderFault(Fault.TIMEOUT, "no answer")


class Case:
    """A ledger of one test, and what a request does with it."""

    def __init__(self, path: Path) -> None:
        self.wall = Wall()
        self.ledger = SqliteLedger(path, wall=self.wall)
        self.money = Money(self.ledger, self.wall)

    def call(
        self, *budgets: Budget, price: str = "0.01", tokens: int = 1000, clients: bool = False
    ) -> Attempt:
        """Return an attempt whose worst case is *tokens* and 21 more."""
        own: Candidate = replace(
            candidate("d", usd_per_million_tokens=price), budgets=() if clients else budgets
        )
        return Attempt("req", own, None, budgets if clients else (), 1, tokens)

    def done(self, attempt: Attempt, tokens: int | None = None) -> Outcome:
        """Return the outcome of a call that was billed."""
        counted = attempt.tokens if tokens is None else tokens
        return Outcome(None, counted, attempt.candidate.cost_nano_usd(counted), True, 0.1)

    async def spent(self, name: str) -> Amount:
        (room,) = await self.ledger.rooms([name])
        return room.spent


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Case]:
    case = Case(path / "ledger.db")
    try:
        yield case
        assert await case.ledger.check() == []
    finally:
        await case.ledger.close()


def forget(folder: Path) -> None:
    """Lose a ledger's data and all that tells of it."""
    for path in folder.glob("ledger.db*"):
        path.unlink()


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))


@pytest.mark.parametrize("answered", [True, False])
def test_a_hold_keeps_the_price_it_was_made_at(tmp_path: Path, answered: bool) -> None:
    async def test() -> None:
        async with opened(tmp_path) as case:
            account = Budget("b", "lifetime", nano_usd=100_000)
            before = case.call(account)
            await case.money.before(before)
            dearer = case.call(account, price="0.05")  # the catalogue's price has changed
            await case.money.before(dearer)
            (room,) = await case.ledger.rooms(["b"])
            assert room.held.nano_usd == 1021 * 10 + 1021 * 50
            outcome = case.done(before) if answered else Outcome(TIMED_OUT, 1000, 10_000, True, 1.0)
            await case.money.after(before, outcome)
            await case.money.after(dearer, case.done(dearer))
            case.wall.at += 3600
            await case.money.sweep()
            worst = 1000 if answered else 1021  # of an unknown outcome
            assert (await case.spent("b")).nano_usd == worst * 10 + 1000 * 50

    run(test)


def test_a_provider_that_counts_more_is_booked_in_full(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as case:
            attempt = case.call(Budget("b", "month", tokens=1100))
            await case.money.before(attempt)
            await case.money.after(attempt, case.done(attempt, tokens=1200))
            assert await case.spent("b") == Amount(12_000, 1200, 1)
            with pytest.raises(TurnedDown):
                await case.money.before(case.call(Budget("b", "month", tokens=1100), tokens=1))

    run(test)


def test_a_client_is_told_when_its_budget_starts_again(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as case:
            case.wall.at = 1_796_083_199.0  # 2026-11-30T23:59:59Z
            key = Budget("key:a", "month", tokens=1021)
            first = case.call(key, clients=True)
            await case.money.before(first)
            await case.money.after(first, case.done(first))
            with pytest.raises(Unavailable) as refused:
                await case.money.before(case.call(key, clients=True))
            assert (refused.value.status, refused.value.code) == (429, "budget_exceeded")
            assert refused.value.resets_at == 1_796_083_200
            case.wall.at += 2
            await case.money.before(case.call(key, clients=True))  # in December

    run(test)


def test_a_refusal_is_believed_for_a_second_and_a_smaller_call_is_asked_for(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as case:
            account = Budget("b", "lifetime", tokens=1500)
            attempt = case.call(account)
            await case.money.before(attempt)
            await case.money.after(attempt, case.done(attempt))
            with pytest.raises(TurnedDown):
                await case.money.before(case.call(account))
            own = attempt.candidate
            assert case.money.no_room(own, 1, 1000) == "budget b has no room"
            assert case.money.no_room(own, 1, 100) is None
            await case.ledger.adjust("b", Amount(tokens=-900), "refund", "ann")
            assert case.money.no_room(own, 1, 1000) is not None
            case.wall.at += 1
            assert case.money.no_room(own, 1, 1000) is None
            await case.money.before(case.call(account))

    run(test)


def test_a_new_limit_holds_also_against_requests_that_began_before(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as case:
            account, key = Budget("b", "month", tokens=9000), Budget("key:a", "day", tokens=9000)
            before = case.call(account, key)
            await case.money.before(before)
            await case.money.after(before, case.done(before))
            lower = replace(account, tokens=500, since=1)  # less than is spent
            await case.money.follow([lower])
            for old_or_new in (account, lower):
                with pytest.raises(TurnedDown):
                    await case.money.before(case.call(old_or_new))
            # A row of `key:*` follows when somebody brings its new limit, and does not go back.
            await case.money.before(case.call(key))
            for old_or_new in (replace(key, tokens=500, since=1), key):
                with pytest.raises(TurnedDown):
                    await case.money.before(case.call(old_or_new, tokens=1))
            await case.money.follow([replace(account, since=2)])  # and back: nothing is lost
            assert await case.spent("b") == Amount(10_000, 1000, 1)
            await case.money.before(case.call(account))

    run(test)


def test_a_limit_holds_against_a_request_that_outlived_two_reloads(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as case:
            first = Budget("b", "month", tokens=9000)
            before = case.call(first)
            await case.money.before(before)
            await case.money.after(before, case.done(before))
            for since, tokens in ((1, 5000), (2, 500)):  # the last is less than is spent
                await case.money.follow([replace(first, tokens=tokens, since=since)])
            with pytest.raises(TurnedDown):
                await case.money.before(case.call(first))

    run(test)


def test_an_older_file_never_brings_its_limits_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Two processes, one with yesterday's file; `key:bob` is a row that each defines when met."""

    async def test() -> None:
        async with opened(tmp_path) as case:
            other = SqliteLedger(case.ledger.path, wall=case.wall)
            fresh = Money(other, case.wall)  # the one with the old file, and just started
            old = [Budget(name, "month", tokens=9000, since=5) for name in ("b", "key:bob")]
            new = [Budget(name, "month", tokens=1021, since=6) for name in ("b", "key:bob")]
            await case.money.follow(new[:1])
            await case.money.before(case.call(*new))
            with caplog.at_level(logging.WARNING, "qwen3_router.money"):
                fresh.use(old[:1])
                await fresh.tell()
                for _ in range(2):
                    with pytest.raises(TurnedDown):
                        await fresh.before(case.call(*old, tokens=1))
            assert [room.budget.tokens for room in await other.rooms()] == [1021, 1021]
            told = [one.getMessage() for one in caplog.records if "newer" in one.getMessage()]
            assert len(told) == 1  # not for each row
            assert "qwen3-router reload" in told[0]
            # The old file is touched: now it is the newest, and says so.
            await fresh.follow([replace(one, since=7) for one in old[:1]])
            await fresh.before(case.call(*(replace(one, since=7) for one in old), tokens=1))
            assert [room.budget.tokens for room in await other.rooms()] == [9000, 9000]
            await other.close()

    run(test)


def test_what_the_store_forgot_is_defined_as_the_newest_file_has_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as case:
            old = Budget("key:bob", "month", tokens=9000, since=5)
            new = Budget("key:bob", "month", tokens=500, since=6)
            for one in (old, new):
                await case.money.before(case.call(one, tokens=1))
            forget(tmp_path)
            await case.ledger.accept("the disk was exchanged", "ann")
            with pytest.raises(TurnedDown):
                await case.money.before(case.call(old))  # a request that began long ago
            (room,) = await case.ledger.rooms(["key:bob"])
            assert room.budget.tokens == 500

    run(test)


def test_limits_of_a_new_file_hold_once_a_store_that_was_away_is_back(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as case:
            before = case.call(Budget("b", "month", tokens=9000, since=1))
            await case.money.before(before)
            path, hidden = case.ledger.path, tmp_path / "hidden"
            path.rename(hidden)
            await case.money.follow([Budget("b", "month", tokens=500, since=2)])
            hidden.rename(path)
            with pytest.raises(TurnedDown):
                await case.money.before(before)

    run(test)


def test_the_outcome_of_an_attempt_is_never_taken_for_that_of_another(tmp_path: Path) -> None:
    """CPython gives the id of an object that is gone to one that comes after it."""

    async def test() -> None:
        async with opened(tmp_path) as case:
            paid = case.call(Budget("b", "month", tokens=9000))
            await case.money.before(paid)
            address = id(paid)
            del paid  # its end is never told: it has to count as spent
            gc.collect()
            for _ in range(1000):
                free = case.call(price="0")
                if id(free) == address:
                    break
            await case.money.before(free)
            await case.money.after(free, case.done(free))
            (room,) = await case.ledger.rooms(["b"])
            assert (room.spent.tokens, room.held.tokens) == (0, 1021)

    run(test)


def test_what_is_overdue_is_booked_and_told_without_any_request(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        async with opened(tmp_path) as case:
            attempt = case.call(Budget("b", "day", tokens=1100))
            await case.money.before(attempt)
            case.wall.at += 60
            with caplog.at_level(logging.WARNING, "qwen3_router.money"):
                await _once(case.money.sweep)
            assert (await case.spent("b")).tokens == 1021
            told = [one.getMessage() for one in caplog.records if "alert" in one.getMessage()]
            assert [line.partition("level=")[2][:3] for line in told] == ["50%", "80%"]

    run(test)


def test_postings_older_than_a_week_become_sums_of_days_and_nothing_else_changes(
    tmp_path: Path,
) -> None:
    async def test() -> None:
        async with opened(tmp_path) as case:
            budgets = (Budget("b", "month"), quota("q", requests=9))
            for _ in range(10 * 2):
                attempt = case.call(*budgets)
                await case.money.before(attempt)
                await case.money.after(attempt, case.done(attempt))
                await case.spent("b")  # nobody waits for the booking: not before it goes on
                case.wall.at += DAY_S / 2
            before = await case.ledger.rooms()
            assert len(await case.ledger.postings(budget="b")) == 20
            await _once(lambda: case.money.fold(case.wall.at))
            assert await case.ledger.rooms() == before
            lines = await case.ledger.postings(budget="b")
            kinds = [one.kind for one in lines]
            assert (kinds.count("settlement"), kinds.count("folded")) == (14, 3)
            assert sum(one.amount.tokens for one in lines) == 20_000

    run(test)


def test_the_books_are_left_alone_while_the_store_is_away(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as case:
            await case.money.before(case.call(Budget("b", "day", tokens=10_000)))
            path, hidden = case.ledger.path, tmp_path / "hidden"
            path.rename(hidden)
            await case.money.sweep()
            await case.money.fold(case.wall.at)
            hidden.rename(path)

    run(test)


async def _once(work: Callable[[], Awaitable[None]]) -> None:
    """Let *work* be done beside the requests, as the running proxy does, one time."""
    finished = asyncio.Event()

    async def sleep(seconds: float) -> None:
        if seconds:
            finished.set()
            await asyncio.Event().wait()

    jobs = Background(sleep)
    jobs.add("upkeep", 60.0, work)
    jobs.begin()
    await finished.wait()
    await jobs.aclose()
