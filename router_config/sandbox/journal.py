"""The journal: every request that reached a provider, what it asked, cost and got.

It is the truth about money in tests: a request is billed when the emulator decides so, after
reading it whole and before answering, even if the answer is lost on the way. Texts are kept as
hashes only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

__all__ = ["Entry", "Journal", "small"]

_SMALL_BYTES = 200


@dataclass(slots=True)
class Entry:
    """One request. *status* is None where no answer was ever begun, *answered* tells whether the
    kernel took all of it; *key* is "valid", "wrong", "missing" or, where nobody asks, "unchecked".
    *account* is the suffix of the key, if it has one.
    """

    number: int
    time: float
    provider: str
    method: str = ""
    path: str = ""
    inputs: int | None = None
    sha256: Sequence[str] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)
    tokens: int = 0
    status: int | None = None
    fault: str | None = None
    billed_tokens: int = 0
    billed_nano_usd: int = 0
    answered: bool = False
    authorization: bool = False
    key: str = "unchecked"
    account: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return all members as JSON can hold them."""
        return {name: getattr(self, name) for name in self.__slots__}


class Journal:
    """The requests to one provider. The oldest are dropped past *limit*; the totals stay."""

    def __init__(self, provider: str, limit: int = 100_000) -> None:
        self._provider = provider
        self._entries: deque[Entry] = deque(maxlen=limit)
        self.calls = 0
        self.billed_tokens = 0
        self.billed_nano_usd = 0

    def open(self, time: float) -> Entry:
        """Begin the entry of a request that has just arrived."""
        self.calls += 1
        entry = Entry(self.calls, time, self._provider)
        self._entries.append(entry)
        return entry

    def bill(self, entry: Entry, tokens: int, nano_usd: int) -> None:
        """Charge the request of *entry*."""
        entry.billed_tokens = tokens
        entry.billed_nano_usd = nano_usd
        self.billed_tokens += tokens
        self.billed_nano_usd += nano_usd

    def entries(self, after: int = 0) -> list[dict[str, Any]]:
        """Return the entries numbered above *after*, oldest first."""
        return [entry.as_dict() for entry in self._entries if entry.number > after]

    def totals(self) -> dict[str, int]:
        """Return calls and bills since the last reset, dropped entries included."""
        return {
            "calls": self.calls,
            "billed_tokens": self.billed_tokens,
            "billed_nano_usd": self.billed_nano_usd,
            "dropped": self.calls - len(self._entries),
        }

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self.calls = self.billed_tokens = self.billed_nano_usd = 0


def small(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a request body without its texts; what is large by its type only."""
    fields: dict[str, Any] = {}
    for name, value in body.items():
        if name in ("input", "inputs", "prompt", "content"):
            continue
        large = len(orjson.dumps(value)) > _SMALL_BYTES
        fields[name] = f"({type(value).__name__})" if large else value
    return fields
