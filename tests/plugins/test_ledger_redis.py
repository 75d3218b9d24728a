"""The Redis ledger when its server is unfit, away, slow, full, or has lost what it knew."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import redis

from plugins._ledger import Amount, Budget, LedgerUnavailable, LedgerUnfit
from plugins._ledger_epochs import Epochs, epochs_path
from plugins._ledger_fitness import judge
from plugins._ledger_redis import RedisLedger
from tests.plugins.ledger_stores import RedisServer, redis_server

BUDGET = Budget("b", "lifetime", tokens=100)
ONE = Amount(tokens=10)
FIT = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}


@pytest.fixture(scope="module")
def running() -> Iterator[RedisServer]:
    with redis_server() as found:
        yield found


@pytest.fixture
def server(running: RedisServer) -> Iterator[RedisServer]:
    running.empty()
    yield running
    running.kill()
    running.start()


@asynccontextmanager
async def used(
    server: RedisServer, epochs: Epochs | None = None, timeout_s: float = 1.0
) -> AsyncIterator[RedisLedger]:
    """A ledger in which ten tokens of *BUDGET* are spent; with time, for a busy machine."""
    ledger = RedisLedger(server.url, epochs=epochs, timeout_s=timeout_s)
    await ledger.start()
    await ledger.define([BUDGET])
    await ledger.settle(await ledger.reserve(["b"], ONE, 3600), ONE)
    try:
        yield ledger
    finally:
        await ledger.close()


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))


async def spent(ledger: RedisLedger) -> int:
    (room,) = await ledger.rooms(["b"])
    return room.spent.tokens


async def back(ledger: RedisLedger) -> None:
    """Wait until the ledger has found its store again, by itself."""
    while True:
        try:
            await ledger.rooms(["b"])
            return
        except LedgerUnavailable:
            await asyncio.sleep(0.05)


def command(server: RedisServer, *words: object) -> object:
    with redis.Redis.from_url(server.url) as client:
        return client.execute_command(*words)


@pytest.mark.parametrize("how", ["killed", "stopped", "slow"])
def test_a_store_that_is_away_refuses_soon_and_then_at_once(server: RedisServer, how: str) -> None:
    async def test() -> None:
        async with used(server):
            ledger = RedisLedger(server.url)  # with the time that requests have
            await back(ledger)
            if how == "killed":
                server.kill()
            elif how == "stopped":
                server.signal(signal.SIGSTOP)
            else:  # it answers all the same, two seconds late
                command(server, "CLIENT", "PAUSE", 2000)
            took = []
            for _ in range(20):
                started = time.monotonic()
                with pytest.raises(LedgerUnavailable):
                    await ledger.reserve(["b"], ONE, 30)
                took.append(time.monotonic() - started)
            assert took[0] < 3.0  # 0.17 s on a quiet machine
            assert sorted(took[1:])[len(took) // 2] < 0.1  # and a tenth of a millisecond
            if how == "killed":
                server.start()
            elif how == "stopped":
                server.signal(signal.SIGCONT)
            await back(ledger)
            ends = time.monotonic() + 30
            (room,) = await ledger.rooms(["b"])
            while room.held != Amount() and time.monotonic() < ends:  # granted to nobody
                await asyncio.sleep(0.05)
                (room,) = await ledger.rooms(["b"])
            assert (room.spent.tokens, room.held) == (10, Amount())
            await ledger.close()

    run(test)


def test_an_outcome_that_cannot_be_told_now_is_told_later(server: RedisServer) -> None:
    async def test() -> None:
        async with used(server) as ledger:
            settled = await ledger.reserve(["b"], ONE, 3600)
            released = await ledger.reserve(["b"], ONE, 3600)
            server.kill()
            assert await ledger.settle(settled, Amount(tokens=47)) == ()
            await ledger.release(released)
            server.start()
            await back(ledger)
            (room,) = await ledger.rooms(["b"])
            while room.held != Amount():
                await asyncio.sleep(0.05)
                (room,) = await ledger.rooms(["b"])
            assert room.spent.tokens == 57
            assert await ledger.check() == []
            assert [one.level for one in await ledger.sweep()] == [50]  # told late, but told
            assert await ledger.sweep() == ()

    run(test)


def test_a_hold_whose_answer_was_lost_is_given_back(server: RedisServer) -> None:
    async def test() -> None:
        async with used(server) as ledger:
            server.signal(signal.SIGSTOP)
            with pytest.raises(LedgerUnavailable):
                await ledger.reserve(["b"], ONE, 3600)
            server.signal(signal.SIGCONT)
            await back(ledger)
            (room,) = await ledger.rooms(["b"])
            while room.held != Amount():
                await asyncio.sleep(0.05)
                (room,) = await ledger.rooms(["b"])

    run(test)


def test_a_store_that_lost_its_data_is_refused_until_somebody_accepts(server: RedisServer) -> None:
    async def test() -> None:
        async with used(server) as ledger, used(server) as other:
            server.empty()
            for one in (ledger, other):
                with pytest.raises(LedgerUnfit, match=r"gone.*--accept"):
                    await one.reserve(["b"], ONE, 30)
            await other.accept("the volume was lost", "ann")
            await back_and_define(other)
            await back(ledger)
            assert await spent(ledger) == 0
            await ledger.reserve(["b"], ONE, 30)

    run(test)


async def back_and_define(ledger: RedisLedger) -> None:
    while True:
        try:
            await ledger.define([BUDGET])
            return
        except LedgerUnavailable:
            await asyncio.sleep(0.05)


def test_a_store_that_was_filled_anew_by_somebody_else_is_refused(server: RedisServer) -> None:
    async def test() -> None:
        async with used(server) as ledger:
            server.empty()
            async with used(server), used(server):
                with pytest.raises(LedgerUnfit, match="another ledger"):
                    await ledger.reserve(["b"], ONE, 30)

    run(test)


def test_a_store_that_went_back_to_an_older_state_is_refused(server: RedisServer) -> None:
    async def test() -> None:
        async with used(server) as ledger:
            command(server, "HSET", "qwen3-router:state", "seq", 1)
            with pytest.raises(LedgerUnfit, match="older state"):
                await ledger.reserve(["b"], ONE, 30)

    run(test)


def test_this_machine_remembers_the_ledger_beyond_the_process(
    server: RedisServer, tmp_path: Path
) -> None:
    async def test() -> None:
        path = epochs_path(tmp_path, server.url)
        async with used(server, Epochs(path)):
            pass
        server.empty()
        ledger = RedisLedger(server.url, epochs=Epochs(path))
        with pytest.raises(LedgerUnfit, match="gone"):
            await ledger.start()
        await ledger.accept("a new server", "ann")
        await ledger.start()
        await ledger.close()

    run(test)


def test_an_epoch_that_was_left_does_not_come_back() -> None:
    epochs = Epochs(None)
    for epoch, step in (("one", 5), ("one", 9), ("two", 3), ("two", 4)):
        epochs.note(epoch, step)
    assert (epochs.current, epochs.left, epochs.seen) == ("two", ["one"], 4)


def test_a_counter_that_lies_is_found_and_set_right(server: RedisServer) -> None:
    async def test() -> None:
        async with used(server) as ledger:
            command(server, "HINCRBY", "qwen3-router:c:lifetime:0:b", "st", -4)
            (found,) = await ledger.check()
            assert "6 tokens spent, but 10 in the journal" in found.what
            await ledger.accept("counted again", "ann")
            assert await ledger.check() == []
            (room,) = await ledger.rooms(["b"])
            assert room.left("tokens") == 90

    run(test)


def test_a_server_out_of_memory_refuses_and_changes_nothing(server: RedisServer) -> None:
    async def test() -> None:
        async with used(server) as ledger:
            command(server, "CONFIG", "SET", "maxmemory", 1)
            with pytest.raises(LedgerUnavailable):
                await ledger.reserve(["b"], ONE, 30)
            command(server, "CONFIG", "SET", "maxmemory", 0)
            await back(ledger)
            assert await spent(ledger) == 10
            assert await ledger.check() == []

    run(test)


def test_scripts_that_were_flushed_are_loaded_again(server: RedisServer) -> None:
    async def test() -> None:
        async with used(server) as ledger:
            command(server, "SCRIPT", "FLUSH")
            await ledger.reserve(["b"], ONE, 30)

    run(test)


def test_settings_that_lose_grants_are_refused_at_start(server: RedisServer) -> None:
    async def test() -> None:
        command(server, "CONFIG", "SET", "appendfsync", "everysec")
        ledger = RedisLedger(server.url)
        with pytest.raises(LedgerUnfit, match=r"appendfsync everysec.*set appendfsync always"):
            await ledger.start()
        await ledger.close()

    run(test)


@pytest.mark.parametrize(
    ("info", "settings", "reason"),
    [
        ({}, {}, None),
        ({"role": "slave"}, {}, "is a slave: name the primary"),
        ({"cluster_enabled": 1}, {}, "is a cluster"),
        ({"redis_version": "6.0.9"}, {}, "needs 6.2"),
        ({}, {"appendonly": "no"}, "set appendonly yes"),
        ({}, {"maxmemory-policy": "allkeys-lru"}, "set maxmemory-policy noeviction"),
    ],
)
def test_only_a_primary_that_keeps_everything_is_fit(
    info: dict[str, object], settings: dict[str, str], reason: str | None
) -> None:
    healthy = {"redis_version": "7.2.4", "role": "master", "cluster_enabled": 0}
    found = judge({**healthy, **info}, {**FIT, **settings})
    assert (found is None) if reason is None else (reason in (found or ""))


def test_no_error_holds_the_password() -> None:
    async def test() -> None:
        ledger = RedisLedger("redis://user:hunter2@127.0.0.1:1/0")
        with pytest.raises(LedgerUnavailable) as error:
            await ledger.start()
        assert "hunter2" not in f"{error.value!r} {error.value.__cause__!r}"
        await ledger.close()

    run(test)
