"""This process's part in what is said of an endpoint: its words, and others' by its clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from plugins._said import Said
from plugins._standing import Standing

__all__ = ["Voice"]


class Voice:
    """What all *said* of one endpoint; *ahead_s* is how far the store's clock is ahead of ours.

    *has_news* is set when something was said here that the others have to be told.
    """

    def __init__(self, ahead_s: Callable[[], float]) -> None:
        self.said = Said()
        self.has_news = False
        self._ahead_s = ahead_s
        self._over = 0  # the stamp of the last word that time has ended here

    def say(self, word: Standing, now: float) -> None:
        """Add *word*, with a stamp above all that is known; times are by our clock."""
        ahead_s = self._ahead_s()
        stamp = max(int((now + ahead_s) * 1e6), self.said.stamp + 1)
        self.said = self.said.join(Said.of(replace(word.shifted(ahead_s), stamp=stamp)))
        self.has_news = True

    def hear(self, said: Said) -> bool:
        """Join what another process knows; True if that is news here."""
        before, self.said = self.said, self.said.join(said)
        return self.said is not before

    def end(self, word: Standing) -> None:
        """Note that the time of *word* is over here, whatever a clock will say later."""
        self._over = max(self._over, word.stamp)

    def standing(self, now: float, slow_start_s: float) -> Standing | None:
        """Return what follows from all that is said, by our clock."""
        ahead_s = self._ahead_s()
        found = self.said.standing(now + ahead_s, slow_start_s, self._over)
        return None if found is None else found.shifted(-ahead_s)
