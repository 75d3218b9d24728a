"""The keys of the file: found by hash, refused after their day.

A key is never stored or compared in clear; its hash is looked up, which tells an attacker nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, time

from router_config import Key

__all__ = ["Keyring"]


class Keyring:
    """The keys of one process."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._by_hash = {digest.lower(): key for key in keys for digest in key.sha256}

    def find(self, digest: str, now: datetime) -> Key | None:
        """Return the key with that SHA-256 (hex), unless its `not_after` has passed."""
        key = self._by_hash.get(digest)
        if key is None or (key.not_after is not None and now > _end(key.not_after)):
            return None
        return key


def _end(not_after: date | datetime) -> datetime:
    """Return the last moment of validity: a plain date includes that whole day (UTC)."""
    if isinstance(not_after, datetime):
        return not_after if not_after.tzinfo else not_after.replace(tzinfo=UTC)
    return datetime.combine(not_after, time.max, tzinfo=UTC)
