"""The SQLite ledger's writer in a child process: the event loop only writes and reads a socket.

A thread would share the interpreter's lock with a busy event loop (see `_ledger_here`). Steps of
one turn of the event loop travel together, and are flushed to the disk together; a booking, for
which nobody waits, lets a moment pass in which the next reservation may take it along. If the
child dies, a new one is started; what it owed is told again, which changes nothing if it was done.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from plugins._ledger import (
    BudgetExhausted,
    Crossing,
    LedgerUnavailable,
    LedgerUnfit,
    Reservation,
    Told,
    UnknownBudget,
)
from plugins._ledger_server import NOBODY, Frames, frame

__all__ = ["Apart"]

log = logging.getLogger("qwen3_router.ledger")

_END_S = 5.0
_RESTART_S = 0.5
_UNSENT_S = 10.0
_LOOK_EVERY_S = 0.1
_ONCE_MORE_S = 0.02
_TAKEN_ALONG_S = 0.005
_RAISES: dict[str, Callable[..., Exception]] = {
    "BudgetExhausted": BudgetExhausted,
    "LedgerUnavailable": LedgerUnavailable,
    "LedgerUnfit": LedgerUnfit,
    "UnknownBudget": UnknownBudget,
    "ValueError": ValueError,
}


@dataclass(slots=True)
class _Step:
    """One step, and who waits for it; *told* hears of levels where nobody does."""

    name: str
    args: Sequence[Any]
    owed: bool
    future: asyncio.Future[Any] | None
    timeout_s: float = 0.0
    told: Told | None = None
    sent_at: float = 0.0  # by the event loop's clock; at first, when it ought to be at the latest
    is_late: bool = False


_NOBODYS = _Step("", (), True, None)


class Apart:
    """Takes steps from any event loop to a child process for each, which the first one starts."""

    def __init__(self, path: Path, wall_us: Callable[[], int] | None) -> None:
        self._path = path
        self._wall_us = wall_us
        self._links: dict[asyncio.AbstractEventLoop, _Link] = {}
        self.late: list[Crossing] = []  # of outcomes that were booked when nobody waited any more

    async def do(self, name: str, args: Sequence[Any], timeout_s: float, *, owed: bool) -> Any:
        """Return the step's result. Raises its error, or `LedgerUnavailable` after *timeout_s*."""
        loop = asyncio.get_running_loop()
        link = await self._link(loop)
        future: asyncio.Future[Any] = loop.create_future()
        step = link.put(_Step(name, args, owed, future, timeout_s))
        try:
            return await future
        except asyncio.CancelledError:
            link.give_up(step)
            raise

    def post(self, name: str, args: Sequence[Any], told: Told) -> None:
        """Have an owed step done, for which nobody waits; *told* hears the levels it reached.

        Whoever holds something has a link, and the next one does what the last one still owes.
        """
        link = self._links.get(asyncio.get_running_loop())
        if link is not None:  # else what is held was granted in another event loop, and expires
            link.put(_Step(name, args, True, None, told=told))

    async def _link(self, loop: asyncio.AbstractEventLoop) -> _Link:
        link = self._links.get(loop)
        if link is None or link.may_follow():
            for old in [one for one in self._links if one.is_closed()]:
                self._links.pop(old).abandon()
            link = self._links[loop] = _Link(
                self._path, self._wall_us, [] if link is None else link.owed(), self.late
            )
            await link.start()
        return link

    async def close(self) -> None:
        """Let the child do what waits, and end it."""
        link = self._links.pop(asyncio.get_running_loop(), None)
        if link is not None:
            await link.close()


class _Link(asyncio.Protocol):
    """One child, and what it was asked and has not answered."""

    def __init__(
        self,
        path: Path,
        wall_us: Callable[[], int] | None,
        owed: Sequence[_Step],
        late: list[Crossing],
    ) -> None:
        self._path = path
        self._late = late
        self._wall_us = wall_us
        self._frames = Frames()
        self._asked: dict[int, _Step] = {}
        self._unsent: list[tuple[int, str, Sequence[Any], bool, int | None]] = []
        self._number = 0
        self._transport: asyncio.Transport | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._loop = asyncio.get_running_loop()
        self._watch: asyncio.TimerHandle | None = None
        self._goes: asyncio.Handle | None = None
        self._goes_now = False
        self._ended = self._loop.create_future()
        self._started_at = self._loop.time()
        self.broken = False
        for step in owed:
            self.put(step)

    async def start(self) -> None:
        """Start the child; what was put before goes first."""
        try:
            self._process, ours = _child(self._path)
        except OSError as error:
            self.connection_lost(error)
            return
        await self._loop.connect_accepted_socket(lambda: self, ours)

    def may_follow(self) -> bool:
        """Tell whether another child may take over: this one ended, not just after its start."""
        return self.broken and self._loop.time() - self._started_at > _RESTART_S

    def put(self, step: _Step) -> _Step:
        """Send *step* with all others of this turn of the event loop, a booking a moment later."""
        if self.broken and step.future is not None:
            step.future.set_exception(LedgerUnavailable("the ledger's process ended"))
        if step.future is not None and not self._goes_now:
            self._leave()
            self._goes, self._goes_now = self._loop.call_soon(self._flush), True
        elif self._goes is None:
            self._goes = self._loop.call_later(_TAKEN_ALONG_S, self._flush)
        self._number += 1
        step.sent_at = self._loop.time() + _UNSENT_S
        self._asked[self._number] = step
        if self._watch is None and step.future is not None:
            self._watch = self._loop.call_later(_LOOK_EVERY_S, self._look)
        wall_us = None if self._wall_us is None else self._wall_us()
        self._unsent.append((self._number, step.name, step.args, step.owed, wall_us))
        return step

    def give_up(self, step: _Step) -> None:
        """Note that nobody waits for *step* any more."""
        # The answer may be there and yet unread: the wait was cancelled just before.
        future, step.future = step.future, None
        if future is None or future.cancel() or future.cancelled():
            return
        if future.exception() is None:
            self._undo(future.result())

    def owed(self) -> list[_Step]:
        """Return the outcomes that were not answered for."""
        return [
            _Step(step.name, step.args, True, None, told=step.told)
            for step in self._asked.values()
            if step.owed
        ]

    async def close(self) -> None:
        """Send what waits, and wait until the child has ended."""
        self._flush()
        if self._transport is not None and self._transport.can_write_eof():
            self._transport.write_eof()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._ended), _END_S)
        self.abandon()
        if self._process is not None:
            await asyncio.to_thread(self._process.wait)

    def abandon(self) -> None:
        """Hang up; the child ends by itself."""
        self.broken = True
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by class
        self._flush()

    def data_received(self, data: bytes) -> None:
        for answers in self._frames.feed(data):
            for number, result, error in answers:
                step = self._asked.pop(number) if number != NOBODY else _NOBODYS
                future = step.future
                if future is None or future.done():
                    self._undo(result)
                    if step.told is not None:
                        step.told(result or ())
                    elif step.owed:
                        self._late += result or ()
                elif error is not None:
                    future.set_exception(_RAISES[error[0]](*error[1]))
                else:
                    future.set_result(result)

    def connection_lost(self, error: Exception | None) -> None:
        self.broken = True
        self._unwatch()
        self._leave()
        if self._process is not None:
            self._process.poll()  # takes its exit code, so that it does not stay as a zombie
        for step in self._asked.values():
            if step.future is not None and not step.future.done():
                step.future.set_exception(LedgerUnavailable("the ledger's process ended"))
        if not self._ended.done():
            self._ended.set_result(None)

    def _look(self) -> None:
        """Refuse whoever has waited for too long.

        Time counts from when a step was sent, and an answer that is there is taken: an event loop
        that was busy with something else is no reason to refuse. So who is late is looked at once
        more, when the loop has read what there is.
        """
        now, waits, soon = self._loop.time(), False, False
        for step in self._asked.values():
            future = step.future
            if future is None or future.done():
                continue
            waits = True
            if now < step.sent_at + step.timeout_s:
                step.is_late = False
            elif not step.is_late:
                step.is_late = soon = True
            else:
                step.future = None
                text = f"the ledger was not free for {step.timeout_s:g} s"
                future.set_exception(LedgerUnavailable(text))
        after_s = _ONCE_MORE_S if soon else _LOOK_EVERY_S
        self._watch = self._loop.call_later(after_s, self._look) if waits else None

    def _unwatch(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()

    def _leave(self) -> None:
        goes, self._goes, self._goes_now = self._goes, None, False
        if goes is not None:
            goes.cancel()

    def _flush(self) -> None:
        self._leave()
        if self._unsent and self._transport is not None and not self.broken:
            self._transport.write(frame(self._unsent))
            for number, *_ in self._unsent:
                if number in self._asked:
                    self._asked[number].sent_at = self._loop.time()
            self._unsent = []

    def _undo(self, result: Any) -> None:
        if isinstance(result, Reservation) and not self.broken:  # granted to nobody
            self.put(_Step("release", (result,), True, None))


def _child(path: Path) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start a writer for *path*; return it and our end of the socket to it."""
    ours, theirs = socket.socketpair()
    root = str(Path(__file__).resolve().parents[1])
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    try:
        # -P: no other `plugins` that lies in the working directory.
        command = [sys.executable, "-P", "-m", "plugins._ledger_server", str(theirs.fileno())]
        process = subprocess.Popen(
            [*command, str(path)],
            pass_fds=[theirs.fileno()],
            env={**os.environ, "PYTHONPATH": paths},
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # what is meant for us, such as Ctrl-C, is not for it
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return process, ours
