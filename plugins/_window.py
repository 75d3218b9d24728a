"""How many calls of the last seconds were good and bad, in a few numbers."""

from __future__ import annotations

from collections import deque

__all__ = ["Window"]


class Window:
    """Counts per second over the last *length_s* seconds; a clock that goes back empties it."""

    __slots__ = ("_length_s", "_seconds")

    def __init__(self, length_s: float) -> None:
        self._length_s = length_s
        self._seconds: deque[list[int]] = deque()  # [second, good, bad]

    def add(self, now: float, *, good: bool) -> None:
        """Count a call that ended at *now*."""
        second, seconds = int(now), self._seconds
        while seconds and not now - self._length_s < seconds[0][0] <= second:
            seconds.popleft()
        if not seconds or seconds[-1][0] != second:
            seconds.append([second, 0, 0])
        seconds[-1][1 if good else 2] += 1

    def counts(self) -> tuple[int, int]:
        """Return how many were good and how many bad, as of the last call."""
        return sum(one[1] for one in self._seconds), sum(one[2] for one in self._seconds)

    def clear(self) -> None:
        """Forget them."""
        self._seconds.clear()
