"""The shared notes in a SQLite file: for the processes of one user and machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from plugins._shared import KEEP_S, SharedAwayError, checked

__all__ = ["SqliteShared"]

_T = TypeVar("_T")
_BUSY_S = 1.0
_OPEN_TRIES = 20
_SCHEMA = """
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value BLOB, version INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS notes_by_version ON notes (version);
CREATE TABLE IF NOT EXISTS leases (
    name TEXT PRIMARY KEY, owner TEXT NOT NULL, until REAL NOT NULL, ttl_s REAL NOT NULL
) WITHOUT ROWID;
"""


class SqliteShared:
    """A `Shared` in the file *path*, made at its first use; *wall* is seconds since 1970.

    Calls run in one thread beside the event loop, so that a busy disk holds no request up. A file
    that cannot be read as a database is thrown away: nothing in it is precious.
    """

    def __init__(self, path: Path, *, wall: Callable[[], float] = time.time) -> None:
        self.path = path
        self._wall = wall
        self._db: sqlite3.Connection | None = None
        self._inode: tuple[int, int] | None = None
        self._thread: ThreadPoolExecutor | None = None

    async def put(self, name: str, value: bytes | None, *, seen: int | None = None) -> int:
        """Write or delete a note; its version is the time, or one more than the last."""
        blob = checked(value)

        def work(db: sqlite3.Connection) -> int:
            if seen is not None:
                newer = "SELECT 1 FROM notes WHERE name = ? AND version > ?"
                if db.execute(newer, (name, seen)).fetchone():
                    return 0
            now_us = int(self._wall() * 1e6)
            version = max(now_us, _newest(db) + 1)
            db.execute("INSERT OR REPLACE INTO notes VALUES (?, ?, ?)", (name, blob, version))
            if blob is None:
                oldest = now_us - int(KEEP_S * 1e6)
                db.execute("DELETE FROM notes WHERE value IS NULL AND version < ?", (oldest,))
            return version

        return await self._do(work, write=True)

    async def since(self, version: int) -> tuple[int, dict[str, bytes | None]]:
        """Return what is newer."""

        def work(db: sqlite3.Connection) -> tuple[int, dict[str, bytes | None]]:
            newest = _newest(db)
            if newest == version:
                return newest, {}
            rows = db.execute(
                "SELECT name, value FROM notes WHERE version > ? ORDER BY version",
                (version if version < newest else 0,),
            )
            return newest, dict(rows.fetchall())

        return await self._do(work)

    async def lease(self, name: str, owner: str, ttl_s: float) -> bool:
        """Take, renew or give back a lease."""

        def work(db: sqlite3.Connection) -> bool:
            now = self._wall()
            found = db.execute(
                "SELECT owner, until, ttl_s FROM leases WHERE name = ?", (name,)
            ).fetchone()
            # A lease that would last longer than it was taken for is of a clock that went back.
            if found and found[0] != owner and now < found[1] <= now + found[2]:
                return False
            if ttl_s > 0:
                row = (name, owner, now + ttl_s, ttl_s)
                db.execute("INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?)", row)
                return True
            db.execute("DELETE FROM leases WHERE name = ? AND owner = ?", (name, owner))
            return False

        return await self._do(work, write=True)

    async def now(self) -> float:
        """Return this machine's clock: all who use the file have it."""
        return self._wall()

    async def close(self) -> None:
        """Close the file and end the thread."""
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.get_running_loop().run_in_executor(thread, self._close)
            thread.shutdown(wait=False)

    async def _do(self, work: Callable[[sqlite3.Connection], _T], *, write: bool = False) -> _T:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="qwen3-router-shared")
        run = asyncio.get_running_loop().run_in_executor(self._thread, self._run, work, write)
        return await run

    def _run(self, work: Callable[[sqlite3.Connection], _T], write: bool) -> _T:
        try:
            db = self._opened()
            db.execute("BEGIN IMMEDIATE" if write else "BEGIN")
            try:
                result = work(db)
                db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    db.execute("ROLLBACK")
                raise
        except (sqlite3.Error, OSError, TypeError, ValueError) as error:
            self._close()
            if type(error) is sqlite3.DatabaseError:  # damaged, or none of SQLite's
                self._throw_away()
            reason = f"{self.path} cannot be used ({type(error).__name__}: {_said(error)})"
            raise SharedAwayError(reason) from None
        return result

    def _opened(self) -> sqlite3.Connection:
        """Return the connection, made anew if the file is another one by now."""
        if self._db is not None:
            with contextlib.suppress(OSError):
                if self._inode == _inode(self.path):
                    return self._db
            self._close()
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(FileExistsError):
            # Opened only where nobody can have it open: closing it would drop SQLite's locks.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        for again in reversed(range(_OPEN_TRIES)):
            self._inode = _inode(self.path)
            db = sqlite3.connect(
                self.path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
            )
            try:
                # Flushes at checkpoints only; what a power cut takes away is not missed.
                db.execute("PRAGMA journal_mode = WAL")
                db.execute("PRAGMA synchronous = NORMAL")
                db.executescript(_SCHEMA)
            except sqlite3.OperationalError:
                db.close()
                if not again:  # processes that make it together are in each other's way
                    raise
                time.sleep(random.uniform(0.01, 0.05))
            except BaseException:
                db.close()
                raise
            else:
                break
        self._db = db
        return db

    def _throw_away(self) -> None:
        with contextlib.suppress(OSError):
            if self._inode == _inode(self.path):
                for ending in ("", "-wal", "-shm"):
                    self.path.with_name(self.path.name + ending).unlink(missing_ok=True)

    def _close(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            with contextlib.suppress(sqlite3.Error):
                db.close()


def _inode(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _newest(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT coalesce(max(version), 0) FROM notes").fetchone()[0])


def _said(error: Exception) -> str:
    """Return SQLite's or the system's own words; there are no data in them."""
    return error.strerror or "" if isinstance(error, OSError) else str(error)
