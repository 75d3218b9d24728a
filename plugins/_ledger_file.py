"""The file of the SQLite ledger: made private, opened once, written by one process at a time.

Beside `ledger.db` lies `ledger.db.lock`. It is locked around every write transaction: SQLite's own
lock is won by whoever polls at the right moment, and with it alone two of four processes were seen
to wait for seconds. It also holds the ledger's epoch, so that a database which was deleted or
exchanged is told from a new one: its budgets would start again at nothing, unseen.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from plugins._ledger import LedgerUnavailable, LedgerUnfit
from plugins._ledger_mounts import mounts_here, network_type

__all__ = ["LedgerFile", "reader", "unavailable"]

_VERSION = 2
_APPLICATION = 0x71_33_6C_67  # "q3lg", shown by file(1) and told from other databases
_OLDEST_SQLITE = (3, 35, 0)  # RETURNING
_BUSY_MS = 2_000
_ACCEPT = "look why, then run: qwen3-router budget check --accept --reason TEXT"

_SCHEMA = """
CREATE TABLE state (
    id INTEGER PRIMARY KEY CHECK (id = 1), epoch TEXT NOT NULL, accepted INTEGER NOT NULL,
    generation INTEGER NOT NULL, wall_us INTEGER NOT NULL, calendar_us INTEGER NOT NULL,
    lease_us INTEGER NOT NULL, next_expiry_us INTEGER
);
CREATE TABLE budgets (
    name TEXT PRIMARY KEY, period TEXT NOT NULL, nano_usd INTEGER, tokens INTEGER,
    requests INTEGER, since INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
-- AUTOINCREMENT: the id of a merged counter never comes back for another one.
CREATE TABLE counters (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    budget TEXT NOT NULL, period TEXT NOT NULL, start INTEGER NOT NULL,
    spent_nano_usd INTEGER NOT NULL, spent_tokens INTEGER NOT NULL, spent_requests INTEGER NOT NULL,
    held_nano_usd INTEGER NOT NULL, held_tokens INTEGER NOT NULL, held_requests INTEGER NOT NULL,
    told_nano_usd INTEGER NOT NULL, told_tokens INTEGER NOT NULL, told_requests INTEGER NOT NULL,
    UNIQUE (budget, period, start)
);
-- counters: their ids, with spaces between. state: 0 open, 1 settled, 2 released, 3 expired.
CREATE TABLE reservations (
    id TEXT PRIMARY KEY, counters TEXT NOT NULL, nano_usd INTEGER NOT NULL, tokens INTEGER NOT NULL,
    requests INTEGER NOT NULL, expires_us INTEGER NOT NULL, state INTEGER NOT NULL,
    ended_us INTEGER, note TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX reservations_open ON reservations (expires_us) WHERE state = 0;
CREATE TABLE postings (
    seq INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, counter INTEGER NOT NULL, kind TEXT NOT NULL,
    nano_usd INTEGER NOT NULL, tokens INTEGER NOT NULL, requests INTEGER NOT NULL,
    reservation TEXT NOT NULL, reason TEXT NOT NULL, who TEXT NOT NULL
);
CREATE TABLE days (
    counter INTEGER NOT NULL, day INTEGER NOT NULL,
    nano_usd INTEGER NOT NULL, tokens INTEGER NOT NULL, requests INTEGER NOT NULL,
    PRIMARY KEY (counter, day)
) WITHOUT ROWID;
"""


class LedgerFile:
    """One open ledger file; used by one thread. *mounts* tells the types of file systems."""

    def __init__(self, path: Path, mounts: Callable[[], Mapping[str, str]] = mounts_here) -> None:
        self.path = path
        self._mounts = mounts
        self._lock_path = path.with_name(path.name + ".lock")
        self._lock: int | None = None
        self._db: sqlite3.Connection | None = None
        self._inode: tuple[int, int] | None = None
        self._epoch: str | None = None  # the one that this process last saw

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the file lock."""
        try:
            fd = self._locked_fd()
        except OSError as error:
            raise _no_file(self._lock_path, error) from None
        try:
            yield
        finally:
            fcntl.flock(fd, fcntl.LOCK_UN)

    def open(self) -> sqlite3.Connection:
        """Return the connection of this process, made anew if the file is another; hold the lock.

        Raises:
            LedgerUnfit: the file is gone, exchanged, damaged, or must not lie where it lies.
            LedgerUnavailable: it cannot be reached now.
        """
        db = self.opened()
        if db is not None:
            return db
        self.close()
        try:
            found = self.path.stat() if self.path.exists() else None
            return self._open(fresh=found is None or found.st_size == 0)
        except sqlite3.Error as error:
            self.close()
            raise unavailable(self.path, error) from None
        except OSError as error:
            self.close()
            raise _no_file(self.path, error) from None
        except LedgerUnavailable:
            self.close()
            raise

    def flush(self) -> None:
        """Return when all that was committed is on the disk; not under the lock.

        The log is flushed as a whole, so that it holds what others committed before, and while one
        process waits for the disk another one writes. A commit that was answered before this would
        be lost in a power cut; none is.
        """
        try:
            fd = os.open(f"{self.path}-wal", os.O_RDWR | os.O_CLOEXEC)
            try:
                if sys.platform == "darwin":  # where fsync stops at the disk's cache
                    fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
                else:
                    os.fsync(fd)
            finally:
                os.close(fd)
        except OSError as error:
            raise _no_file(self.path, error) from None

    def opened(self) -> sqlite3.Connection | None:
        """Return the connection of this process if the file is still the one it opened."""
        if self._db is None:
            return None
        with contextlib.suppress(OSError):
            there = self.path.stat()
            if (there.st_dev, there.st_ino) == self._inode:
                return self._db
        return None

    def accept(self) -> sqlite3.Connection:
        """Return a connection to the file as it is, empty if it has to be; see `note`."""
        self.close()
        try:
            db = self._connected()
            self._db = db
            if _version(db) == 0:
                _create(db)
        except sqlite3.Error as error:
            self.close()
            raise unavailable(self.path, error) from None
        except OSError as error:
            self.close()
            raise _no_file(self.path, error) from None
        return db

    def close(self) -> None:
        """Close the connection; the next `open` makes another."""
        db, self._db, self._inode = self._db, None, None
        if db is not None:
            with contextlib.suppress(sqlite3.Error):
                db.close()

    def let_go(self) -> None:
        """Close the connection and the lock file; for good, as far as one knows."""
        self.close()
        fd, self._lock = self._lock, None
        if fd is not None:
            os.close(fd)

    def _open(self, *, fresh: bool) -> sqlite3.Connection:
        known = self._epoch or os.pread(self._fd(), 64, 0).decode("ascii", "replace").strip()
        gone = LedgerUnfit(f"the ledger {self.path} was here and is gone; {_ACCEPT}")
        if fresh and known:
            raise gone
        db = self._connected()
        self._db = db
        if _version(db) == 0:
            if known:
                raise gone
            _create(db)
        (epoch, accepted) = db.execute("SELECT epoch, accepted FROM state").fetchone()
        if known and epoch != known and not accepted:
            raise LedgerUnfit(f"the ledger {self.path} was exchanged for another; {_ACCEPT}")
        self.note(epoch)
        return db

    def _connected(self) -> sqlite3.Connection:
        """Return a connection to the file, which exists afterwards, private and of our version."""
        if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
            wanted = ".".join(map(str, _OLDEST_SQLITE))
            raise LedgerUnfit(f"SQLite {sqlite3.sqlite_version} is older than {wanted}")
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        found = self.path.stat()
        self._inode = (found.st_dev, found.st_ino)
        db = sqlite3.connect(self.path, isolation_level=None, timeout=_BUSY_MS / 1000)
        try:
            (mode,) = db.execute("PRAGMA journal_mode = WAL").fetchone()
            if mode != "wal":
                raise LedgerUnfit(f"{self.path} lies where SQLite cannot share memory (no WAL)")
            # FULL in effect: NORMAL leaves out only the flush of a commit, which `flush` makes up
            # for, before any answer. SQLite would flush under the lock; where that takes 0.2 ms,
            # four processes made 3,500 to 6,200 reservations a second so, and 8,900 to 10,100 thus.
            for pragma in ("synchronous = NORMAL", "fullfsync = ON", "checkpoint_fullfsync = ON"):
                db.execute(f"PRAGMA {pragma}")
            (application,) = db.execute("PRAGMA application_id").fetchone()
            version = _version(db)
            if version == 1 and application == _APPLICATION:
                version = _add_since(db)
            if version not in (0, _VERSION):
                raise LedgerUnfit(
                    f"{self.path} has version {version}; this release reads {_VERSION}: use the "
                    "release that wrote it"
                )
            tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if application not in (0, _APPLICATION) or (version == 0 and tables):
                raise LedgerUnfit(f"{self.path} is a database of something else: name another file")
        except BaseException:
            db.close()
            raise
        return db

    def _locked_fd(self) -> int:
        """Return the locked descriptor of the lock file that is there now."""
        while True:
            fd = self._fd()
            # A turnstile in front: who had the file goes to the end of the queue and does not
            # overtake who sleeps. The two kinds of locks do not see each other, and this one is
            # only for fairness: the system may take two ledgers for a deadlock and refuse it.
            with contextlib.suppress(OSError):
                fcntl.lockf(fd, fcntl.LOCK_EX)
            fcntl.flock(fd, fcntl.LOCK_EX)
            fcntl.lockf(fd, fcntl.LOCK_UN)
            mine = os.fstat(fd)
            with contextlib.suppress(FileNotFoundError):
                there = self._lock_path.stat()
                if (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino):
                    return fd
            os.close(fd)  # somebody removed it: others lock another file by now
            self._lock = None

    def _fd(self) -> int:
        if self._lock is None:
            _make_folder(self.path.parent, self._mounts())
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            self._lock = os.open(self._lock_path, flags, 0o600)
        return self._lock

    def note(self, epoch: str) -> None:
        """Remember *epoch* in this process and beside the database; hold the lock."""
        fd = self._fd()
        if os.pread(fd, 64, 0).decode("ascii", "replace").strip() != epoch:
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{epoch}\n".encode("ascii"), 0)
            os.fsync(fd)
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(folder)  # the names of the new files
            finally:
                os.close(folder)
        self._epoch = epoch


def reader(path: Path) -> sqlite3.Connection:
    """Return a connection of its own for a long look. Raises `LedgerUnavailable`."""
    try:
        db = sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=5)
        db.execute("PRAGMA query_only = ON")
    except sqlite3.Error as error:
        raise unavailable(path, error) from None
    return db


def unavailable(path: Path, error: sqlite3.Error) -> LedgerUnavailable:
    """Return *error* in the words of the operator."""
    text = str(error)
    if "malformed" in text or "not a database" in text:
        return LedgerUnfit(
            f"the ledger {path} is damaged ({text}): put a copy back, or move it away, and then "
            "run: qwen3-router budget check --accept --reason TEXT"
        )
    if "full" in text:
        return LedgerUnavailable(f"no space is left for the ledger {path}: free some")
    return LedgerUnavailable(f"the ledger {path} cannot be used now ({text})")


def _create(db: sqlite3.Connection) -> None:
    """Make the tables, all or none."""
    with contextlib.closing(db.cursor()) as cursor:
        cursor.executescript(
            f"BEGIN IMMEDIATE; {_SCHEMA}"
            "INSERT INTO state VALUES "
            f"(1, '{secrets.token_hex(8)}', 0, 1, 0, 0, 0, NULL);"
            f"PRAGMA application_id = {_APPLICATION}; PRAGMA user_version = {_VERSION}; COMMIT;"
        )


def _add_since(db: sqlite3.Connection) -> int:
    """Bring a file of version 1 to version 2, in one transaction; return its version."""
    with contextlib.closing(db.cursor()) as cursor:
        cursor.executescript(
            "BEGIN IMMEDIATE; ALTER TABLE budgets ADD COLUMN since INTEGER NOT NULL DEFAULT 0; "
            "UPDATE state SET generation = generation + 1; PRAGMA user_version = 2; COMMIT;"
        )
    return _version(db)


def _version(db: sqlite3.Connection) -> int:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    return int(version)


def _make_folder(folder: Path, mounts: Mapping[str, str]) -> None:
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    kind = network_type(folder, mounts)
    if kind is not None:
        raise LedgerUnfit(
            f"{folder} is on a network file system ({kind}), where SQLite cannot hold: set "
            "QWEN3_ROUTER_STATE to a folder on a local disk, or use ledger: redis://…"
        )


def _no_file(path: Path, error: OSError) -> LedgerUnavailable:
    what = f"the ledger {path} cannot be written ({error.strerror or error})"
    if isinstance(error, PermissionError) or error.errno == 30:  # EROFS
        return LedgerUnfit(f"{what}: set QWEN3_ROUTER_STATE to a folder of this user")
    return LedgerUnavailable(what)
