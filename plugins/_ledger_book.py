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
    if limit is None or spent <= 0:
        return 0
    return max((one for one in LEVELS if spent * 100 >= limit * one), default=0)


class Counter:
    """What was spent and is held in one row; *told* are the levels that were reported.

    All three are lists in the order of `UNITS`. *budget* is the definition that rules the row, or
    None for a row of a period that the budget no longer has.
    """

    __slots__ = ("budget", "changed", "held", "id", "row", "spent", "told")

    def __init__(
        self,
        row: Row,
        budget: Budget | None,
        id_: int,
        spent: Sequence[int] = (0, 0, 0),
        held: Sequence[int] = (0, 0, 0),
        told: Sequence[int] = (0, 0, 0),
    ) -> None:
        self.row = row
        self.budget = budget
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
        self.held[0] += amount.nano_usd
        self.held[1] += amount.tokens
        self.held[2] += amount.requests
        self.changed = True

    def spend(self, amount: Amount) -> list[Crossing]:
        """Add *amount*, which may be negative, to what is spent; return the levels reached."""
        self.spent[0] += amount.nano_usd
        self.spent[1] += amount.tokens
        self.spent[2] += amount.requests
        self.changed = True
        return self._crossings()

    def limit_changed(self) -> None:
        """Forget reports that the new limits put ahead again, as after a top-up."""
        for i, (_, limit) in enumerate(self._limits()):
            reached = level(self.spent[i], limit)
            if self.told[i] > reached:
                self.told[i] = reached
                self.changed = True

    def refusals(self, amount: Amount) -> Iterator[Refusal]:
        """Yield each unit in which *amount* cannot be held."""
        for i, (unit, limit) in enumerate(self._limits()):
            if limit is None:
                continue
            left = limit - self.spent[i] - self.held[i]
            if getattr(amount, unit) > left:
                yield Refusal(self.row.budget, unit, self.resets_at, max(0, left))

    def _limits(self) -> Iterator[tuple[Unit, int | None]]:
        for unit in UNITS:
            yield unit, self.budget.limit(unit) if self.budget is not None else None

    def _crossings(self) -> list[Crossing]:
        if self.budget is None or self.row.period == _SILENT:
            return []
        found: list[Crossing] = []
        for i, (unit, limit) in enumerate(self._limits()):
            reached = level(self.spent[i], limit)
            if limit is None or reached <= self.told[i]:
                continue
            found += [
                Crossing(self.row.budget, unit, one, self.spent[i], limit, self.resets_at)
                for one in LEVELS
                if self.told[i] < one <= reached
            ]
            self.told[i] = reached
        return found


def refusals(counters: Iterable[Counter], amount: Amount) -> list[Refusal]:
    """Return every reason why *amount* cannot be held on all *counters*; none means it fits."""
    return [one for counter in counters for one in counter.refusals(amount)]
