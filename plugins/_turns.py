"""Turns: at most so many at once, and who waits is let in fairly, consumer by consumer.

Start-time fair queueing (Goyal, Vin, Cheng 1996): each request starts, on a clock that only counts
served work, where the one before it of the same consumer ends. One that asks now and then is let in
before the thousandth of a consumer that asks all the time, and one that asks for 2,048 texts at a
time gets no more than one that asks for them one by one.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math

__all__ = ["Turns"]


class Turns:
    """At most *most* at once, of at most *most_work* together; belongs to one event loop.

    Work that alone is more than *most_work* gets its turn when nobody else has one.
    """

    def __init__(self, most: int, most_work: float = math.inf) -> None:
        self.most = most
        self.most_work = most_work
        self.taken = 0
        self.work = 0
        self._now = 0.0  # in units of work
        self._ends: dict[str, float] = {}
        self._queue: list[tuple[float, int, _Waiting]] = []
        self._numbers = itertools.count()
        self.waiting = 0

    def try_take(self, consumer: str, work: int = 1) -> bool:
        """Take a turn if there is one now and nobody waits for it."""
        if self.waiting or not self._fits(work):
            return False
        self._let_in(self._start(consumer, work), work)
        return True

    async def take(self, consumer: str, work: int = 1) -> None:
        """Wait for a turn; whoever got one has to `give_back` it with the same *work*."""
        if self.try_take(consumer, work):
            return
        starts = self._start(consumer, work)
        one = _Waiting(asyncio.get_running_loop().create_future(), work)
        heapq.heappush(self._queue, (starts, next(self._numbers), one))
        self.waiting += 1
        try:
            await one.turn
        except asyncio.CancelledError:
            if one.turn.cancelled():
                self.waiting -= 1
                self._go_on()  # the next may fit where this one did not
            else:  # it got its turn, and is cancelled before it could use it
                self.give_back(work)
            raise

    def give_back(self, work: int = 1) -> None:
        """End a turn."""
        self.taken -= 1
        self.work -= work
        self._go_on()

    def _start(self, consumer: str, work: int) -> float:
        starts = max(self._now, self._ends.get(consumer, 0.0))
        self._ends[consumer] = starts + work
        return starts

    def _fits(self, work: int) -> bool:
        if self.taken >= self.most:
            return False
        return not self.taken or self.work + work <= self.most_work

    def _let_in(self, starts: float, work: int) -> None:
        self._now = starts
        self.taken += 1
        self.work += work

    def _go_on(self) -> None:
        while self._queue:
            starts, _, one = self._queue[0]
            if one.turn.cancelled():
                heapq.heappop(self._queue)
                continue
            if not self._fits(one.work):
                return
            heapq.heappop(self._queue)
            self.waiting -= 1
            self._let_in(starts, one.work)
            one.turn.set_result(None)
        if not self.taken:  # nobody is owed anything: forget who was here
            self._now = 0.0
            self._ends.clear()


class _Waiting:
    __slots__ = ("turn", "work")

    def __init__(self, turn: asyncio.Future[None], work: int) -> None:
        self.turn = turn
        self.work = work
