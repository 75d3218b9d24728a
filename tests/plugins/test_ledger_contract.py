"""What every ledger store must do, held against each of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from plugins._ledger import (
    Amount,
    Budget,
    BudgetExhausted,
    Crossing,
    Finding,
    Ledger,
    Posting,
    Room,
    UnknownBudget,
)
from tests.plugins.ledger_histories import Histories
from tests.plugins.ledger_stores import SqliteStore, Store, Wall, fast_store
from tests.sizes import FULL, size

HISTORIES = size(25, 10_000)
ONE = Amount(10, 5, 1)


@pytest.fixture(params=["sqlite", "sqlite-apart", "redis"], scope="module")
def place(request: pytest.FixtureRequest) -> Iterator[Store]:
    with fast_store(request.param) as found:
        yield found


@pytest.fixture
def store(place: Store) -> Store:
    place.empty()
    return place


@asynccontextmanager
async def opened(store: Store, wall: Wall, *budgets: Budget) -> AsyncIterator[Ledger]:
    ledger = store.client(wall)
    await ledger.start()
    await ledger.define(budgets)
    try:
        yield ledger
    finally:
        await ledger.close()


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await test()

    asyncio.run(bounded())


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


async def room(ledger: Ledger, name: str) -> Room:
    (found,) = await ledger.rooms([name])
    return found


def levels(crossings: tuple[Crossing, ...]) -> list[int]:
    return [one.level for one in crossings]


@pytest.mark.timeout(4 * 3600 if FULL else 300)
def test_histories_follow_the_model(place: Store) -> None:
    apart = isinstance(place, SqliteStore) and place.apart  # the same code, reached by a socket
    machine = type("StoreHistories", (Histories,), {"store": place})
    slow = [HealthCheck.too_slow, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=size(3, 300) if apart else HISTORIES,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=slow,
        ),
    )


def test_a_hold_on_one_budget_too_small_is_a_hold_on_none(store: Store) -> None:
    async def test() -> None:
        large, small = Budget("large", "month", nano_usd=100), Budget("small", "day", tokens=4)
        async with opened(store, Wall(), large, small) as ledger:
            with pytest.raises(BudgetExhausted) as refused:
                await ledger.reserve(["large", "small"], ONE, 30)
            assert (refused.value.budget, refused.value.unit, refused.value.left) == (
                "small",
                "tokens",
                4,
            )
            assert (await room(ledger, "large")).held == Amount()

    run(test)


def test_two_hundred_at_once_share_what_is_worth_twenty(store: Store) -> None:
    async def test() -> None:
        async with opened(store, Wall(), Budget("b", "lifetime", nano_usd=200)) as ledger:
            tries = [ledger.reserve(["b"], ONE, 30) for _ in range(200)]
            done = await asyncio.gather(*tries, return_exceptions=True)
            refused = [one for one in done if isinstance(one, BudgetExhausted)]
            assert len(refused) == 180
            assert (await room(ledger, "b")).held.nano_usd == 200

    run(test)


def test_more_than_was_held_is_booked_in_full(store: Store) -> None:
    async def test() -> None:
        async with opened(store, Wall(), Budget("b", "lifetime", tokens=10)) as ledger:
            held = await ledger.reserve(["b"], Amount(tokens=8), 30)
            await ledger.settle(held, Amount(tokens=12))
            found = await room(ledger, "b")
            assert (found.spent.tokens, found.held.tokens, found.left("tokens")) == (12, 0, 0)
            with pytest.raises(BudgetExhausted):
                await ledger.reserve(["b"], Amount(), 30)

    run(test)


def test_a_reservation_ends_once(store: Store) -> None:
    async def test() -> None:
        async with opened(store, Wall(), Budget("b", "lifetime", tokens=100)) as ledger:
            settled = await ledger.reserve(["b"], ONE, 30)
            released = await ledger.reserve(["b"], ONE, 30)
            await ledger.settle(settled, ONE)
            await ledger.release(released)
            for held in (settled, released):
                await ledger.settle(held, Amount(tokens=50))
                await ledger.release(held)
            assert (await room(ledger, "b")).spent == ONE

    run(test)


def test_an_overdue_reservation_counts_as_spent(store: Store) -> None:
    async def test() -> None:
        wall = Wall()
        async with opened(store, wall, Budget("b", "lifetime", tokens=10)) as ledger:
            await ledger.reserve(["b"], ONE, 30)
            wall.at += 30
            await ledger.reserve(["b"], ONE, 30)  # which expires the first on its way
            found = await room(ledger, "b")
            assert (found.spent, found.held) == (ONE, ONE)

    run(test)


@pytest.mark.parametrize(("tokens", "spent"), [(3, 3), (9, 9), (None, 0)])
def test_the_outcome_after_expiry_corrects_the_books(
    store: Store, tokens: int | None, spent: int
) -> None:
    async def test() -> None:
        wall = Wall()
        async with opened(store, wall, Budget("b", "lifetime", tokens=10)) as ledger:
            held = await ledger.reserve(["b"], Amount(tokens=5), 30)
            wall.at += 31
            await ledger.sweep()
            if tokens is None:
                await ledger.release(held)
            else:
                await ledger.settle(held, Amount(tokens=tokens))
            assert (await room(ledger, "b")).spent.tokens == spent
            kinds = [one.kind for one in await ledger.postings()]
            assert kinds == ["correction", "expiry"]

    run(test)


def test_a_call_belongs_to_the_period_in_which_it_began(store: Store) -> None:
    async def test() -> None:
        wall = Wall(at("2026-11-30T23:59:59"))
        async with opened(store, wall, Budget("b", "month", tokens=10)) as ledger:
            held = await ledger.reserve(["b"], Amount(tokens=10), 30)
            wall.at += 2
            await ledger.settle(held, Amount(tokens=10))
            assert (await room(ledger, "b")).spent.tokens == 0
            await ledger.reserve(["b"], Amount(tokens=10), 30)

    run(test)


@pytest.mark.parametrize("end", ["settled", "released", "expired", "settled late"])
def test_a_hold_over_the_end_of_a_month_ends_in_the_month_it_was_made_in(
    store: Store, end: str
) -> None:
    async def test() -> None:
        wall = Wall(at("2026-11-30T23:59:59"))
        async with opened(store, wall, Budget("b", "month", tokens=10)) as ledger:
            held = await ledger.reserve(["b"], Amount(tokens=8), 30)
            wall.at += 2
            assert (await room(ledger, "b")).held == Amount()
            if end in ("expired", "settled late"):
                wall.at += 60
                await ledger.sweep()
            if end.startswith("settled"):
                await ledger.settle(held, Amount(tokens=5))
            if end == "released":
                await ledger.release(held)
            found = await room(ledger, "b")
            assert (found.start, found.spent, found.held) == (
                at("2026-12-01T00:00:00"),
                Amount(),
                Amount(),
            )
            await ledger.reserve(["b"], Amount(tokens=10), 30)  # all of December's
            lines = await ledger.postings(budget="b")
            assert {one.row.start for one in lines} <= {at("2026-11-01T00:00:00")}
            tokens = {"settled": 5, "released": 0, "expired": 8, "settled late": 5}
            assert sum(one.amount.tokens for one in lines) == tokens[end]
            assert await ledger.check() == []

    run(test)


@pytest.mark.parametrize(
    ("period", "now", "start", "end"),
    [
        ("month", "2026-12-31T23:59:59", "2026-12-01T00:00:00", "2027-01-01T00:00:00"),
        ("month", "2028-02-29T12:00:00", "2028-02-01T00:00:00", "2028-03-01T00:00:00"),
        ("month", "2027-02-28T23:59:59", "2027-02-01T00:00:00", "2027-03-01T00:00:00"),
        ("month", "2100-02-28T23:59:59", "2100-02-01T00:00:00", "2100-03-01T00:00:00"),
        ("month", "2026-10-25T01:30:00", "2026-10-01T00:00:00", "2026-11-01T00:00:00"),
        ("day", "2028-02-28T23:59:59", "2028-02-28T00:00:00", "2028-02-29T00:00:00"),
        ("hour", "2026-12-31T23:59:59", "2026-12-31T23:00:00", "2027-01-01T00:00:00"),
        ("minute", "2026-11-24T12:00:59", "2026-11-24T12:00:00", "2026-11-24T12:01:00"),
    ],
)
def test_periods_are_those_of_the_calendar(
    store: Store, period: str, now: str, start: str, end: str
) -> None:
    async def test() -> None:
        async with opened(store, Wall(at(now)), Budget("b", period, tokens=1)) as ledger:  # type: ignore[arg-type]
            found = await room(ledger, "b")
            assert (found.start, found.end) == (at(start), at(end))

    run(test)


def test_a_clock_set_back_opens_no_period_again(store: Store) -> None:
    async def test() -> None:
        wall = Wall(at("2026-12-01T00:00:10"))
        async with opened(store, wall, Budget("b", "month", tokens=10)) as ledger:
            await ledger.reserve(["b"], Amount(tokens=10), 30)
            wall.at -= 60
            with pytest.raises(BudgetExhausted) as refused:
                await ledger.reserve(["b"], Amount(tokens=1), 30)
            assert refused.value.resets_at == at("2027-01-01T00:00:00")

    run(test)


def test_a_clock_that_jumps_forward_and_back_holds_nothing_for_ever(store: Store) -> None:
    async def test() -> None:
        wall = Wall()
        async with opened(store, wall, Budget("b", "lifetime", tokens=10)) as ledger:
            wall.at += 365 * 86_400
            await ledger.sweep()
            wall.at -= 365 * 86_400
            await ledger.reserve(["b"], ONE, 30)
            wall.at += 31
            await ledger.sweep()
            assert (await room(ledger, "b")).held == Amount()
            (finding,) = await ledger.check()
            assert "clock" in finding.what

    run(test)


def test_a_limit_below_what_is_spent_grants_nothing_until_the_next_period(store: Store) -> None:
    async def test() -> None:
        wall = Wall(at("2026-11-24T10:00:00"))
        async with opened(store, wall, Budget("b", "day", tokens=100)) as ledger:
            await ledger.settle(await ledger.reserve(["b"], ONE, 30), Amount(tokens=50))
            await ledger.define([Budget("b", "day", tokens=20)])
            assert (await room(ledger, "b")).left("tokens") == 0
            with pytest.raises(BudgetExhausted):
                await ledger.reserve(["b"], Amount(), 30)
            wall.at += 86_400
            assert (await room(ledger, "b")).left("tokens") == 20
            await ledger.reserve(["b"], Amount(tokens=20), 30)

    run(test)


def test_a_limit_below_what_is_held_takes_nothing_back_and_grants_nothing(store: Store) -> None:
    async def test() -> None:
        async with opened(store, Wall(), Budget("b", "day", tokens=100)) as ledger:
            held = await ledger.reserve(["b"], Amount(tokens=60), 30)
            await ledger.define([Budget("b", "day", tokens=20)])
            with pytest.raises(BudgetExhausted) as refused:
                await ledger.reserve(["b"], Amount(tokens=1), 30)
            assert refused.value.left == 0  # not -40
            await ledger.settle(held, Amount(tokens=50))  # what was granted is booked in full
            found = await room(ledger, "b")
            assert (found.spent.tokens, found.held, found.left("tokens")) == (50, Amount(), 0)
            await ledger.define([Budget("b", "day", tokens=51)])
            await ledger.reserve(["b"], Amount(tokens=1), 30)

    run(test)


def test_a_level_is_reported_once_whoever_reaches_it(store: Store) -> None:
    async def test() -> None:
        budget, wall = Budget("b", "month", tokens=100), Wall()
        async with opened(store, wall, budget) as one, opened(store, wall, budget) as other:
            found: list[int] = []
            for turn in range(22):
                ledger = (one, other)[turn % 2]
                with_crossings = await ledger.reserve(["b"], Amount(), 30) if turn < 20 else None
                if with_crossings is not None:
                    found += levels(await ledger.settle(with_crossings, Amount(tokens=5)))
            assert found == [50, 80, 100]

    run(test)


def test_a_refusal_of_an_ordinary_call_is_the_last_level_told_once(store: Store) -> None:
    async def test() -> None:
        budget, wall = Budget("b", "day", tokens=100), Wall()
        async with opened(store, wall, budget) as one, opened(store, wall, budget) as other:

            async def refused(ledger: Ledger, tokens: int) -> list[int]:
                with pytest.raises(BudgetExhausted) as error:
                    await ledger.reserve(["b"], Amount(tokens=tokens), 30)
                return levels(error.value.crossings)

            held = await one.reserve(["b"], Amount(tokens=93), 30)
            assert await refused(other, 10) == []  # all is held, nothing spent
            assert levels(await one.settle(held, Amount(tokens=93))) == [50, 80]
            assert await refused(one, 94) == []  # more than all before: says nothing of the budget
            assert await refused(other, 8) == [100]
            assert await refused(one, 8) == []
            wall.at += 86_400
            held = await one.reserve(["b"], Amount(tokens=93), 30)
            await one.settle(held, Amount(tokens=93))
            assert await refused(other, 8) == [100]

    run(test)


def test_levels_after_a_top_up_are_reported_again(store: Store) -> None:
    async def test() -> None:
        async with opened(store, Wall(), Budget("b", "lifetime", tokens=10)) as ledger:
            held = [await ledger.reserve(["b"], Amount(), 30) for _ in range(2)]
            assert levels(await ledger.settle(held[0], Amount(tokens=10))) == [50, 80, 100]
            await ledger.define([Budget("b", "lifetime", tokens=20)])
            assert levels(await ledger.settle(held[1], Amount(tokens=10))) == [80, 100]

    run(test)


def test_a_quota_is_full_until_the_next_minute_and_reports_no_level(store: Store) -> None:
    async def test() -> None:
        wall = Wall(at("2026-11-24T12:00:40"))
        async with opened(store, wall, Budget("q", "minute", requests=2)) as ledger:
            for _ in range(2):
                held = await ledger.reserve(["q"], Amount(requests=1), 30)
                assert await ledger.settle(held, Amount(requests=1)) == ()
            with pytest.raises(BudgetExhausted) as refused:
                await ledger.reserve(["q"], Amount(requests=1), 30)
            assert refused.value.resets_at == at("2026-11-24T12:01:00")
            wall.at += 20
            await ledger.reserve(["q"], Amount(requests=1), 30)

    run(test)


def test_the_refusal_that_lasts_longest_comes_first(store: Store) -> None:
    async def test() -> None:
        budgets = [Budget(name, name, tokens=0) for name in ("hour", "lifetime", "day")]  # type: ignore[arg-type]
        async with opened(store, Wall(), *budgets) as ledger:
            with pytest.raises(BudgetExhausted) as refused:
                await ledger.reserve(["hour", "lifetime", "day"], ONE, 30)
            order = [one.budget for one in refused.value.refusals]
            assert order == ["lifetime", "day", "hour"]

    run(test)


def test_a_limit_beyond_what_floats_can_tell_holds_to_the_unit(store: Store) -> None:
    async def test() -> None:
        limit = 10**18
        async with opened(store, Wall(), Budget("b", "lifetime", nano_usd=limit)) as ledger:
            await ledger.reserve(["b"], Amount(limit - 7), 30)
            with pytest.raises(BudgetExhausted):
                await ledger.reserve(["b"], Amount(8), 30)
            await ledger.reserve(["b"], Amount(7), 30)

    run(test)


def test_a_budget_that_nobody_defined_is_an_error_and_no_budget_is_none(store: Store) -> None:
    async def test() -> None:
        async with opened(store, Wall()) as ledger:
            with pytest.raises(UnknownBudget):
                await ledger.reserve(["nobody"], ONE, 30)
            with pytest.raises(UnknownBudget):
                await ledger.rooms(["nobody"])
            held = await ledger.reserve([], ONE, 30)
            await ledger.settle(held, ONE)
            assert await ledger.postings() == []

    run(test)


def test_a_correction_says_who_and_why_and_never_takes_more_than_was_spent(store: Store) -> None:
    async def test() -> None:
        async with opened(store, Wall(), Budget("b", "lifetime", nano_usd=100)) as ledger:
            await ledger.adjust("b", Amount(60), "invoice of October", "ann")
            await ledger.adjust("b", Amount(-20), "refund", "bob")
            with pytest.raises(ValueError, match="less than nothing"):
                await ledger.adjust("b", Amount(-41), "typing error", "bob")
            with pytest.raises(ValueError, match=r"more than 10+ would be spent"):
                await ledger.adjust("b", Amount(10**18), "typing error", "bob")
            assert (await room(ledger, "b")).spent.nano_usd == 40
            newest = (await ledger.postings(budget="b"))[0]
            assert (newest.kind, newest.reason, newest.who) == ("adjustment", "refund", "bob")

    run(test)


def test_folding_changes_no_sum_and_keeps_the_days(store: Store) -> None:
    async def test() -> None:
        wall = Wall(at("2026-11-24T23:59:00"))
        budgets = [Budget("b", "lifetime", tokens=1000), Budget("q", "minute", requests=9)]
        async with opened(store, wall, *budgets) as ledger:
            for _ in range(4):
                held = await ledger.reserve(["b", "q"], ONE, 3600)
                await ledger.settle(held, ONE)
                wall.at += 40
            open_ = await ledger.reserve(["b", "q"], ONE, 3600)
            before = await room(ledger, "b")
            assert await ledger.fold(wall.at) > 0
            assert await room(ledger, "b") == before
            assert await ledger.check() == []
            days = [one for one in await ledger.postings(budget="b") if one.kind == "folded"]
            assert [(one.at, one.amount.tokens) for one in days] == [
                (at("2026-11-25T00:00:00"), 10),
                (at("2026-11-24T00:00:00"), 10),
            ]
            await ledger.settle(open_, ONE)
            assert await ledger.check() == []

    run(test)


def test_the_journal_is_read_from_the_newest_and_by_budget(store: Store) -> None:
    async def test() -> None:
        wall = Wall()
        async with opened(store, wall, Budget("a", "day"), Budget("b", "day")) as ledger:
            for tokens in (1, 2, 3):
                held = await ledger.reserve(["a", "b"], Amount(), 30)
                await ledger.settle(held, Amount(tokens=tokens))
                wall.at += 10

            def seen(postings: list[Posting]) -> list[tuple[str, int]]:
                return [(one.row.budget, one.amount.tokens) for one in postings]

            assert seen(await ledger.postings(budget="b")) == [("b", 3), ("b", 2), ("b", 1)]
            assert seen(await ledger.postings(budget="b", since=wall.at - 25)) == [
                ("b", 3),
                ("b", 2),
            ]
            assert len(await ledger.postings(limit=2)) == 2

    run(test)


def test_accepting_sets_the_clock_right_and_is_kept_for_ever(store: Store) -> None:
    async def test() -> None:
        wall = Wall()
        async with opened(store, wall, Budget("b", "lifetime", tokens=10)) as ledger:
            await ledger.settle(await ledger.reserve(["b"], ONE, 30), ONE)
            wall.at += 90 * 86_400
            await ledger.sweep()
            wall.at -= 90 * 86_400
            await ledger.accept("the clock was wrong", "ann")
            assert await ledger.check() == []
            assert (await room(ledger, "b")).now == pytest.approx(wall.at)
            assert (await room(ledger, "b")).spent == ONE
            wall.at += 10
            await ledger.fold(wall.at)
            (kept,) = [one for one in await ledger.postings() if one.kind == "acceptance"]
            assert (kept.reason, kept.who) == ("the clock was wrong", "ann")

    run(test)


def test_an_older_word_changes_no_limit_and_is_told_so(store: Store) -> None:
    async def test() -> None:
        new = Budget("b", "day", tokens=7, since=1_795_000_000_000_000_124)
        old = Budget("b", "month", tokens=100, since=new.since - 1)
        async with opened(store, Wall(), new) as one, opened(store, Wall()) as other:
            assert await other.define([old, Budget("c", "day", since=1)]) == (new,)
            assert (await room(one, "b")).budget == new
            # The same limits in an older file are no news; a newer one has the last word.
            assert await other.define([replace(new, since=5)]) == ()
            assert await other.define([old]) == (new,)
            assert await other.define([replace(old, since=new.since + 1)]) == ()
            assert (await room(one, "b")).budget == old
            assert await one.define([new]) == (old,)
            # An operator starts it anew: then any file has a say, but no command without one.
            await one.accept("a clock was wrong", "ann")
            assert await one.define([Budget("b", "day")]) == (old,)
            assert await one.define([new]) == ()
            assert (await room(one, "b")).budget == new

    run(test)


def test_only_what_was_shown_is_accepted(store: Store) -> None:
    async def test() -> None:
        async with opened(store, Wall(), Budget("b", "day", tokens=7)) as ledger:
            with pytest.raises(ValueError, match="has changed since"):
                await ledger.accept("as shown", "ann", [Finding("b: 3 spent, but 4", "mend it")])
            assert await ledger.postings() == []
            await ledger.accept("as shown", "ann", await ledger.check())
            assert len(await ledger.postings()) == 1

    run(test)


def test_a_reason_in_another_encoding_is_kept_as_far_as_it_goes(store: Store) -> None:
    async def test() -> None:
        given = b"caf\xe9".decode("utf-8", "surrogateescape")  # as a terminal hands it over
        async with opened(store, Wall(), Budget("b", "day", tokens=7)) as ledger:
            await ledger.adjust("b", Amount(tokens=1), given, given)
            await ledger.accept(given, given)
            told = {(one.reason, one.who) for one in await ledger.postings()}
            assert told == {("caf\ufffd", "caf\ufffd")}

    run(test)


def test_what_is_no_amount_is_refused_before_the_store_is_asked(store: Store) -> None:
    async def test() -> None:
        async with opened(store, Wall(), Budget("b", "lifetime", tokens=10)) as ledger:
            with pytest.raises(ValueError, match="tokens must be"):
                await ledger.reserve(["b"], Amount(tokens=-1), 30)
            held = await ledger.reserve(["b"], ONE, 30)
            with pytest.raises(ValueError, match="nano_usd must be"):
                await ledger.settle(held, Amount(nano_usd=10**18 + 1))

    run(test)


def test_a_request_that_left_while_it_waited_holds_nothing(store: Store) -> None:
    async def test() -> None:
        async with opened(store, Wall(), Budget("b", "lifetime", tokens=1000)) as ledger:
            for turn in range(40):
                task = asyncio.ensure_future(ledger.reserve(["b"], ONE, 3600))
                for _ in range(turn % 8):
                    await asyncio.sleep(0)
                task.cancel()
                held = (await asyncio.gather(task, return_exceptions=True))[0]
                if not isinstance(held, BaseException):
                    await ledger.release(held)
            async with asyncio.timeout(60):
                while (await room(ledger, "b")).held != Amount():
                    await ledger.sweep()
                    await asyncio.sleep(0.01)

    run(test)


def test_a_booking_that_nobody_waits_for_comes_before_every_later_step(store: Store) -> None:
    async def test() -> None:
        budget = Budget("b", "lifetime", tokens=10)
        async with opened(store, Wall(at("2026-11-24")), budget) as ledger:
            told: list[Crossing] = []
            for _ in range(3):  # each needs all of the room
                held = await ledger.reserve(["b"], Amount(tokens=10), 60)
                ledger.book(held, None, told.extend)
            held = await ledger.reserve(["b"], Amount(tokens=10), 60)
            ledger.book(held, Amount(tokens=8), told.extend)
            with pytest.raises(BudgetExhausted):
                await ledger.reserve(["b"], Amount(tokens=3), 60)
            await ledger.reserve(["b"], Amount(tokens=2), 60)
            assert (await room(ledger, "b")).spent == Amount(tokens=8)
            assert levels(tuple(told)) == [50, 80]
            assert await ledger.check() == []

    run(test)


def test_what_is_booked_last_is_done_before_the_ledger_is_let_go_of(store: Store) -> None:
    async def test() -> None:
        budget, wall = Budget("b", "lifetime", tokens=10), Wall(at("2026-11-24"))
        async with opened(store, wall, budget) as ledger:
            held = await ledger.reserve(["b"], Amount(tokens=10), 60)
            ledger.book(held, Amount(tokens=4), lambda _: None)
        async with opened(store, wall) as ledger:
            found = await room(ledger, "b")
            assert (found.spent, found.held) == (Amount(tokens=4), Amount())

    run(test)
