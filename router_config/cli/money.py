"""What the money commands share: the ledger of a config, and amounts as people write them."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plugins._ledger import Ledger
    from router_config import Config

__all__ = ["amount", "table", "usd", "with_ledger"]


def with_ledger(
    config: Config, command: str, use: Callable[[Ledger | None], Awaitable[int]]
) -> int:
    """Run *use* with the ledger that *config* names, or with None if it was never used.

    Returns what *use* returns, or 1 with the reason on stderr if the ledger cannot be used.
    """
    from plugins._ledger import LedgerUnavailable
    from plugins._ledger_open import open_ledger, sqlite_path

    async def run() -> int:
        path = sqlite_path(config.ledger, os.environ)
        # A ledger that is gone still has its lock; opening it says so.
        if path is not None and not (path.exists() or path.with_name(path.name + ".lock").exists()):
            return await use(None)
        ledger = open_ledger(config.ledger, os.environ, apart=False)
        try:
            return await use(ledger)
        finally:
            await ledger.close()

    try:
        return asyncio.run(run())
    except LedgerUnavailable as error:
        print(f"{command}: {error.reason}", file=sys.stderr)
        return 1


def usd(nano_usd: int) -> str:
    """Return dollars with two digits after the point, or as many as it takes, up to nine."""
    text = f"{Decimal(nano_usd).scaleb(-9):,.9f}".rstrip("0")
    whole, _, rest = text.partition(".")
    sign, whole = ("-", whole[1:]) if whole.startswith("-") else ("", whole)
    return f"{sign}${whole}.{rest.ljust(2, '0')}"


def amount(unit: str, number: int | None) -> str:
    """Return *number* of *unit* as text; None is no limit."""
    if number is None:
        return "no limit"
    if unit == "nano_usd":
        return usd(number)
    return f"{number:,} {unit}"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return *rows*, the first of which is the head, in columns."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
