"""The ledger's child process: it outlives signals, not its parent, and is replaced when gone."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from plugins import _ledger_apart
from plugins._ledger import Amount, Budget, LedgerUnavailable, Reservation
from plugins._ledger_server import frame
from plugins._ledger_sqlite import SqliteLedger
from tests.plugins.ledger_child import Nursery

BUDGET = Budget("b", "lifetime", tokens=100)
ONE = Amount(tokens=10)

pytestmark = pytest.mark.skipif(not Path("/proc/self").exists(), reason="finds children in /proc")


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))


def children(path: Path) -> list[int]:
    """The pids of the processes that write the ledger at *path*."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"plugins._ledger_server" in words and str(path).encode() in words:
            found.append(int(entry.parent.name))
    return found


def wait_until_gone(path: Path) -> None:
    until = time.monotonic() + 60
    while children(path):
        assert time.monotonic() < until, "the child is still there"
        time.sleep(0.02)


async def reserved(ledger: SqliteLedger) -> Reservation:
    """A reservation, as soon as there is a child again."""
    while True:
        try:
            return await ledger.reserve(["b"], ONE, 3600)
        except LedgerUnavailable:
            await asyncio.sleep(0.05)


def test_a_child_that_was_killed_is_replaced_and_what_it_owed_is_booked(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"

    async def test() -> None:
        ledger = SqliteLedger(path, apart=True)
        await ledger.define([BUDGET])
        held = await ledger.reserve(["b"], ONE, 3600)
        await asyncio.sleep(0.6)
        (first,) = children(path)
        os.kill(first, signal.SIGKILL)
        assert await ledger.settle(held, Amount(tokens=7)) == ()
        await reserved(ledger)
        (room,) = await ledger.rooms(["b"])
        assert (room.spent.tokens, room.held.tokens) == (7, 10)
        assert children(path) != [first]
        await ledger.close()

    run(test)
    assert children(path) == []


def test_a_booking_is_taken_along_by_the_next_reservation_or_goes_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ledger.db"
    sent: list[list[str]] = []

    gone = asyncio.Event()

    def written(steps: Sequence[Any]) -> bytes:
        gone.set()
        sent.append([name for _, name, *_ in steps])
        return frame(steps)

    async def test() -> None:
        ledger = SqliteLedger(path, apart=True)
        await ledger.define([BUDGET])
        first = await ledger.reserve(["b"], ONE, 3600)
        monkeypatch.setattr(_ledger_apart, "frame", written)
        monkeypatch.setattr(_ledger_apart, "_TAKEN_ALONG_S", 60.0)
        ledger.book(first, Amount(tokens=7), lambda _: None)
        for _ in range(3):
            await asyncio.sleep(0)
        assert sent == []
        second = await ledger.reserve(["b"], ONE, 3600)
        assert sent == [["settle", "reserve"]]
        monkeypatch.setattr(_ledger_apart, "_TAKEN_ALONG_S", 0.001)
        gone.clear()
        ledger.book(second, None, lambda _: None)
        await gone.wait()
        assert sent[1:] == [["release"]]
        # One that is still here at the end goes with the end.
        third = await ledger.reserve(["b"], ONE, 3600)
        monkeypatch.setattr(_ledger_apart, "_TAKEN_ALONG_S", 60.0)
        ledger.book(third, Amount(tokens=5), lambda _: None)
        await ledger.close()
        again = SqliteLedger(path, apart=True)
        (room,) = await again.rooms(["b"])
        assert (room.spent.tokens, room.held.tokens) == (12, 0)
        await again.close()

    run(test)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_for_the_proxy_leaves_the_child_to_settle(
    tmp_path: Path, number: signal.Signals
) -> None:
    path = tmp_path / "ledger.db"

    async def test() -> None:
        ledger = SqliteLedger(path, apart=True)
        await ledger.define([BUDGET])
        held = await ledger.reserve(["b"], ONE, 3600)
        (pid,) = children(path)
        os.kill(pid, number)
        await ledger.settle(held, ONE)
        (room,) = await ledger.rooms(["b"])
        assert (room.spent, children(path)) == (ONE, [pid])
        await ledger.close()

    run(test)


def test_the_child_ends_with_its_parent_however_that_ends(tmp_path: Path) -> None:
    path, diary = tmp_path / "ledger.db", tmp_path / "diary"
    nursery = Nursery()
    pid = nursery.fork("idle", str(path), str(diary))
    until = time.monotonic() + 60
    while not diary.exists():
        assert time.monotonic() < until
        time.sleep(0.02)
    assert len(children(path)) == 1
    nursery.kill(pid)
    wait_until_gone(path)
    nursery.close()


def test_other_plugins_in_the_working_directory_are_not_taken_for_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "__init__.py").write_text("raise RuntimeError('a stranger')")
    monkeypatch.chdir(tmp_path)

    async def test() -> None:
        ledger = SqliteLedger(tmp_path / "ledger.db", apart=True)
        await ledger.define([BUDGET])
        await ledger.close()

    run(test)
