"""The work beside the requests: one event loop has it, and a failure ends nothing."""

from __future__ import annotations

import asyncio
import logging

import pytest

from plugins._background import Background


class Steps:
    """A job that counts, and that ends the test's wait once it was done often enough."""

    def __init__(self, enough: int, fails: bool = False) -> None:
        self.done = 0
        self.enough = asyncio.Event()
        self._at = enough
        self._fails = fails

    async def __call__(self) -> None:
        self.done += 1
        if self.done >= self._at:
            self.enough.set()
        if self._fails:
            raise RuntimeError("secret words")


async def at_once(_: float) -> None:
    await asyncio.sleep(0)


def test_a_job_is_done_again_after_each_failure_and_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def run() -> None:
        background = Background(at_once)
        steps = Steps(5, fails=True)
        background.add("counting", 60, steps)
        background.begin()
        await asyncio.wait_for(steps.enough.wait(), 10)
        await background.aclose()
        (line,) = [one for one in caplog.records if one.levelno == logging.ERROR]
        assert "job counting failed (RuntimeError at tests.plugins.test_background:" in line.message
        assert "secret words" not in caplog.text

    asyncio.run(run())


def test_beginning_twice_runs_each_job_once() -> None:
    async def run() -> None:
        background = Background(at_once)
        running = 0
        most = 0

        async def work() -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.01)
            running -= 1

        background.add("one at a time", 60, work)
        background.begin()
        background.begin()
        await asyncio.sleep(0.1)
        await background.aclose()
        assert most == 1

    asyncio.run(run())


def test_a_job_may_be_added_later_and_ends_with_the_others() -> None:
    async def run() -> None:
        background = Background(at_once)
        background.begin()
        steps = Steps(1)
        background.add("late", 60, steps)
        await asyncio.wait_for(steps.enough.wait(), 10)
        await background.aclose()
        done = steps.done
        await asyncio.sleep(0.02)
        assert steps.done == done

    asyncio.run(run())


def test_the_next_event_loop_takes_over_when_the_first_has_ended() -> None:
    background = Background(at_once)
    counts: list[int] = []

    async def serve() -> None:
        steps = Steps(1)
        background.add("counting", 60, steps)
        background.begin()
        await asyncio.wait_for(steps.enough.wait(), 10)
        counts.append(steps.done)

    asyncio.run(serve())  # ends without a word, as a proxy that was told to stop
    asyncio.run(serve())
    assert all(count > 0 for count in counts)
    assert len(counts) == 2


def test_without_an_event_loop_nothing_begins() -> None:
    Background().begin()
