"""The keys of the file: found by hash, refused after their day, held to their requests a minute.

A key is never stored or compared in clear; its hash is looked up, which tells an attacker nothing.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from datetime import UTC, date, datetime, time

from router_config import Key

__all__ = ["Keyring"]

_WINDOW_S = 60.0


class Keyring:
    """The keys of one process; times are UTC, the clock of `take` is monotonic seconds.

    The requests a minute are counted in this process: n workers admit n times as many.
    """

    def __init__(self, keys: Iterable[Key]) -> None:
        self._by_hash = {digest.lower(): key for key in keys for digest in key.sha256}
        self._taken: dict[str, deque[float]] = {}

    def find(self, digest: str, now: datetime) -> Key | None:
        """Return the key with that SHA-256 (hex), unless its `not_after` has passed."""
        key = self._by_hash.get(digest)
        if key is None or (key.not_after is not None and now > _end(key.not_after)):
            return None
        return key

    def take(self, key: Key, now: float) -> int:
        """Count one request of *key*; return 0, or the seconds to wait if it is one too many."""
        if key.rpm is None:
            return 0
        taken = self._taken.setdefault(key.alias, deque())
        while taken and taken[0] <= now - _WINDOW_S:
            taken.popleft()
        if len(taken) >= key.rpm:
            return max(1, math.ceil(taken[0] + _WINDOW_S - now))
        taken.append(now)
        return 0


def _end(not_after: date | datetime) -> datetime:
    """Return the last moment of validity: a plain date includes that whole day (UTC)."""
    if isinstance(not_after, datetime):
        return not_after if not_after.tzinfo else not_after.replace(tzinfo=UTC)
    return datetime.combine(not_after, time.max, tzinfo=UTC)
