"""Texts that are being asked for right now: one request leads, the others follow it.

A text has one leader, the request that sends it; whoever comes with the same text meanwhile waits
and is handed the vector. A leader that fails, or whose client leaves, hands nothing: then its
followers know, and one of them asks.

A request follows only after all that it leads itself has landed or is given up, so none that is
waited for waits, and texts in any order lock nobody up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Iterable

import numpy as np
import numpy.typing as npt

__all__ = ["Flights", "Follower"]

Row = npt.NDArray[np.float32]


class Follower:
    """One request that waits; *take* is handed each vector, with the deployment that gave it."""

    def __init__(self, take: Callable[[Hashable, Row, str], None]) -> None:
        self._take = take
        self._settled = asyncio.Event()
        self.waiting: set[Hashable] = set()
        self.left: set[Hashable] = set()
        self.failed: set[Hashable] = set()

    @property
    def lost(self) -> set[Hashable]:
        """Return what will not come."""
        return self.left | self.failed

    async def settled(self) -> None:
        """Wait until everything has come, or something will not come."""
        while self.waiting and not self.lost:
            self._settled.clear()
            await self._settled.wait()

    def _landed(self, text: Hashable, row: Row, deployment: str) -> None:
        self.waiting.discard(text)
        self._take(text, row, deployment)
        if not self.waiting:
            self._settled.set()

    def _given_up(self, text: Hashable, failed: bool) -> None:
        self.waiting.discard(text)
        (self.failed if failed else self.left).add(text)
        self._settled.set()


class Flights:
    """The table of one process; belongs to one event loop."""

    def __init__(self) -> None:
        self._open: dict[Hashable, list[Follower]] = {}

    def lead(self, text: Hashable) -> bool:
        """Become the leader of *text*; False if it has one."""
        if text in self._open:
            return False
        self._open[text] = []
        return True

    def follow(self, text: Hashable, follower: Follower) -> None:
        """Have *follower* wait for *text*, which has a leader."""
        self._open[text].append(follower)
        follower.waiting.add(text)

    def land(self, text: Hashable, row: Row, deployment: str) -> None:
        """Hand the vector of *text* to all who follow; only its leader may."""
        for follower in self._open.pop(text):
            follower._landed(text, row, deployment)

    def give_up(self, texts: Iterable[Hashable], *, failed: bool) -> None:
        """End *texts* without vectors; *failed* if asking again may well fail too."""
        for text in texts:
            for follower in self._open.pop(text):
                follower._given_up(text, failed)

    def leave(self, follower: Follower) -> None:
        """Stop waiting."""
        for text in follower.waiting:
            self._open[text].remove(follower)
        follower.waiting.clear()

    def __len__(self) -> int:
        return len(self._open)
