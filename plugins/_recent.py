"""How an endpoint's last calls went: how many succeeded, and how long those took."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Recent", "Stats"]

_KEPT = 256
# A call that was given less than its own time says something only if a good one had ended by then.
_FULL = 0.9
_CUT_S = 0.5


@dataclass(frozen=True, slots=True)
class Stats:
    """The last calls of one endpoint, at most 256; times are of those that succeeded.

    *last_at* is when the last one ended, in seconds since 1970; None where nothing is known.
    """

    calls: int
    success_rate: float | None
    p50_s: float | None
    p95_s: float | None
    last_at: float | None


class Recent:
    """The last calls of one endpoint, in bounded memory."""

    __slots__ = ("_good", "_good_s", "_last_at", "_oks")

    def __init__(self) -> None:
        self._oks: deque[bool] = deque(maxlen=_KEPT)
        self._good = 0
        self._good_s: deque[float] = deque(maxlen=_KEPT)
        self._last_at: float | None = None

    def note(self, *, ok: bool, seconds: float, now: float) -> None:
        """Add a call that ended at *now*."""
        if len(self._oks) == _KEPT:
            self._good -= self._oks[0]
        self._oks.append(ok)
        self._good += ok
        self._last_at = now
        if ok:
            self._good_s.append(seconds)

    def p95_s(self) -> float | None:
        """Return how long all but the slowest twentieth took, or None."""
        return _quantile(sorted(self._good_s), 0.95)

    def is_too_long(self, seconds: float, full_s: float) -> bool:
        """Tell whether a call that had no answer after *seconds* of *full_s* should have had it."""
        if seconds >= _FULL * full_s:
            return True
        usual_s = self.p95_s()
        return seconds >= (_CUT_S if usual_s is None else 2 * usual_s)

    def stats(self) -> Stats:
        """Return what is known."""
        sorted_s = sorted(self._good_s)
        return Stats(
            calls=len(self._oks),
            success_rate=self._good / len(self._oks) if self._oks else None,
            p50_s=_quantile(sorted_s, 0.5),
            p95_s=_quantile(sorted_s, 0.95),
            last_at=self._last_at,
        )


def _quantile(sorted_s: Sequence[float], q: float) -> float | None:
    return sorted_s[math.ceil(q * len(sorted_s)) - 1] if sorted_s else None
