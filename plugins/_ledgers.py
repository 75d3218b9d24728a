"""Which store `embedding_router.ledger` names, opened."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from plugins._ledger import Ledger
from plugins._state import state_folder
from router_config import Config

__all__ = ["open_ledger"]


def open_ledger(config: Config, environ: Mapping[str, str]) -> Ledger:
    """Return the ledger of *config*, a file or Redis; nothing is asked of it yet.

    Each store is imported only where it is named: redis-py takes a tenth of a second.
    """
    url = getattr(config, "ledger", "sqlite")
    if url.startswith(("redis://", "rediss://")):
        from plugins._ledger_epochs import Epochs, epochs_path
        from plugins._ledger_redis import RedisLedger

        return RedisLedger(url, epochs=Epochs(epochs_path(state_folder(environ), url)))
    from plugins._ledger_sqlite import SqliteLedger

    if url == "sqlite":
        return SqliteLedger(state_folder(environ) / "ledger.db")
    return SqliteLedger(Path(url.removeprefix("sqlite://")))
