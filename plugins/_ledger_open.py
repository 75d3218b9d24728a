"""From the configuration to a ledger: which store, where, and with which budgets."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

from plugins._ledger import Budget, Ledger, LedgerUnfit
from plugins._ledger_epochs import Epochs, epochs_path
from plugins._ledger_sqlite import SqliteLedger
from plugins._ledger_time import Period
from plugins._state import state_folder
from router_config import Budget as BudgetEntry
from router_config import EnvRef

__all__ = [
    "budget_of",
    "ledger_url",
    "open_ledger",
    "quota",
    "run_apart",
    "sqlite_path",
    "watch_redis",
]


def open_ledger(where: str | EnvRef, environ: Mapping[str, str], *, apart: bool = True) -> Ledger:
    """Return the ledger at *where* (`Config.ledger`); nothing is opened before its first use.

    *apart* is for a proxy: SQLite's writer is then a child process (see `SqliteLedger`).

    Raises:
        LedgerUnfit: the variable is not set, or names no ledger.
    """
    url = ledger_url(where, environ)
    path = _path(url, environ)
    if path is not None:
        return SqliteLedger(path, apart=apart)
    from plugins._ledger_redis import RedisLedger  # only who uses Redis needs its client

    return RedisLedger(url, epochs=Epochs(epochs_path(state_folder(environ), url)))


def watch_redis(where: str | EnvRef, environ: Mapping[str, str], timeout_s: float) -> Ledger:
    """Return the Redis ledger at *where* for a look: `rooms` makes nothing, here nor there.

    Raises:
        LedgerUnfit: the variable is not set, or names no ledger.
    """
    from plugins._ledger_redis import RedisLedger

    url = ledger_url(where, environ)
    epochs = Epochs(epochs_path(state_folder(environ), url), keep=False)
    return RedisLedger(url, epochs=epochs, timeout_s=timeout_s)


def sqlite_path(where: str | EnvRef, environ: Mapping[str, str]) -> Path | None:
    """Return the file of the ledger at *where*, None if it is not one of SQLite's."""
    return _path(ledger_url(where, environ), environ)


def budget_of(entry: BudgetEntry, name: str | None = None, *, since: int = 0) -> Budget:
    """Return the definition behind *entry*; *name* is whose it is where the entry says `key:*`."""
    nano_usd = None if entry.usd is None else int(entry.usd * 1_000_000_000)
    return Budget(name or entry.name, entry.period, nano_usd, entry.tokens, since=since)


def quota(
    name: str, *, requests: int | None = None, tokens: int | None = None, since: int = 0
) -> Budget:
    """Return the definition of a quota per minute."""
    period: Period = "minute"
    return Budget(name, period, None, tokens, requests, since)


def run_apart(work: Coroutine[Any, Any, None]) -> None:
    """Run *work* in a thread with an event loop of its own, and wait for it.

    For checks at start, which LiteLLM makes in its running event loop; *work* must close what it
    opens. Raises what it raises.
    """
    failed: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(work)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, name="ledger-check")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]


def ledger_url(where: str | EnvRef, environ: Mapping[str, str]) -> str:
    """Return what the config names, looked up where it is a variable. Raises `LedgerUnfit`."""
    if isinstance(where, str):
        return where
    url = environ.get(where.name, "").strip()
    if not url:
        raise LedgerUnfit(f"{where.name} is not set: it names the ledger")
    if not re.fullmatch(r"sqlite(:///[^\s?#]*[^\s?#/])?|rediss?://[^\s/]\S*", url):
        raise LedgerUnfit(f"{where.name} is not a ledger: sqlite, sqlite:///path or redis://…")
    return url


def _path(url: str, environ: Mapping[str, str]) -> Path | None:
    if url == "sqlite":
        return state_folder(environ) / "ledger.db"
    if url.startswith("sqlite://"):
        return Path(url.removeprefix("sqlite://"))
    return None
