"""The SQLite ledger's writer in a process of its own, at the other end of a socket pair.

    python -m plugins._ledger_server FD PATH

Frames of either direction are a length and a pickle; both ends are one program. It has one thread
and blocks where it has to: while a transaction is flushed, the next one's steps gather in the
socket. It ends when its parent does, and not before: a proxy that was told to stop still settles.
"""

from __future__ import annotations

import copyreg
import logging
import pickle
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from plugins._ledger import (
    Amount,
    BudgetExhausted,
    LedgerUnavailable,
    LedgerUnfit,
    Reservation,
    UnknownBudget,
)
from plugins._ledger_file import LedgerFile
from plugins._ledger_time import micros
from plugins._ledger_writer import Job, Writer

__all__ = ["NOBODY", "Frames", "frame", "raised"]

NOBODY = 0  # the number of an answer for which nobody waits any more; steps count from 1

_HEAD = struct.Struct("!I")
_RETRY_S = 0.5
_READ = 1 << 20
_ERRORS = (LedgerUnfit, LedgerUnavailable, UnknownBudget, ValueError)


def _as_call(kind: type, *names: str) -> None:
    """Pickle *kind* as a call with its fields: a quarter of what slots take on either side."""
    copyreg.pickle(kind, lambda one: (kind, tuple(getattr(one, name) for name in names)))


_as_call(Amount, "nano_usd", "tokens", "requests")
_as_call(Reservation, "id", "rows", "amount", "expires_at", "crossings")


def frame(content: Any) -> bytes:
    """Return *content* as it goes over the socket."""
    body = pickle.dumps(content, protocol=5)
    return _HEAD.pack(len(body)) + body


class Frames:
    """Puts frames together from what a socket gives."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, received: bytes) -> Iterator[Any]:
        """Yield the content of each frame that is complete now."""
        self._bytes += received
        while len(self._bytes) >= _HEAD.size:
            (length,) = _HEAD.unpack_from(self._bytes)
            end = _HEAD.size + length
            if len(self._bytes) < end:
                return
            content = pickle.loads(bytes(self._bytes[_HEAD.size : end]))
            del self._bytes[:end]
            yield content


def raised(error: Exception) -> tuple[str, Any]:
    """Return *error* as what can be pickled: its class's name and what makes it again."""
    if isinstance(error, BudgetExhausted):
        return "BudgetExhausted", (error.refusals, error.crossings)
    for kind in _ERRORS:
        if isinstance(error, kind):
            return kind.__name__, (str(error),)
    return "LedgerUnavailable", (f"internal error ({type(error).__name__})",)


class _Server:
    """Serves one parent over *link*."""

    def __init__(self, link: socket.socket, path: Path) -> None:
        self._link = link
        self._frames = Frames()
        self._wall_us: int | None = None  # a test's clock; it comes with each step
        self._writer = Writer(LedgerFile(path), self._now_us, lambda _: None)
        self._open = True

    def run(self) -> None:
        while self._open:
            jobs = self._receive(None if not self._writer.owed else _RETRY_S)
            done = self._writer.work(jobs, lambda: self._receive(0))
            self._send([job for job in done if job.waiter is not None or job.result])
        self._writer.close()

    def _now_us(self) -> int:
        return micros(time.time()) if self._wall_us is None else self._wall_us

    def _receive(self, timeout_s: float | None) -> list[Job]:
        """Return the steps that came, after waiting for at most *timeout_s*."""
        jobs: list[Job] = []
        while self._open and select.select([self._link], [], [], timeout_s)[0]:
            received = self._read()
            self._open = bool(received)
            for steps in self._frames.feed(received):
                for number, name, args, owed, wall_us in steps:
                    self._wall_us = wall_us
                    jobs.append(Job(name, args, owed=owed, waiter=number))
            timeout_s = 0 if jobs or timeout_s == 0 else timeout_s
            if timeout_s == 0 and len(received) < _READ:
                break
        return jobs

    def _read(self) -> bytes:
        try:
            return self._link.recv(_READ)
        except ConnectionResetError:  # killed with answers unread; that is an end too
            return b""

    def _send(self, jobs: Sequence[Job]) -> None:
        answers = [
            (job.waiter or NOBODY, job.result, None if job.error is None else raised(job.error))
            for job in jobs
        ]
        try:
            if answers:
                self._link.sendall(frame(answers))
        except OSError:
            self._open = False  # nobody listens any more


def _main(words: Sequence[str]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    with socket.socket(fileno=int(words[0])) as link:
        link.setblocking(True)
        _Server(link, Path(words[1])).run()


if __name__ == "__main__":
    _main(sys.argv[1:])
