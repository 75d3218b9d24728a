"""The ledger in memory: the stores' own arithmetic, on the time that it is given."""

from __future__ import annotations

from collections.abc import Sequence

from plugins._ledger import Amount, Budget, Refusal, Row
from plugins._ledger_book import Counter, refusals
from plugins._ledger_time import period_end, period_start

__all__ = ["Books"]


class Books:
    """Counters of every budget that was touched; times are seconds since 1970."""

    def __init__(self) -> None:
        self._counters: dict[str, Counter] = {}
        self._ends: dict[str, float] = {}

    def refused(self, budgets: Sequence[Budget], amount: Amount, at: float) -> list[Refusal]:
        """Return every reason why *amount* cannot be held on all *budgets*."""
        return refusals([self._counter(one, at) for one in budgets], amount)

    def hold(self, budgets: Sequence[Budget], amount: Amount, at: float) -> list[Counter]:
        """Hold *amount* on all *budgets*, which have room, and return what to close it with."""
        counters = [self._counter(one, at) for one in budgets]
        for counter in counters:
            counter.hold(amount)
        return counters

    def close(self, held: Sequence[Counter], amount: Amount, actual: Amount) -> None:
        """Give *amount* back and book *actual* on the rows that it was held on."""
        for counter in held:
            counter.hold(-amount)
            counter.spend(actual)

    def _counter(self, budget: Budget, at: float) -> Counter:
        counter = self._counters.get(budget.name)
        if counter is None or at >= self._ends[budget.name]:
            start = period_start(budget.period, int(at))
            zero = (0, 0, 0)
            counter = Counter(Row(budget.name, budget.period, start), budget, 0, zero, zero, zero)
            end = period_end(budget.period, start)
            self._counters[budget.name] = counter
            self._ends[budget.name] = float("inf") if end is None else float(end)
        return counter
