"""Work beside the requests: jobs that a process does again and again while its event loop runs.

One event loop of a process has the jobs, whichever came first; if it has ended, the next one takes
over. A job that fails is logged, once a minute at most, and done again at its next time. Nothing
here keeps a process from ending: what must not be lost belongs into the ledger.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

__all__ = ["Background"]

log = logging.getLogger("qwen3_router.background")

_TELL_EVERY_S = 60.0


@dataclass(frozen=True, slots=True)
class _Job:
    name: str
    every_s: float
    first_s: float
    work: Callable[[], Awaitable[object]]


class Background:
    """The jobs of one process; *sleep* waits for seconds."""

    def __init__(self, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
        self._sleep = sleep
        self._jobs: list[_Job] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def add(
        self,
        name: str,
        every_s: float,
        work: Callable[[], Awaitable[object]],
        *,
        first_s: float = 0.0,
    ) -> None:
        """Do *work* every *every_s* seconds, counted from its end, at first after *first_s*.

        It may be added before the jobs begin, or after that from within their event loop.
        """
        job = _Job(name, every_s, first_s, work)
        self._jobs.append(job)
        if self._loop is not None and self._loop.is_running():
            self._tasks.append(self._loop.create_task(self._run(job), name=f"qwen3-router {name}"))

    def begin(self) -> None:
        """Start the jobs on the running event loop, unless one has them; without one do nothing."""
        if self._loop is not None and self._loop.is_running():
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # imported by a tool; the first request begins
            return
        self._loop = loop
        self._tasks = [
            loop.create_task(self._run(job), name=f"qwen3-router {job.name}") for job in self._jobs
        ]

    async def aclose(self) -> None:
        """End the jobs of the running event loop."""
        if self._loop is not asyncio.get_running_loop():
            return
        tasks, self._tasks, self._loop = self._tasks, [], None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, job: _Job) -> None:
        told = ("", 0.0)
        await self._sleep(job.first_s)
        while True:
            try:
                await job.work()
            except Exception as error:
                # Its text may hold anything; its kind and place are enough to find it.
                reason = f"{type(error).__name__} at {_place(error)}"
                now = asyncio.get_running_loop().time()
                if reason != told[0] or now - told[1] >= _TELL_EVERY_S:
                    told = (reason, now)
                    log.error("background job %s failed (%s); it goes on", job.name, reason)
            await self._sleep(job.every_s)


def _place(error: BaseException) -> str:
    """Return module and line where *error* was raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "an unknown place"
    return f"{trace.tb_frame.f_globals.get('__name__', '?')}:{trace.tb_lineno}"
