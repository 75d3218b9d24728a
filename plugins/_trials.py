"""Single requests that try a sick endpoint: when one may, and when asking again may help."""

from __future__ import annotations

from plugins._errors import Fault
from plugins._health_rules import Rules
from plugins._standing import Standing

__all__ = ["EVERY_S", "Trials"]

EVERY_S = 1.0
_LEAST_S = 2.0


class Trials:
    """The times of one endpoint's trials; *slow* tells of one that still serves some."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self._next = 0.0
        self._next_lasting = 0.0
        self._before = 0.0  # what the last trial has put off

    def allows(self, standing: Standing, now: float, *, last: bool, slow: bool) -> bool:
        """Tell whether one may try it: its time is over, or nobody else is left (*last*)."""
        if standing.is_closed or now < self._next:
            return False
        if standing.until is None:
            return last or now >= self._next_lasting
        if now >= standing.until:
            return True
        # Whoever would wait for a silent server to no avail is better told at once.
        return last and (slow or standing.reason != Fault.TIMEOUT)

    def take(self, standing: Standing | None, now: float, limit_s: float) -> None:
        """Note that one tries it now, for at most *limit_s*."""
        pace = EVERY_S
        if standing is not None and standing.until is None:
            pace = self.rules.base_s
            self._before = self._next_lasting
            self._next_lasting = now + self.rules.lasting_retry_s
        elif standing is not None and standing.reason == Fault.TIMEOUT:
            pace = max(pace, limit_s)
        self._next = now + pace

    def undo(self, standing: Standing | None, now: float, *, made: bool) -> None:
        """Give the last trial back: it was not *made*, or nothing came of it for the endpoint."""
        if standing is not None and standing.until is None:
            self._next_lasting = self._before
        if not made:
            self._next = now

    def ejected(self, now: float) -> None:
        """Begin anew: those that picked it just before are not the ones to try it."""
        self._next = now + EVERY_S
        self._next_lasting = now + self.rules.lasting_retry_s

    def open(self, now: float, *, at_once: bool = False) -> None:
        """Let one try what needs mending; *at_once* after a good trial, which needs a second."""
        self._next_lasting = now
        if at_once:
            self._next = now

    def limit_s(self, usual_s: float | None, strikes: int) -> float:
        """Return how long one may take; *usual_s* is what its calls take when it is well.

        It grows with each ejection, so that a server that is only slow can pass at last.
        """
        return max(_LEAST_S, 2 * (usual_s or 0.0)) * 2.0 ** min(max(0, strikes - 1), 6)

    def wait_s(self, standing: Standing, now: float, *, slow: bool) -> float:
        """Return in how many seconds asking again may help, as far as is known."""
        next_s = max(0.0, self._next - now)
        if standing.until is None:
            return self.rules.base_s if standing.is_closed else next_s
        left_s = max(0.0, standing.until - now)
        if standing.is_closed or standing.kind == "resting":
            return left_s
        return max(left_s, next_s) if standing.reason == Fault.TIMEOUT and not slow else next_s

    def forget(self) -> None:
        """Let one try at any time."""
        self._next = 0.0

    def shift(self, by_s: float) -> None:
        """Follow a clock that was set back."""
        self._next += by_s
        self._next_lasting += by_s
        self._before += by_s
