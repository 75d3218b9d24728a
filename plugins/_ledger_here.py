"""The SQLite ledger's writer in a thread of this process: for commands, and for tests.

Not for a proxy: an event loop that is busy gives the interpreter's lock back for microseconds at a
time, and the thread, which needs it after every flush, was seen to wait for seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Sequence
from typing import Any

from plugins._ledger import Crossing, LedgerUnavailable, Reservation, Told
from plugins._ledger_writer import TOGETHER, Job, Writer

__all__ = ["Here"]

_RETRY_S = 0.5

# Who waits for a job: an event loop, and what is awaited or called there.
_Waiter = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Any] | Told"]


class Here:
    """Takes jobs from any event loop to *writer* in its thread, which the first one starts."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self.late: list[Crossing] = []  # of outcomes that were booked when nobody waited any more
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._ending = False

    async def do(self, name: str, args: Sequence[Any], timeout_s: float, *, owed: bool) -> Any:
        """Return the job's result. Raises its error, or `LedgerUnavailable` after *timeout_s*."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        job = Job(name, args, owed=owed, waiter=(loop, future))
        self._put(job)
        try:
            # Not `asyncio.timeout`: where the event loop itself was busy for that long, the answer
            # is there when the time is up, and must not be thrown away.
            await asyncio.wait([future], timeout=timeout_s)
        except asyncio.CancelledError:
            self._give_up(job, future)
            raise
        if not future.done():
            self._give_up(job, future)
            raise LedgerUnavailable(f"the ledger was not free for {timeout_s:g} s")
        return future.result()

    def post(self, name: str, args: Sequence[Any], told: Told) -> None:
        """Have an owed job done, for which nobody waits; *told* hears the levels it reached."""
        self._put(Job(name, args, owed=True, waiter=(asyncio.get_running_loop(), told)))

    async def close(self) -> None:
        """Do what waits, and end the thread."""
        if self._thread is not None:
            self._jobs.put(None)
            await asyncio.to_thread(self._thread.join)

    def _put(self, job: Job) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="ledger", daemon=True)
                self._thread.start()
        self._jobs.put(job)

    def _give_up(self, job: Job, future: asyncio.Future[Any]) -> None:
        job.given_up = not job.owed
        # The answer may be there and yet unread: the wait was cancelled just before.
        if not future.cancel() and future.exception() is None:
            self._undo(job)

    def _undo(self, job: Job) -> None:
        if isinstance(job.result, Reservation):  # granted to nobody
            self._put(Job("release", (job.result,), owed=True))
        elif job.owed:
            self.late += job.result or ()

    def _work(self) -> None:
        while not self._ending:
            self._answer(self._writer.work(self._take(wait=True), self._late))
        self._writer.close()

    def _late(self) -> list[Job]:
        return self._take(wait=False)

    def _take(self, *, wait: bool) -> list[Job]:
        jobs: list[Job] = []
        with contextlib.suppress(queue.Empty):
            while len(jobs) < TOGETHER and not self._ending:
                timeout = _RETRY_S if self._writer.owed else None
                first = wait and not jobs
                job = self._jobs.get(timeout=timeout) if first else self._jobs.get_nowait()
                if job is None:
                    self._ending = True
                else:
                    jobs.append(job)
        return jobs

    def _answer(self, jobs: Sequence[Job]) -> None:
        """Wake each event loop once for all that it waits for."""
        by_loop: dict[asyncio.AbstractEventLoop, list[Job]] = {}
        for job in jobs:
            if job.waiter is None:
                self._undo(job)
            else:
                by_loop.setdefault(job.waiter[0], []).append(job)
        for loop, mine in by_loop.items():
            with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits
                loop.call_soon_threadsafe(self._deliver, mine)

    def _deliver(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            waiter: _Waiter = job.waiter
            future = waiter[1]
            if callable(future):
                if job.error is None:  # else it was kept, and is done later
                    future(job.result or ())
            elif future.done():
                self._undo(job)
            elif job.error is not None:
                future.set_exception(job.error)
            else:
                future.set_result(job.result)
