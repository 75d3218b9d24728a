"""Processes that use a ledger and may be killed at any moment, forked from one that has it loaded.

python -m tests.plugins.ledger_child     reads commands as JSON lines; see `Nursery`
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from plugins._ledger import Amount, Budget, BudgetExhausted, Ledger, LedgerUnavailable
from plugins._ledger_open import open_ledger
from plugins._ledger_redis import RedisLedger  # loaded here, so that no child has to
from plugins._ledger_sqlite import SqliteLedger

__all__ = ["HELD_S", "POINTS", "STORY", "Nursery", "RedisLedger"]

# Where a step of the SQLite ledger may be cut off, in no special order.
POINTS = ["locked", "begun", "reserving", "reserved", "ending", "ended", "expiring", "posted"]
POINTS += ["counting", "counted", "written", "committed", "flushed"]
HELD_S = 0.3  # how long a racer's hold lasts


class Nursery:
    """A process that forks children on command, so that each costs milliseconds."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def fork(self, name: str, *args: Any) -> int:
        """Start a child that runs the function *name* of this module; return its pid."""
        return self._say(["fork", name, args])

    def wait(self, pid: int) -> int:
        """Return the child's exit code, negative for a signal."""
        return self._say(["wait", pid])

    def kill(self, pid: int) -> None:
        """Send SIGKILL and wait; a child that ended by itself is fine too."""
        self._say(["kill", pid])

    def close(self) -> None:
        self._process.communicate()

    def _say(self, words: list[Any]) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(words), file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())


# What `story` does, and what is (spent, held) of budgets a and b after each step.
STORY: list[tuple[str, tuple[int, int], tuple[int, int]]] = [
    ("define", (0, 0), (0, 0)),
    ("reserve", (0, 100), (0, 100)),
    ("settle", (90, 0), (90, 0)),
    ("reserve a", (90, 50), (90, 0)),
    ("release", (90, 0), (90, 0)),
    ("reserve for no time", (90, 70), (90, 70)),
    ("sweep", (160, 0), (160, 0)),
    ("settle late", (150, 0), (150, 0)),
    ("adjust", (155, 0), (150, 0)),
]


def story(path: str, diary: str, point: str, turn: int) -> None:
    """Do what `STORY` says, a line in *diary* after each step; die at the *turn*th *point*."""
    left = turn

    def step(name: str) -> None:
        nonlocal left
        left -= name == point
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    async def tell() -> None:
        ledger = SqliteLedger(Path(path), step=step, timeout_s=30)

        def done() -> None:
            with Path(diary).open("a") as file:
                file.write("done\n")

        await ledger.define([Budget(name, "lifetime", tokens=1000) for name in "ab"])
        done()
        held = await ledger.reserve("ab", Amount(tokens=100), 3600)
        done()
        await ledger.settle(held, Amount(tokens=90))
        done()
        held = await ledger.reserve("a", Amount(tokens=50), 3600)
        done()
        await ledger.release(held)
        done()
        held = await ledger.reserve("ab", Amount(tokens=70), 0)
        done()
        await ledger.sweep()
        done()
        await ledger.settle(held, Amount(tokens=60))
        done()
        await ledger.adjust("a", Amount(tokens=5), "test", "me")
        done()
        await ledger.close()

    asyncio.run(tell())


def accepting(path: str, point: str) -> None:
    """Accept the ledger at *path* as it is; die at *point*."""

    def step(name: str) -> None:
        if name == point:
            os.kill(os.getpid(), signal.SIGKILL)

    async def accept() -> None:
        await SqliteLedger(Path(path), step=step).accept("a new disk", "ann")

    asyncio.run(accept())


def racer(url: str, diary: str, state: str, seed: int) -> None:
    """Reserve and end reservations in all ways, for ever; note each in *diary* before it counts.

    `g ID AMOUNT` granted, `s ID AMOUNT` the provider billed, `r ID` nothing was sent.
    """
    draw = random.Random(seed)
    out = os.open(diary, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(*words: object) -> None:
        os.write(out, (" ".join(map(str, words)) + "\n").encode())

    async def run(ledger: Ledger) -> None:
        while True:
            tokens = draw.randint(1, 100)
            amount = Amount(10 * tokens, tokens, 1)
            try:
                held = await ledger.reserve(["account", "key"], amount, HELD_S)
            except (BudgetExhausted, LedgerUnavailable):
                await asyncio.sleep(0.01)
                continue
            note("g", held.id, amount.nano_usd)
            await asyncio.sleep(draw.choice([0, 0, 0, 0.001, 0.02]))
            how = draw.random()
            if how < 0.7:
                actual = Amount(draw.randint(0, amount.nano_usd), draw.randint(0, tokens), 1)
                note("s", held.id, actual.nano_usd)
                await ledger.settle(held, actual)
            elif how < 0.9:
                note("r", held.id)
                await ledger.release(held)

    async def race() -> None:
        environ = {"QWEN3_ROUTER_STATE": state}
        ledger = open_ledger(url, environ, apart=seed % 2 == 0)
        await asyncio.gather(*(run(ledger) for _ in range(8)))

    asyncio.run(race())


def idle(path: str, diary: str) -> None:
    """Use a ledger with a child process of its own, and stay."""

    async def run() -> None:
        ledger = SqliteLedger(Path(path), apart=True)
        await ledger.start()
        os.close(os.open(diary, os.O_CREAT))
        await asyncio.sleep(600)

    asyncio.run(run())


def full_disk(path: str) -> None:
    """Spend until the file may not grow, and go on when it may again."""

    async def run() -> None:
        ledger = SqliteLedger(Path(path))
        await ledger.define([Budget("b", "lifetime", tokens=10**9)])
        first = await ledger.reserve(["b"], Amount(tokens=7), 3600)
        size = os.stat(f"{path}-wal").st_size
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100_000, hard))
        granted = [first]
        try:
            while len(granted) < 10_000:
                granted.append(await ledger.reserve(["b"], Amount(tokens=7), 3600))
        except LedgerUnavailable as error:
            print(error.reason, file=sys.stderr)
        assert len(granted) < 10_000, "the file grew"
        assert await ledger.settle(first, Amount(tokens=5)) == ()  # is kept, and does not raise
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        async with asyncio.timeout(60):
            (room,) = await ledger.rooms(["b"])
            while room.spent != Amount(tokens=5):
                (room,) = await ledger.rooms(["b"])
        assert room.held == Amount(tokens=7 * (len(granted) - 1)), room
        assert await ledger.check() == []
        await ledger.close()

    asyncio.run(run())


def no_space(path: str) -> None:
    """Spend until the disk is full, in truth, and go on when there is space again."""
    folder = Path(path).parent

    async def run() -> None:
        ledger = SqliteLedger(Path(path), apart=True)
        await ledger.define([Budget("b", "lifetime", tokens=10**9)])
        granted = [await ledger.reserve(["b"], Amount(tokens=7), 3600)]
        filler = os.open(folder / "filler", os.O_WRONLY | os.O_CREAT)
        with contextlib.suppress(OSError):  # until it is full
            while True:
                os.write(filler, bytes(4096))
        os.close(filler)
        reason = ""
        while not reason:
            try:
                granted.append(await ledger.reserve(["b"], Amount(tokens=7), 3600))
            except LedgerUnavailable as error:
                reason = error.reason
        assert reason == f"no space is left for the ledger {path}: free some"
        assert await ledger.settle(granted[0], Amount(tokens=5)) == ()  # is kept
        (folder / "filler").unlink()
        async with asyncio.timeout(60):
            (room,) = await ledger.rooms(["b"])
            while room.spent != Amount(tokens=5):
                await asyncio.sleep(0.05)
                (room,) = await ledger.rooms(["b"])
        assert room.held == Amount(tokens=7 * (len(granted) - 1)), room
        assert await ledger.check() == []
        await ledger.close()

    asyncio.run(run())


def _serve() -> None:
    calls: dict[str, Callable[..., None]] = {
        "story": story,
        "accepting": accepting,
        "racer": racer,
        "full_disk": full_disk,
        "idle": idle,
    }
    for line in sys.stdin:
        words = json.loads(line)
        if words[0] == "fork":
            pid = os.fork()
            if pid == 0:
                os.close(0)
                try:
                    calls[words[1]](*words[2])
                except BaseException as error:
                    print(f"child: {error!r}", file=sys.stderr, flush=True)
                    os._exit(1)
                os._exit(0)
            answer = pid
        else:
            if words[0] == "kill":
                os.kill(words[1], signal.SIGKILL)
            answer = os.waitstatus_to_exitcode(os.waitpid(words[1], 0)[1])
        print(answer, flush=True)


if __name__ == "__main__":
    _serve()
