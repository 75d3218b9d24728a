"""Turns: never too many at once, fair between consumers, and nobody is lost in the queue."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from plugins._turns import Turns


def order_of(turns: Turns, asked: Sequence[tuple[str, int]]) -> list[str]:
    """Return in which order *asked*, all there at once, are served one after the other."""
    served: list[str] = []

    async def one(consumer: str, work: int) -> None:
        await turns.take(consumer, work)
        served.append(consumer)
        await asyncio.sleep(0)
        turns.give_back(work)

    async def main() -> None:
        await turns.take("nobody")
        tasks = [asyncio.create_task(one(*each)) for each in asked]
        await asyncio.sleep(0)
        turns.give_back()
        async with asyncio.timeout(60):
            await asyncio.gather(*tasks)

    asyncio.run(main())
    return served


def test_who_asks_seldom_need_not_wait_for_who_asks_all_the_time() -> None:
    order = order_of(Turns(1), [*[("busy", 1)] * 100, ("quiet", 1)])
    assert order.index("quiet") <= 2


def test_consumers_take_turns() -> None:
    order = order_of(Turns(1), [*[("a", 1)] * 10, *[("b", 1)] * 10])
    assert order[:10].count("a") in (4, 5, 6)


def test_what_counts_is_the_work_and_not_the_number_of_requests() -> None:
    order = order_of(Turns(1), [*[("bulk", 100)] * 2, *[("single", 1)] * 200])
    between = order[order.index("bulk") : len(order) - order[::-1].index("bulk")]
    assert between.count("single") >= 95


def test_one_consumer_is_served_in_the_order_of_asking() -> None:
    turns, served = Turns(1), []

    async def one(i: int) -> None:
        await turns.take("a", 1 + i % 3)
        served.append(i)
        turns.give_back(1 + i % 3)

    async def main() -> None:
        await turns.take("a")
        tasks = [asyncio.create_task(one(i)) for i in range(20)]
        await asyncio.sleep(0)
        turns.give_back()
        await asyncio.gather(*tasks)

    asyncio.run(main())
    assert served == list(range(20))


def test_work_over_the_whole_bound_is_done_alone() -> None:
    assert order_of(Turns(8, 10), [("a", 50), ("b", 3), ("c", 50)]) is not None


ONE = st.tuples(
    st.sampled_from("abc"), st.integers(1, 9), st.integers(0, 6), st.none() | st.integers(0, 8)
)


@given(st.lists(ONE, max_size=25), st.integers(1, 4), st.integers(1, 12))
def test_the_bounds_hold_and_everybody_who_stays_is_served(
    asked: Sequence[tuple[str, int, int, int | None]], most: int, most_work: int
) -> None:
    turns = Turns(most, most_work)
    inside: Counter[int] = Counter()
    served = []

    async def one(i: int, consumer: str, work: int, turn: int) -> None:
        await turns.take(consumer, work)
        inside[i] = work
        try:
            assert len(inside) <= most
            assert len(inside) == 1 or sum(inside.values()) <= most_work
            for _ in range(turn):
                await asyncio.sleep(0)
            served.append(i)
        finally:
            del inside[i]
            turns.give_back(work)

    async def main() -> list[Any]:
        tasks = []
        for i, (consumer, work, turn, cancelled_after) in enumerate(asked):
            task = asyncio.create_task(one(i, consumer, work, turn))
            tasks.append(task)
            if cancelled_after is not None:
                for _ in range(cancelled_after):
                    await asyncio.sleep(0)
                task.cancel()
        async with asyncio.timeout(60):
            return await asyncio.gather(*tasks, return_exceptions=True)

    ends = asyncio.run(main())
    for (_, _, _, cancelled_after), end in zip(asked, ends, strict=True):
        assert end is None or (
            cancelled_after is not None and isinstance(end, asyncio.CancelledError)
        )
    assert (turns.taken, turns.work, turns.waiting) == (0, 0, 0)
