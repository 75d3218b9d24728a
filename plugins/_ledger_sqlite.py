"""The ledger on SQLite: one file for all processes of one user and machine.

Writes wait for `_ledger_writer`'s thread; the event loop never touches the file.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from plugins import _ledger_upkeep
from plugins._ledger import (
    Amount,
    Budget,
    Crossing,
    Finding,
    LedgerUnavailable,
    Posting,
    Reservation,
    Room,
    new_id,
)
from plugins._ledger_file import LedgerFile, reader, unavailable
from plugins._ledger_sql import Books
from plugins._ledger_time import micros
from plugins._ledger_writer import Job, Writer

__all__ = ["SqliteLedger"]

T = TypeVar("T")
_UPKEEP_TIMEOUT_S = 30.0  # for a command that makes, mends or folds
_PAUSE_S = 0.02  # between two transactions of a fold, for those who wait


class SqliteLedger:
    """A `Ledger` in the file *path*.

    *wall* gives seconds since 1970. *step* is told where a transaction stands, so that tests can
    end the process there. A request waits *timeout_s* for its turn.
    """

    def __init__(
        self,
        path: Path,
        *,
        wall: Callable[[], float] = time.time,
        step: Callable[[str], None] = lambda _: None,
        timeout_s: float = 2.0,
    ) -> None:
        self.path = path
        self._wall = wall
        self._timeout_s = timeout_s
        self._writer = Writer(LedgerFile(path), self._wall_us, step)
        self._closed = False

    async def start(self) -> None:
        """Open the file, made if it is not there. Raises `LedgerUnfit`."""
        await self._do(Job(look=lambda db: None), _UPKEEP_TIMEOUT_S)

    async def define(self, budgets: Sequence[Budget]) -> None:
        """Set limits and periods."""
        await self._do(Job(lambda books: books.define(budgets)), _UPKEEP_TIMEOUT_S)

    async def reserve(
        self, names: Sequence[str], amount: Amount, ttl_s: float, *, note: str = ""
    ) -> Reservation:
        """Hold *amount* on all named budgets, or on none."""
        id_ = new_id(self._wall())
        amount.checked()
        if not names:
            return Reservation(id_, (), amount, self._wall() + ttl_s)
        ttl_us = micros(ttl_s)
        return await self._act(lambda books: books.reserve(id_, names, amount, ttl_us, note))

    async def settle(self, reservation: Reservation, actual: Amount) -> tuple[Crossing, ...]:
        """Book *actual* and end the reservation."""
        actual.checked()
        if not reservation.rows:
            return ()
        return await self._owe(lambda books: books.settle(reservation, actual)) or ()

    async def release(self, reservation: Reservation) -> None:
        """Give the hold back."""
        if reservation.rows:
            await self._owe(lambda books: books.release(reservation))

    async def sweep(self) -> tuple[Crossing, ...]:
        """Expire what is overdue."""
        return await self._act(lambda books: books.sweep())

    async def adjust(
        self, name: str, amount: Amount, reason: str, who: str
    ) -> tuple[Crossing, ...]:
        """Add *amount* to what is spent in the present period."""
        amount.checked(signed=True)
        return await self._act(lambda books: books.adjust(name, amount, reason, who))

    async def rooms(self, names: Sequence[str] | None = None) -> list[Room]:
        """Return the state of the named budgets, or of all."""
        wall_us = self._wall_us()
        look = Job(look=lambda db: _ledger_upkeep.rooms(db, names, wall_us))
        result: list[Room] = await self._do(look, self._timeout_s)
        return result

    async def check(self) -> list[Finding]:
        """Hold the counters against the journal and the open reservations."""
        return await self._beside(lambda db: _ledger_upkeep.check(db, self._wall_us()))

    async def postings(
        self, *, budget: str | None = None, since: float = 0.0, limit: int = 1000
    ) -> list[Posting]:
        """Return lines of the journal, the newest first."""
        since_us = micros(since)
        return await self._beside(lambda db: _ledger_upkeep.postings(db, budget, since_us, limit))

    async def accept(self, reason: str, who: str) -> None:
        """Go on with the store as it is."""
        mend = Job(mend=lambda db: _ledger_upkeep.accept(db, self._wall_us(), reason, who))
        await self._do(mend, _UPKEEP_TIMEOUT_S)

    async def fold(self, before: float) -> int:
        """Add old postings up by day, in transactions that are short each."""
        before_us = micros(before)
        folded = 0
        while done := await self._alone(lambda db: _ledger_upkeep.fold(db, before_us)):
            folded += done
        while await self._alone(lambda db: _ledger_upkeep.merge(db, before_us)):
            pass
        return folded

    async def close(self) -> None:
        """Book what is owed, as far as the file can be written, and let go of it."""
        self._closed = True
        await asyncio.to_thread(self._writer.finish)

    def _wall_us(self) -> int:
        return micros(self._wall())

    async def _act(self, act: Callable[[Books], T]) -> T:
        result: T = await self._do(Job(act), self._timeout_s)
        return result

    async def _owe(self, act: Callable[[Books], T]) -> T | None:
        """Have *act* done, now or when the file can be written again."""
        with contextlib.suppress(LedgerUnavailable):
            result: T = await self._do(Job(act, owed=True), self._timeout_s)
            return result
        return None

    async def _alone(self, act: Callable[[sqlite3.Connection], int]) -> int:
        result: int = await self._do(Job(alone=act), _UPKEEP_TIMEOUT_S)
        await asyncio.sleep(_PAUSE_S)
        return result

    async def _beside(self, look: Callable[[sqlite3.Connection], T]) -> T:
        """Run *look* beside the requests, on a connection of its own."""
        await self.start()

        def run() -> T:
            with contextlib.closing(reader(self.path)) as db:
                try:
                    return look(db)
                except sqlite3.Error as error:
                    raise unavailable(self.path, error) from None

        return await asyncio.to_thread(run)

    async def _do(self, job: Job, timeout_s: float) -> Any:
        if self._closed:
            raise LedgerUnavailable(f"the ledger {self.path} was closed")
        job.loop = asyncio.get_running_loop()
        job.future = job.loop.create_future()
        self._writer.put(job)
        try:
            # Not `asyncio.timeout`: where the event loop itself was busy for that long, the answer
            # is there when the time is up, and must not be thrown away.
            await asyncio.wait([job.future], timeout=timeout_s)
        except asyncio.CancelledError:
            job.future.cancel()
            self._writer.give_up(job)
            raise
        if not job.future.done():
            job.future.cancel()
            self._writer.give_up(job)
            reason = f"the ledger {self.path} was not free for {timeout_s:g} s"
            raise LedgerUnavailable(reason)
        return job.future.result()
