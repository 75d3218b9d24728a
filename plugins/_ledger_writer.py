"""The one thread of a process that writes the SQLite ledger, many waiting steps per transaction.

While the file is another process's turn, or the disk is being flushed, steps gather; the next
transaction takes them all. That is what lets 2,000 reservations a second share a few hundred
flushes. A step is answered after its transaction is on the disk, never before.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from plugins._ledger import BudgetExhausted, LedgerUnavailable, Reservation, UnknownBudget
from plugins._ledger_file import LedgerFile, unavailable
from plugins._ledger_sql import Books, Memory

__all__ = ["Job", "Writer"]

log = logging.getLogger("qwen3_router.ledger")

_TOGETHER = 256  # steps that share a transaction at most
_OWED = 100_000  # outcomes that wait for a file that cannot be written
_RETRY_S = 0.5


class Job:
    """One piece of work; exactly one of the first four says what.

    *act* shares a transaction with others. *alone* has one of its own; so has *mend*, which is
    also run on a ledger that is refused. *look* only reads. An *owed* job is done even if nobody
    waits for it any more.
    """

    __slots__ = (
        "act", "alone", "error", "future", "given_up", "look", "loop", "mend", "owed", "result"
    )  # fmt: skip

    def __init__(
        self,
        act: Callable[[Books], Any] | None = None,
        *,
        alone: Callable[[sqlite3.Connection], Any] | None = None,
        mend: Callable[[sqlite3.Connection], Any] | None = None,
        look: Callable[[sqlite3.Connection], Any] | None = None,
        owed: bool = False,
    ) -> None:
        self.act = act
        self.alone = alone
        self.mend = mend
        self.look = look
        self.owed = owed
        self.given_up = False
        self.loop: asyncio.AbstractEventLoop | None = None
        self.future: asyncio.Future[Any] | None = None
        self.result: Any = None
        self.error: Exception | None = None


class Writer:
    """Takes jobs from any event loop and does them in its thread, which `put` starts.

    *wall_us* gives microseconds since 1970; *step* is told where a transaction stands.
    """

    def __init__(
        self, file: LedgerFile, wall_us: Callable[[], int], step: Callable[[str], None]
    ) -> None:
        self._file = file
        self._wall_us = wall_us
        self._step = step
        self._memory = Memory()
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._looks: list[Job] = []
        self._owed: deque[Job] = deque(maxlen=_OWED)
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._ending = False
        self._away = False

    def put(self, job: Job) -> None:
        """Have *job* done."""
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="ledger", daemon=True)
                self._thread.start()
        self._jobs.put(job)

    def give_up(self, job: Job) -> None:
        """Note in its event loop that nobody waits for *job* any more."""
        job.given_up = not job.owed
        # The answer may be there and yet unread: the wait was cancelled just before.
        if job.future is not None and job.future.done() and not job.future.cancelled():
            job.future.exception()
            self._undo(job)

    def finish(self) -> None:
        """Do what is waiting, and end the thread; blocks until then."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()

    def deliver(self, jobs: Sequence[Job]) -> None:
        """Hand results to who waits for them; runs in their event loop."""
        for job in jobs:
            if job.future is None or job.future.done():
                self._undo(job)
            elif job.error is not None:
                job.future.set_exception(job.error)
            else:
                job.future.set_result(job.result)

    def _undo(self, job: Job) -> None:
        if isinstance(job.result, Reservation):  # granted to nobody
            self.put(Job(_releasing(job.result), owed=True))

    def _work(self) -> None:
        while not self._ending:
            writes = self._take(wait=True)
            if self._owed:
                writes = [*self._owed, *writes]
                self._owed.clear()
            while writes and not self._run(writes):
                pass
            looks, self._looks = self._looks, []
            for job in looks:
                self._run_look(job)
            self._answer(looks)
        if self._owed:
            self._run([*self._owed])
        self._file.close()

    def _take(self, *, wait: bool) -> list[Job]:
        """Return jobs that write; those that look are put aside."""
        jobs: list[Job] = []
        with contextlib.suppress(queue.Empty):
            while len(jobs) < _TOGETHER:
                first = wait and not jobs and not self._looks
                timeout = _RETRY_S if self._owed else None
                job = self._jobs.get(timeout=timeout) if first else self._jobs.get_nowait()
                if job is None:
                    self._ending = True
                    break
                (jobs if job.look is None else self._looks).append(job)
        return jobs

    def _run(self, jobs: list[Job]) -> bool:
        """Do *jobs* and answer them; False to be called again, without one that broke."""
        try:
            with self._file.locked():
                self._step("locked")
                if len(jobs) < _TOGETHER:
                    jobs += self._take(wait=False)
                self._transact([job for job in jobs if job.act is not None])
                for job in jobs:
                    if job.act is None:
                        self._run_alone(job)
            self._step("committed")
        except _Broken:
            return False
        except LedgerUnavailable as reason:
            self._failed(jobs, reason)
        except sqlite3.Error as reason:
            self._failed(jobs, unavailable(self._file.path, reason))
        else:
            if self._away:
                log.warning("the ledger %s is back", self._file.path)
            self._away = False
        self._answer(jobs)
        return True

    def _transact(self, jobs: list[Job]) -> None:
        if all(job.given_up for job in jobs):
            return
        db = self._file.open()
        with _transaction(db):
            books = Books(db, self._memory, self._wall_us(), self._step)
            self._step("begun")
            for job in jobs:
                assert job.act is not None
                if job.given_up:  # while it waited for the file
                    continue
                try:
                    job.result, job.error = job.act(books), None
                except (BudgetExhausted, UnknownBudget, ValueError) as error:
                    job.error = error  # refused before anything was changed
                except sqlite3.Error:
                    raise
                except Exception as error:  # a bug of ours: the others must not suffer
                    log.exception("a step of the ledger failed")
                    job.error = LedgerUnavailable(f"internal error ({type(error).__name__})")
                    job.given_up, job.owed = True, False
                    raise _Broken from None
            books.flush()
            self._step("written")

    def _run_alone(self, job: Job) -> None:
        db = self._file.open() if job.mend is None else self._file.accept()
        act = job.alone or job.mend
        assert act is not None
        with _transaction(db):
            job.result = act(db)
        self._memory.forget()

    def _run_look(self, job: Job) -> None:
        assert job.look is not None
        try:
            db = self._file.opened()
            if db is None:
                with self._file.locked():
                    db = self._file.open()
            job.result = job.look(db)
        except (LedgerUnavailable, UnknownBudget) as error:
            job.error = error
        except sqlite3.Error as error:
            self._file.close()
            job.error = unavailable(self._file.path, error)

    def _failed(self, jobs: Sequence[Job], error: LedgerUnavailable) -> None:
        """Forget what was done in memory; keep what is owed for another time."""
        self._memory.forget()
        self._file.close()
        for job in jobs:
            job.result, job.error = None, job.error if job.given_up else error
            if job.owed:
                self._owed.append(Job(job.act, owed=True))
        if not self._away:
            log.warning("%s; %d outcomes wait", error.reason, len(self._owed))
        self._away = True

    def _answer(self, jobs: Sequence[Job]) -> None:
        """Wake each event loop once for all that it waits for."""
        by_loop: dict[asyncio.AbstractEventLoop, list[Job]] = {}
        for job in jobs:
            if job.loop is not None:
                by_loop.setdefault(job.loop, []).append(job)
        for loop, mine in by_loop.items():
            with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits
                loop.call_soon_threadsafe(self.deliver, mine)


class _Broken(Exception):
    """One job of the transaction failed and was marked; the rest can be done without it."""


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection) -> Any:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        raise


def _releasing(held: Reservation) -> Callable[[Books], None]:
    return lambda books: books.release(held)
