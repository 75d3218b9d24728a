"""Lines to a rotating file or to stdout, written by a thread, so that nobody waits for a disk.

Several processes may write to one file: each batch is written in one piece under a lock beside the
file, and whoever finds the file too large moves it aside under the same lock. What cannot be
written, or comes faster than the disk takes it, is dropped and counted, and a line says so.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

__all__ = ["FileOut", "LogWriter", "StdOut"]

log = logging.getLogger("qwen3_router")

MOST_LINES = 20_000  # that wait; about 10 MB
_EVERY_S = 0.2
_BATCH_LINES = 1000


class LogWriter:
    """A bounded queue of lines and the thread that writes them to *out*."""

    def __init__(self, out: Callable[[list[bytes]], None], most: int = MOST_LINES) -> None:
        self._out = out
        self._most = most
        self._queue: deque[tuple[Callable[[Any], bytes], Any]] = deque()
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._ended = False
        self._told = False
        # Two counts, since each may grow in one thread only.
        self._refused = 0
        self._failed = 0
        self._reported = 0

    @property
    def dropped(self) -> int:
        """How many lines were lost."""
        return self._refused + self._failed

    def put(self, make: Callable[[Any], bytes], record: Any) -> None:
        """Take *record*, to be written as *make* makes it; never waits."""
        if self._ended or len(self._queue) >= self._most:
            self._refused += 1
            return
        self._queue.append((make, record))
        if self._thread is None:
            # Not before the first line: a process that forks workers must not have threads.
            self._thread = threading.Thread(target=self._run, name="request-log", daemon=True)
            self._thread.start()
            atexit.register(self.close)

    def close(self, within_s: float = 2.0) -> None:
        """Write what waits, for at most *within_s* seconds, and end."""
        self._ended = True
        self._wake.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(within_s)

    def _run(self) -> None:
        while True:
            ended = self._ended
            self._write()
            if ended and not self._queue:
                return
            if not self._queue:
                self._wake.wait(_EVERY_S)

    def _write(self) -> None:
        lines: list[bytes] = []
        while self._queue and len(lines) < _BATCH_LINES:
            make, record = self._queue.popleft()
            lines.append(make(record) + b"\n")
        count, untold = len(lines), self.dropped - self._reported
        if untold:
            lines.append(_dropped_line(untold))
        if not lines:
            return
        try:
            self._out(lines)
        except OSError as error:
            self._failed += count
            if not self._told:  # once, until it works again
                self._told = True
                log.error("the request log cannot be written (%s); lines are lost", error.strerror)
            self._wake.wait(_EVERY_S)
        else:
            self._reported += untold
            self._told = False


class StdOut:
    """Lines to standard output, each in one piece: several workers share it."""

    def __call__(self, lines: list[bytes]) -> None:
        for line in lines:
            _write_all(1, line)


class FileOut:
    """Lines to *path*; at *max_bytes* it becomes `path.1` and so on, of which *keep* stay."""

    def __init__(self, path: Path, max_bytes: int, keep: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._keep = keep

    def __call__(self, lines: list[bytes]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        start = 0
        with self._lock():
            while start < len(lines):
                if self._is_full(len(lines[start])):
                    self._rotate()
                start = self._append(lines, start)

    def _is_full(self, more: int) -> bool:
        try:
            size = self._path.stat().st_size
        except FileNotFoundError:
            return False
        return size > 0 and size + more > self._max_bytes

    def _append(self, lines: list[bytes], start: int) -> int:
        """Write from *start* what the file has room for, one line at least; return the end."""
        # Opened anew each time: a few times a second, and nobody can have moved it meanwhile.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        file = os.open(self._path, flags, 0o640)
        try:
            before = size = os.fstat(file).st_size
            end = start
            while end < len(lines) and (end == start or size + len(lines[end]) <= self._max_bytes):
                size += len(lines[end])
                end += 1
            try:
                _write_all(file, b"".join(lines[start:end]))
            except OSError:  # a full disk: no half of a line stays
                os.ftruncate(file, before)
                raise
        finally:
            os.close(file)
        return end

    def _rotate(self) -> None:
        if not self._keep:
            self._path.unlink(missing_ok=True)
            return
        for number in range(self._keep, 0, -1):
            older = self._numbered(number)
            newer = self._numbered(number - 1) if number > 1 else self._path
            with contextlib.suppress(FileNotFoundError):
                os.replace(newer, older)

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        name = self._path.with_name(f".{self._path.name}.lock")
        file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _dropped_line(count: int) -> bytes:
    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return orjson.dumps({"event": "dropped", "v": 1, "at": at, "lines": count}) + b"\n"
