"""From the configuration to the shared notes: they lie where the ledger lies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from plugins._ledger_open import ledger_url, sqlite_path
from plugins._shared import Shared
from plugins._shared_sqlite import SqliteShared
from router_config import EnvRef

__all__ = ["beside", "open_shared"]


def open_shared(where: str | EnvRef, environ: Mapping[str, str]) -> Shared:
    """Return the notes beside the ledger at *where* (`Config.ledger`); nothing is opened yet.

    Raises:
        LedgerUnfit: the variable is not set, or names no ledger.
    """
    path = sqlite_path(where, environ)
    if path is not None:
        return SqliteShared(beside(path))
    from plugins._shared_redis import RedisShared  # only who uses Redis needs its client

    return RedisShared(ledger_url(where, environ))


def beside(ledger: Path) -> Path:
    """Return the file of the notes that belong to the SQLite ledger at that path."""
    return ledger.with_name(f"{ledger.stem}-shared.db")
