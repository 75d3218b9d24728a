"""Which store `embedding_router.ledger` names, opened."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from plugins._ledger import Ledger
from plugins._ledger_sqlite import SqliteLedger
from plugins._state import state_folder
from router_config import Config

__all__ = ["open_ledger"]


def open_ledger(config: Config, environ: Mapping[str, str]) -> Ledger:
    """Return the ledger of *config*, a file or Redis; nothing is asked of it yet."""
    url = getattr(config, "ledger", "sqlite")
    if url == "sqlite":
        return SqliteLedger(state_folder(environ) / "ledger.db")
    return SqliteLedger(Path(url.removeprefix("sqlite://")))
