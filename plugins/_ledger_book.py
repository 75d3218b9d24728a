"""The ledger's arithmetic: one counter, what fits in it, what changes it, when a limit is reached.

Pure: a store loads counters inside its transaction, lets them change here, and writes them back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from plugins._ledger import UNITS, Amount, Budget, Crossing, Refusal, Row, Unit
from plugins._ledger_time import period_end

__all__ = ["LEVELS", "Counter", "level", "refusals"]

LEVELS = (50, 80, 100)  # percent of a limit; reaching one is reported once
# A quota would be reported every minute of a busy day.
_SILENT = "minute"


def level(spent: int, limit: int | None) -> int:
    """Return the highest of `LEVELS` that *spent* has reached, or 0."""
    if limit is None or spent <= 0 or spent * 100 < limit * LEVELS[0]:
        return 0
    return max(one for one in LEVELS if spent * 100 >= limit * one)


class Counter:
    """What was spent and is held in one row; *told* are the levels that were reported.

    All three are lists in the order of `UNITS`. *limits* rule the row: those of its budget, or none
    for a row of a period that the budget no longer has.
    """

    __slots__ = ("changed", "held", "id", "limits", "row", "spent", "told")

    def __init__(
        self,
        row: Row,
        budget: Budget | None,
        id_: int,
        spent: Sequence[int],
        held: Sequence[int],
        told: Sequence[int],
    ) -> None:
        self.row = row
        self.limits = _limits(budget)
        self.id = id_
        self.spent = list(spent)
        self.held = list(held)
        self.told = list(told)
        self.changed = False

    @property
    def resets_at(self) -> int | None:
        """Return when the row's period ends, None for `lifetime`."""
        return period_end(self.row.period, self.row.start)

    def hold(self, amount: Amount) -> None:
        """Add *amount*, which may be negative, to what is held."""
        _add(self.held, amount)
        self.changed = True

    def spend(self, amount: Amount) -> list[Crossing]:
        """Add *amount*, which may be negative, to what is spent; return the levels reached."""
        _add(self.spent, amount)
        self.changed = True
        return self._crossings() if self.row.period != _SILENT else []

    def limit(self, budget: Budget) -> None:
        """Follow new limits; what they put ahead again, as after a top-up, is reported again."""
        self.limits = _limits(budget)
        for i, limit in enumerate(self.limits):
            reached = level(self.spent[i], limit)
            if self.told[i] > reached:
                self.told[i] = reached
                self.changed = True

    def refusals(self, amount: Amount) -> Iterator[Refusal]:
        """Yield each unit in which *amount* cannot be held."""
        for i, limit in enumerate(self.limits):
            if limit is not None:
                left = limit - self.spent[i] - self.held[i]
                if getattr(amount, UNITS[i]) > left:
                    yield Refusal(self.row.budget, UNITS[i], self.resets_at, max(0, left))

    def refused(self, unit: Unit, amount: Amount) -> list[Crossing]:
        """Report the limit of *unit* as reached, because *amount* did not fit any more.

        What is spent seldom meets a limit exactly. But one call larger than all that was spent
        before, or before half is spent, tells more of the call than of the budget.
        """
        i = UNITS.index(unit)
        limit = self.limits[i]
        if (
            limit is None
            or self.row.period == _SILENT
            or not LEVELS[0] <= self.told[i] < LEVELS[-1]
            or getattr(amount, unit) > self.spent[i]
        ):
            return []
        self.told[i] = LEVELS[-1]
        self.changed = True
        return [Crossing(self.row.budget, unit, LEVELS[-1], self.spent[i], limit, self.resets_at)]

    def _crossings(self) -> list[Crossing]:
        found: list[Crossing] = []
        for i, limit in enumerate(self.limits):
            if limit is None or (reached := level(self.spent[i], limit)) <= self.told[i]:
                continue
            found += [
                Crossing(self.row.budget, UNITS[i], one, self.spent[i], limit, self.resets_at)
                for one in LEVELS
                if self.told[i] < one <= reached
            ]
            self.told[i] = reached
        return found


def refusals(counters: Iterable[Counter], amount: Amount) -> list[Refusal]:
    """Return every reason why *amount* cannot be held on all *counters*; none means it fits."""
    return [one for counter in counters for one in counter.refusals(amount)]


def _limits(budget: Budget | None) -> tuple[int | None, ...]:
    if budget is None:
        return (None, None, None)
    return (budget.nano_usd, budget.tokens, budget.requests)


def _add(units: list[int], amount: Amount) -> None:
    units[0] += amount.nano_usd
    units[1] += amount.tokens
    units[2] += amount.requests
