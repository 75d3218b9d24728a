"""The file of the SQLite ledger: made private, opened once, written by one process at a time.

Beside `ledger.db` lies `ledger.db.lock`. It is locked around every write transaction: SQLite's own
lock is won by whoever polls at the right moment, and with it alone two of four processes were seen
to wait for seconds. It also holds the ledger's epoch, so that a database which was deleted or
exchanged is told from a new one: its budgets would start again at nothing, unseen. And it holds how
far the ledger's lease clock, which never goes back, had come: an older copy knows of less.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from plugins._ledger import LedgerUnavailable, LedgerUnfit
from plugins._ledger_mounts import mounts_here, network_type
from plugins._ledger_schema import APPLICATION, VERSION, add_since, create, version_of

__all__ = ["LedgerFile", "reader", "unavailable"]

_OLDEST_SQLITE = (3, 35, 0)  # RETURNING
_BUSY_MS = 2_000
_STEP_AT = 64  # where the lock file has the lease clock, behind the epoch
_ACCEPT = "look why, then run: qwen3-router budget check --accept --reason TEXT"


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
        self._flushed_us = 0  # the lease clock of what this process has put on the disk

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

    def keep(self, lease_us: int) -> None:
        """Note that all up to *lease_us* is on the disk; the lock file learns of it later."""
        self._flushed_us = max(self._flushed_us, lease_us)

    def note_kept(self) -> None:
        """Write beside the database how far it had come; hold the lock.

        Only of what was flushed: after a power cut the database must not seem to be behind. So the
        last transaction before a kill may be missing here; nothing is lost by that.
        """
        fd = self._fd()
        if self._flushed_us and self._epoch == _noted_epoch(fd) and self._flushed_us > _noted(fd):
            os.pwrite(fd, f"{self._flushed_us:020d}".encode("ascii"), _STEP_AT)

    def check(self, lease_us: int) -> None:
        """Hold the lease clock of the database against the noted one; hold the lock.

        Raises:
            LedgerUnfit: it is an older copy.
        """
        if lease_us < _noted(self._fd()):
            raise LedgerUnfit(f"the ledger {self.path} was put back to an older copy; {_ACCEPT}")

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
            if version_of(db) == 0:
                create(db)
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
        if self._flushed_us:
            with contextlib.suppress(LedgerUnavailable, OSError), self.locked():
                self.note_kept()
        self.close()
        fd, self._lock = self._lock, None
        if fd is not None:
            os.close(fd)

    def _open(self, *, fresh: bool) -> sqlite3.Connection:
        known = self._epoch or _noted_epoch(self._fd())
        gone = LedgerUnfit(f"the ledger {self.path} was here and is gone; {_ACCEPT}")
        if fresh and known:
            raise gone
        db = self._connected()
        self._db = db
        if version_of(db) == 0:
            if known:
                raise gone
            create(db)
        epoch, accepted, lease_us = db.execute(
            "SELECT epoch, accepted, lease_us FROM state"
        ).fetchone()
        if known and epoch != known and not accepted:
            raise LedgerUnfit(f"the ledger {self.path} was exchanged for another; {_ACCEPT}")
        self.check(lease_us)
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
            version = version_of(db)
            if version == 1 and application == APPLICATION:
                version = add_since(db)
            if version not in (0, VERSION):
                raise LedgerUnfit(
                    f"{self.path} has version {version}; this release reads {VERSION}: use the "
                    "release that wrote it"
                )
            tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if application not in (0, APPLICATION) or (version == 0 and tables):
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
        if _noted_epoch(fd) != epoch:
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{epoch}\n".ljust(_STEP_AT).encode("ascii"), 0)
            self._flushed_us = 0
            os.fsync(fd)
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(folder)  # the names of the new files
            finally:
                os.close(folder)
        self._epoch = epoch


def _noted_epoch(fd: int) -> str:
    return os.pread(fd, _STEP_AT, 0).decode("ascii", "replace").strip()


def _noted(fd: int) -> int:
    digits = os.pread(fd, 20, _STEP_AT)
    return int(digits) if digits.isdigit() else 0


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
