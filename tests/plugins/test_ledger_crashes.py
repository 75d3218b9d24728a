"""A ledger whose processes are killed, at every point and at random: nothing is lost or over."""

from __future__ import annotations

import asyncio
import random
import shlex
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from plugins._ledger import Amount, Budget, Ledger, LedgerUnfit, Room, UnknownBudget
from plugins._ledger_epochs import Epochs, epochs_path
from plugins._ledger_open import sqlite_path
from plugins._ledger_redis import RedisLedger
from plugins._ledger_sqlite import SqliteLedger
from tests.plugins.ledger_child import HELD_S, POINTS, STORY, Nursery
from tests.plugins.ledger_stores import RedisServer, redis_server
from tests.sizes import FULL, size

RACES = size(1, 100)
RACERS = size(4, 8)
LIMIT = 300_000  # nano-dollars: some 600 calls
MOST = 1_000  # what one call can cost


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    found = Nursery()
    yield found
    found.close()


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as found:
        yield found


@pytest.mark.parametrize("point", POINTS)
def test_killed_anywhere_a_step_was_done_or_was_not(
    point: str, tmp_path: Path, nursery: Nursery
) -> None:
    for turn in range(1, 100):
        path, diary = tmp_path / str(turn) / "ledger.db", tmp_path / f"{turn}.diary"
        code = nursery.wait(nursery.fork("story", str(path), str(diary), point, turn))
        told = diary.read_text().count("done") if diary.exists() else 0
        found = asyncio.run(_state(path))
        # What was told is there; what was cut off is there as a whole, or not at all.
        assert found in [(a, b) for _, a, b in STORY[max(0, told - 1) : told + 1]]
        if code == 0:
            assert turn > 1
            break
        assert code == -9
    else:
        raise AssertionError("the story does not end")


@pytest.mark.parametrize(
    ("point", "done"), [("accepting", False), ("accepted", False), ("noting", True)]
)
def test_killed_while_accepting_a_lost_ledger_it_is_accepted_or_still_lost(
    point: str, done: bool, tmp_path: Path, nursery: Nursery
) -> None:
    path = tmp_path / "ledger.db"

    async def begin() -> None:
        ledger = SqliteLedger(path)
        await ledger.define([Budget("b", "lifetime", tokens=1)])
        await ledger.close()

    async def look() -> None:
        ledger = SqliteLedger(path)
        if done:
            assert [one.reason for one in await ledger.postings()] == ["a new disk"]
        else:
            with pytest.raises(LedgerUnfit, match="--accept"):
                await ledger.rooms()
            await ledger.accept("once more", "ann")
        assert await ledger.rooms() == []
        await ledger.close()

    asyncio.run(begin())
    path.unlink()
    assert nursery.wait(nursery.fork("accepting", str(path), point)) == -9
    asyncio.run(look())


async def _state(path: Path) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return (spent, held) of both budgets, in a ledger that must be in order and usable."""
    ledger = SqliteLedger(path)
    assert await ledger.check() == []
    try:
        a, b = await ledger.rooms("ab")
    except UnknownBudget:
        return (0, 0), (0, 0)
    await ledger.release(await ledger.reserve("ab", Amount(), 1))
    await ledger.close()
    return (a.spent.tokens, a.held.tokens), (b.spent.tokens, b.held.tokens)


@pytest.mark.timeout(3600 if FULL else 300)
def test_racers_that_are_killed_never_spend_more_than_there_is_on_sqlite(
    tmp_path: Path, nursery: Nursery
) -> None:
    _tell(
        "SQLite",
        [
            _race(f"sqlite://{tmp_path / str(number)}/ledger.db", tmp_path, number, nursery)
            for number in range(RACES)
        ],
    )


@pytest.mark.timeout(3600 if FULL else 300)
def test_racers_that_are_killed_never_spend_more_than_there_is_on_redis(
    tmp_path: Path, nursery: Nursery, server: RedisServer
) -> None:
    raced = []
    for number in range(RACES):
        url = f"redis://127.0.0.1:{server.port}/{number % 16}"
        raced.append(_race(url, tmp_path, number, nursery))
        server.empty()
    _tell("Redis", raced)


@pytest.mark.timeout(3600 if FULL else 300)
def test_a_redis_that_is_killed_itself_forgets_nothing_that_it_granted(
    tmp_path: Path, nursery: Nursery, server: RedisServer
) -> None:
    raced = []
    for number in range(size(1, 20)):
        raced.append(_race(server.url, tmp_path, number, nursery, server))
        server.empty()
    _tell("Redis that is killed too", raced)


def test_a_full_disk_refuses_and_loses_nothing(tmp_path: Path, nursery: Nursery) -> None:
    assert nursery.wait(nursery.fork("full_disk", str(tmp_path / "ledger.db"))) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="a disk of a test's own is Linux's")
def test_a_disk_without_space_refuses_and_loses_nothing(tmp_path: Path) -> None:
    """As above, but by the file system itself: a small one that only the child sees."""
    apart = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    mount = f"mount -t tmpfs -o size=1m tmpfs {tmp_path}"
    if subprocess.run([*apart, mount], check=False, capture_output=True).returncode:
        pytest.skip("this user may not mount")
    call = "import sys; from tests.plugins.ledger_child import no_space; no_space(sys.argv[1])"
    words = [sys.executable, "-c", call, str(tmp_path / "ledger.db")]
    done = subprocess.run(
        [*apart, f"{mount} && exec {shlex.join(words)}"],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


@dataclass(frozen=True)
class Raced:
    """One race: how many processes ran until they were killed, and what was spent in the end."""

    kills: int
    server_kills: int
    granted: int
    billed: int
    booked: int


def _race(
    url: str, folder: Path, seed: int, nursery: Nursery, server: RedisServer | None = None
) -> Raced:
    """Let racers spend one budget and kill them, and now and then the *server*; then audit."""
    draw = random.Random(seed)
    diaries = folder / f"race-{seed}"
    diaries.mkdir()
    state = folder / f"state-{seed}"
    asyncio.run(_define(url, state))
    pids: list[int] = []
    started = server_kills = 0
    while asyncio.run(_room(url, state)).spent.nano_usd < LIMIT - 2 * MOST:
        while len(pids) < RACERS:
            started += 1
            diary = str(diaries / str(started))
            pids.append(nursery.fork("racer", url, diary, str(state), seed * 1000 + started))
        time.sleep(draw.uniform(0.02, 0.4))
        if server is not None and draw.random() < 0.3:
            server.kill()
            server.start()
            server_kills += 1
        else:
            nursery.kill(pids.pop(draw.randrange(len(pids))))
    for pid in pids:
        nursery.kill(pid)
    account, findings = asyncio.run(_settled(url, state))
    assert findings == []
    granted, true = _true_spend(diaries)
    assert true <= account.spent.nano_usd <= LIMIT
    return Raced(started, server_kills, granted, true, account.spent.nano_usd)


def _tell(store: str, raced: Sequence[Raced]) -> None:
    over = max(one.booked for one in raced) - LIMIT
    print(
        f"\n{store}: {len(raced)} races of {RACERS} processes at a time; "
        f"{sum(one.kills for one in raced)} processes killed by SIGKILL"
        + f", the server {sum(one.server_kills for one in raced)} times"
        * any(one.server_kills for one in raced)
        + f"; {sum(one.granted for one in raced):,} holds granted; of {LIMIT * len(raced):,} "
        f"nano-USD {sum(one.billed for one in raced):,} were billed at most and "
        f"{sum(one.booked for one in raced):,} booked; the most over a limit: {max(0, over)}"
    )


@asynccontextmanager
async def _opened(url: str, state: Path) -> AsyncIterator[Ledger]:
    """A ledger that has time: the machine is busy with the race."""
    path = sqlite_path(url, {})
    epochs = Epochs(epochs_path(state, url))
    ledger: Ledger = (
        SqliteLedger(path, timeout_s=30) if path else RedisLedger(url, epochs=epochs, timeout_s=30)
    )
    try:
        yield ledger
    finally:
        await ledger.close()


async def _define(url: str, state: Path) -> None:
    async with _opened(url, state) as ledger:
        await ledger.define([Budget("account", "lifetime", nano_usd=LIMIT), Budget("key", "day")])


async def _room(url: str, state: Path) -> Room:
    async with _opened(url, state) as ledger:
        (account,) = await ledger.rooms(["account"])
        return account


async def _settled(url: str, state: Path) -> tuple[Room, list[object]]:
    """Return the account once everything that is held is overdue, and what does not add up."""
    await asyncio.sleep(HELD_S)
    async with _opened(url, state) as ledger, asyncio.timeout(60):
        while True:
            await ledger.sweep()
            (account,) = await ledger.rooms(["account"])
            if account.held == Amount():
                return account, [*await ledger.check()]


def _true_spend(diaries: Path) -> tuple[int, int]:
    """Return how many holds were granted, and the most that providers can have billed for them."""
    billed: dict[str, int] = {}
    for diary in diaries.iterdir():
        for line in diary.read_text().splitlines():
            words = line.split()
            if len(words) == 3 or words[0] == "r":
                billed[words[1]] = 0 if words[0] == "r" else int(words[2])
    return len(billed), sum(billed.values())
