"""What is left of budgets, read beside a running proxy: nothing is made, defined or expired."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plugins._ledger import Budget, Room
    from plugins._pool import Candidate
    from router_config import Config

__all__ = ["left_of", "no_room", "read_rooms"]

_REDIS_S = 0.5  # what is left is good to know, and no reason to wait


def read_rooms(config: Config) -> tuple[Mapping[str, Room] | None, str]:
    """Return the budgets that the ledger knows, by name, or None and why it was not read."""
    from plugins._ledger import LedgerUnavailable
    from plugins._ledger_open import sqlite_path

    try:
        path = sqlite_path(config.ledger, os.environ)
        if path is None:
            return asyncio.run(_read_redis(config)), ""
        if not path.exists():
            return {}, ""
        import sqlite3

        from plugins._ledger_file import reader
        from plugins._ledger_time import micros
        from plugins._ledger_upkeep import rooms

        with contextlib.closing(reader(path)) as db:
            try:
                found = rooms(db, None, micros(time.time()))
            except (sqlite3.Error, TypeError) as error:  # another file, or one being made
                return None, f"{path} is not a ledger that can be read ({type(error).__name__})"
        return {one.budget.name: one for one in found}, ""
    except LedgerUnavailable as error:
        return None, error.reason


async def _read_redis(config: Config) -> Mapping[str, Room]:
    from plugins._ledger_open import watch_redis

    ledger = watch_redis(config.ledger, os.environ, _REDIS_S)
    try:
        return {one.budget.name: one for one in await ledger.rooms()}
    finally:
        await ledger.close()


def left_of(budget: Budget, rooms: Mapping[str, Room] | None) -> str:
    """Return what may still be held of *budget*, such as `$0.75` or `1,000 tokens`."""
    from router_config.cli.money import amount

    if rooms is None:
        return "unknown"
    return " and ".join(amount(unit, left) for unit, left in _left(budget, rooms)) or "no limit"


def no_room(
    candidate: Candidate,
    inputs: int,
    tokens: int,
    besides: Sequence[Budget],
    rooms: Mapping[str, Room] | None,
) -> str | None:
    """Return which budget has no room for a call to *candidate*, in the words of the proxy."""
    from plugins._money import worst_case

    if rooms is None:
        return None
    need = worst_case(candidate, inputs, tokens)
    for budget in (*candidate.budgets, *besides):
        if any(getattr(need, unit) > left for unit, left in _left(budget, rooms)):
            return f"budget {budget.name} has no room"
    return None


def _left(budget: Budget, rooms: Mapping[str, Room]) -> list[tuple[str, int]]:
    """Return units and what is left; the limits are the file's, as it may be newer."""
    from plugins._ledger import UNITS

    room = rooms.get(budget.name)
    found: list[tuple[str, int]] = []
    for unit in UNITS:
        limit = budget.limit(unit)
        if limit is not None:
            used = 0 if room is None else getattr(room.spent + room.held, unit)
            found.append((unit, max(0, limit - used)))
    return found
