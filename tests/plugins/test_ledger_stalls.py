"""A busy event loop is no reason to call the store away: an answer that is there is taken."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from plugins._ledger import Amount, Budget
from plugins._ledger_redis import RedisLedger
from plugins._ledger_sqlite import SqliteLedger
from tests.plugins.ledger_stores import redis_server


@pytest.mark.parametrize("apart", [False, True])
def test_sqlite_s_answer_counts_although_the_event_loop_was_busy_past_the_time(
    tmp_path: Path, apart: bool
) -> None:
    async def test() -> None:
        ledger = SqliteLedger(tmp_path / "ledger.db", timeout_s=0.3, apart=apart)
        await ledger.define([Budget("b", "lifetime", tokens=100)])
        asking = asyncio.create_task(ledger.reserve(["b"], Amount(tokens=1), 60))
        await asyncio.sleep(0)
        time.sleep(1)  # noqa: ASYNC251 - what a large request may do to the loop
        await ledger.settle(await asking, Amount(tokens=1))
        (room,) = await ledger.rooms(["b"])
        assert (room.spent.tokens, room.held.tokens) == (1, 0)
        await ledger.close()

    asyncio.run(test())


def test_redis_s_answer_counts_although_the_event_loop_was_busy_past_the_time() -> None:
    async def test(url: str) -> None:
        ledger = RedisLedger(url, timeout_s=0.1)
        await ledger.define([Budget("b", "lifetime", tokens=100)])
        for before in range(4):  # in every state of the call
            asking = asyncio.create_task(ledger.reserve(["b"], Amount(tokens=1), 60))
            for _ in range(before):
                await asyncio.sleep(0)
            time.sleep(0.5)  # noqa: ASYNC251 - what a large request may do to the loop
            await ledger.settle(await asking, Amount(tokens=1))
        (room,) = await ledger.rooms(["b"])
        assert (room.spent.tokens, room.held.tokens) == (4, 0)
        await ledger.close()

    with redis_server() as server:
        asyncio.run(test(server.url))


def test_a_reservation_that_nobody_waited_for_is_given_back(tmp_path: Path) -> None:
    async def test() -> None:
        ledger = SqliteLedger(tmp_path / "ledger.db")
        await ledger.define([Budget("b", "lifetime", tokens=100)])
        asking = [
            asyncio.create_task(ledger.reserve(["b"], Amount(tokens=1), 60)) for _ in range(50)
        ]
        await asyncio.sleep(0)
        for i, one in enumerate(asking):
            await asyncio.sleep(0.0001 * (i % 3))
            one.cancel()
        ends = await asyncio.gather(*asking, return_exceptions=True)
        kept = sum(not isinstance(one, BaseException) for one in ends)
        (room,) = await ledger.rooms(["b"])
        for _ in range(100):
            (room,) = await ledger.rooms(["b"])
            if room.held.tokens == kept:
                break
            await asyncio.sleep(0.02)
        assert room.held.tokens == kept
        await ledger.close()

    asyncio.run(test())
