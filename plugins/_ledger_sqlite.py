"""The ledger on SQLite: one file for all processes of one user and machine.

Steps are done by the one writer of this process, which a proxy has in a child process and a command
in a thread; the event loop never touches the file.
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
    Told,
)
from plugins._ledger_apart import Apart
from plugins._ledger_file import LedgerFile, reader, unavailable
from plugins._ledger_here import Here
from plugins._ledger_time import micros, new_id
from plugins._ledger_words import text
from plugins._ledger_writer import Writer

__all__ = ["SqliteLedger"]

T = TypeVar("T")
_UPKEEP_TIMEOUT_S = 30.0  # for a command that makes, mends or folds
_PAUSE_S = 0.02  # between two transactions of a fold, for those who wait


class SqliteLedger:
    """A `Ledger` in the file *path*.

    *apart* has the writer in a child process, as a busy event loop needs it. *wall* replaces the
    clock (seconds since 1970) in tests. *step* is told where a transaction stands, so that tests
    can end the process there; not with *apart*. A request waits *timeout_s* for its turn.
    """

    def __init__(
        self,
        path: Path,
        *,
        apart: bool = False,
        wall: Callable[[], float] | None = None,
        step: Callable[[str], None] = lambda _: None,
        timeout_s: float = 2.0,
    ) -> None:
        self.path = path
        self._wall = wall or time.time
        self._timeout_s = timeout_s
        self._writer: Apart | Here
        if apart:
            self._writer = Apart(path, None if wall is None else self._wall_us)
        else:
            self._writer = Here(Writer(LedgerFile(path), self._wall_us, step))
        self._closed = False

    async def start(self) -> None:
        """Open the file, made if it is not there. Raises `LedgerUnfit`."""
        await self._do("open", timeout_s=_UPKEEP_TIMEOUT_S)

    async def define(self, budgets: Sequence[Budget]) -> tuple[Budget, ...]:
        """Set limits and periods."""
        newer: tuple[Budget, ...] = await self._do(
            "define", tuple(budgets), timeout_s=_UPKEEP_TIMEOUT_S
        )
        return newer

    async def reserve(
        self, names: Sequence[str], amount: Amount, ttl_s: float, *, note: str = ""
    ) -> Reservation:
        """Hold *amount* on all named budgets, or on none."""
        wall_s = self._wall()
        id_ = new_id(wall_s)
        amount.checked()
        if not names:
            return Reservation(id_, (), amount, wall_s + ttl_s)
        held: Reservation = await self._do(
            "reserve", id_, tuple(names), amount, micros(ttl_s), note
        )
        return held

    async def settle(self, reservation: Reservation, actual: Amount) -> tuple[Crossing, ...]:
        """Book *actual* and end the reservation."""
        actual.checked()
        if not reservation.rows:
            return ()
        return await self._owe("settle", reservation, actual)

    async def release(self, reservation: Reservation) -> None:
        """Give the hold back."""
        if reservation.rows:
            await self._owe("release", reservation)

    def book(self, reservation: Reservation, actual: Amount | None, told: Told) -> None:
        """Do as `settle` or `release`, without anybody who waits."""
        if self._closed or not reservation.rows:  # closed: what is held counts as spent
            return
        if actual is None:
            self._writer.post("release", (reservation,), told)
        else:
            self._writer.post("settle", (reservation, actual.checked()), told)

    async def sweep(self) -> tuple[Crossing, ...]:
        """Expire what is overdue."""
        crossings: tuple[Crossing, ...] = await self._do("sweep")
        late, self._writer.late[:] = tuple(self._writer.late), []
        return (*late, *crossings)

    async def adjust(
        self, name: str, amount: Amount, reason: str, who: str
    ) -> tuple[Crossing, ...]:
        """Add *amount* to what is spent in the present period."""
        amount.checked(signed=True)
        crossings: tuple[Crossing, ...] = await self._do(
            "adjust", name, amount, text(reason), text(who)
        )
        return crossings

    async def rooms(self, names: Sequence[str] | None = None) -> list[Room]:
        """Return the state of the named budgets, or of all."""
        rooms: list[Room] = await self._do("rooms", None if names is None else tuple(names))
        return rooms

    async def check(self) -> list[Finding]:
        """Hold the counters against the journal and the open reservations."""
        return await self._beside(lambda db: _ledger_upkeep.check(db, self._wall_us()))

    async def postings(
        self, *, budget: str | None = None, since: float = 0.0, limit: int = 1000
    ) -> list[Posting]:
        """Return lines of the journal, the newest first."""
        since_us = micros(since)
        return await self._beside(lambda db: _ledger_upkeep.postings(db, budget, since_us, limit))

    async def accept(self, reason: str, who: str, shown: Sequence[Finding] | None = None) -> None:
        """Go on with the store as it is."""
        seen = None if shown is None else tuple(shown)
        await self._do("accept", text(reason), text(who), seen, timeout_s=_UPKEEP_TIMEOUT_S)

    async def fold(self, before: float) -> int:
        """Add old postings up by day, in transactions that are short each."""
        folded = 0
        while done := await self._part("fold", micros(before)):
            folded += done
        while await self._part("merge", micros(before)):
            pass
        return folded

    async def close(self) -> None:
        """Book what is owed, as far as the file can be written, and let go of it."""
        self._closed = True
        await self._writer.close()

    def _wall_us(self) -> int:
        return micros(self._wall())

    async def _do(self, name: str, *args: Any, timeout_s: float | None = None) -> Any:
        if self._closed:
            raise LedgerUnavailable(f"the ledger {self.path} was closed")
        return await self._writer.do(name, args, timeout_s or self._timeout_s, owed=False)

    async def _owe(self, name: str, *args: Any) -> tuple[Crossing, ...]:
        """Have it done, now or when the file can be written again."""
        if self._closed:
            raise LedgerUnavailable(f"the ledger {self.path} was closed")
        with contextlib.suppress(LedgerUnavailable):
            return await self._writer.do(name, args, self._timeout_s, owed=True) or ()
        return ()

    async def _part(self, name: str, before_us: int) -> int:
        """Do a part of a fold, and let others go before the next."""
        done: int = await self._do(name, before_us, timeout_s=_UPKEEP_TIMEOUT_S)
        await asyncio.sleep(_PAUSE_S)
        return done

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
