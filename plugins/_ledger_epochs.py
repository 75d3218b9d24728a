"""Which epochs of a remote ledger this machine has seen: a store that lost its data has another."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from pathlib import Path
from urllib.parse import urlsplit

__all__ = ["Epochs", "epochs_path"]

log = logging.getLogger("qwen3_router.ledger")

_KEPT = 8


class Epochs:
    """The epochs in the order in which they were seen, kept in the file *path* if it is given.

    *seen* is the store's newest step that this process was told; a store that knows less has gone
    back, to an older copy or to a replica that was behind. Without *keep* the file is only read.
    """

    def __init__(self, path: Path | None, *, keep: bool = True) -> None:
        self._path = path if keep else None
        self._all: list[str] = []
        self.seen = 0
        if path is not None:
            with contextlib.suppress(OSError, UnicodeError):
                self._all = path.read_text(encoding="ascii").split()

    @property
    def current(self) -> str:
        """Return the epoch that the store must have; empty if none was seen yet."""
        return self._all[-1] if self._all else ""

    @property
    def left(self) -> list[str]:
        """Return the epochs that were replaced; they must not come back."""
        return self._all[:-1]

    def note(self, epoch: str, step: int) -> None:
        """Remember what the store answered."""
        if epoch == self.current:
            self.seen = max(self.seen, step)
            return
        self._all = [*self._all, epoch][-_KEPT:]
        self.seen = step
        if self._path is not None:
            try:
                _write(self._path, "\n".join(self._all) + "\n")
            except OSError as error:
                log.warning("the ledger's epoch is not kept: %s: %s", self._path, error.strerror)


def epochs_path(folder: Path, url: str) -> Path:
    """Return the file in *folder* for the store at *url*, without credentials in its name."""
    parts = urlsplit(url)
    place = f"{parts.hostname}:{parts.port or 6379}{parts.path}"
    return folder / f"ledger-{hashlib.sha256(place.encode()).hexdigest()[:16]}.epochs"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_suffix(f".{os.getpid()}")
    fresh.write_text(text, encoding="ascii")
    fresh.chmod(0o600)
    fresh.replace(path)
