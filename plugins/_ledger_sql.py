"""One write transaction of the SQLite ledger: counters come in, are changed, and go back out.

Decisions are `_ledger_book`'s; here stands what they read and write. A step that is refused has
held and spent nothing, so that many steps of many requests can share one transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain

from plugins._ledger import (
    MOST,
    Amount,
    Budget,
    BudgetExhausted,
    Crossing,
    PostingKind,
    Reservation,
    Row,
    UnknownBudget,
)
from plugins._ledger_book import Counter, refusals
from plugins._ledger_time import StoreTime, period_start

__all__ = ["Books", "Memory", "current_row", "load_budgets"]

_OPEN, _SETTLED, _RELEASED, _EXPIRED = range(4)
_EXPIRE_AT_ONCE = 500  # a step never pays for more than these
_REMEMBERED = 10_000  # ids of counters

_COUNTER = """
SELECT budget, period, start, spent_nano_usd, spent_tokens, spent_requests,
    held_nano_usd, held_tokens, held_requests, told_nano_usd, told_tokens, told_requests
FROM counters WHERE id = ?"""
_ADD_COUNTER = """
INSERT INTO counters (budget, period, start, spent_nano_usd, spent_tokens, spent_requests,
    held_nano_usd, held_tokens, held_requests, told_nano_usd, told_tokens, told_requests)
VALUES (?, ?, ?, 0, 0, 0, 0, 0, 0, 0, 0, 0)"""
_PUT_COUNTER = """
UPDATE counters SET spent_nano_usd = ?, spent_tokens = ?, spent_requests = ?,
    held_nano_usd = ?, held_tokens = ?, held_requests = ?,
    told_nano_usd = ?, told_tokens = ?, told_requests = ?
WHERE id = ?"""
_POST = """
INSERT INTO postings (at_us, counter, kind, nano_usd, tokens, requests, reservation, reason, who)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""


@dataclass(slots=True)
class Memory:
    """What a connection remembers between transactions; dropped when *generation* moves on."""

    generation: int = 0
    budgets: dict[str, Budget] = field(default_factory=dict)
    ids: dict[Row, int] = field(default_factory=dict)

    def forget(self) -> None:
        """Read everything anew in the next transaction."""
        self.generation = 0


class Books:
    """The store inside one transaction, which the caller began and will commit or roll back.

    *step* is told before each change of another kind, so that tests can end the process there.
    """

    def __init__(
        self, db: sqlite3.Connection, memory: Memory, wall_us: int, step: Callable[[str], None]
    ) -> None:
        self._db = db
        self._memory = memory
        self._step = step
        self._counters: dict[int, Counter] = {}
        generation, wall, calendar, lease, self._next_expiry_us = db.execute(
            "SELECT generation, wall_us, calendar_us, lease_us, next_expiry_us FROM state"
        ).fetchone()
        self.found_lease_us = int(lease)
        self.time = StoreTime(wall, calendar, lease).at(wall_us)
        if generation != memory.generation:
            memory.budgets = load_budgets(db)
            memory.ids = {}
            memory.generation = generation

    def define(self, budgets: Iterable[Budget]) -> tuple[Budget, ...]:
        """Set the definitions that differ from what is there; return those that are newer."""
        newer: list[Budget] = []
        for one in budgets:
            known = self._memory.budgets.get(one.name)
            if known is not None and known.since > one.since:
                newer += [known] if known != one else []
                continue
            if known == one and known.since == one.since:
                continue
            self._db.execute(
                "INSERT OR REPLACE INTO budgets VALUES (?, ?, ?, ?, ?, ?)",
                (one.name, one.period, one.nano_usd, one.tokens, one.requests, one.since),
            )
            self._memory.budgets[one.name] = one
            row = current_row(one, self.time)
            if self._id(row) is not None:
                self._counter(row).limit(one)
            self.moved_on()
        return tuple(newer)

    def reserve(
        self, id_: str, names: Sequence[str], amount: Amount, ttl_us: int, note: str
    ) -> Reservation:
        """Hold *amount* on all budgets in *names*. Raises `BudgetExhausted`, `UnknownBudget`."""
        rows = tuple(self._current(name) for name in dict.fromkeys(names))
        crossings = self.sweep()
        counters = [self._counter(row) for row in rows]
        refused = refusals(counters, amount)
        if refused:
            by_name = {counter.row.budget: counter for counter in counters}
            full = [by_name[one.budget].refused(one.unit, amount) for one in refused]
            raise BudgetExhausted(refused, (*crossings, *chain.from_iterable(full)))
        expires_us = self.time.lease_us + ttl_us
        self._step("reserving")
        self._db.execute(
            "INSERT INTO reservations VALUES (?, ?, ?, ?, ?, ?, ?, NULL, ?)",
            (id_, _ids(counters), *_units(amount), expires_us, _OPEN, note),
        )
        self._step("reserved")
        for counter in counters:
            counter.hold(amount)
        if self._next_expiry_us is None or expires_us < self._next_expiry_us:
            self._next_expiry_us = expires_us
        return Reservation(id_, rows, amount, expires_us / 1_000_000, crossings)

    def settle(self, held: Reservation, actual: Amount) -> tuple[Crossing, ...]:
        """Book *actual*; see `Ledger.settle`."""
        before = self._end(held, _SETTLED)
        if before is None:  # lost with the store's data: still spent
            counters = [self._counter(row) for row in held.rows]
            self._db.execute(
                "INSERT INTO reservations VALUES (?, ?, ?, ?, ?, ?, ?, ?, '')",
                (held.id, _ids(counters), *_units(actual), 0, _SETTLED, self.time.calendar_us),
            )
            return self._post(held.rows, "settlement", actual, held.id)
        if before == _OPEN:
            self._unhold(held)
            return self._post(held.rows, "settlement", actual, held.id)
        if before == _EXPIRED:
            return self._post(held.rows, "correction", actual - held.amount, held.id)
        return ()

    def release(self, held: Reservation) -> None:
        """Give the hold back; after expiry, what it was counted as."""
        before = self._end(held, _RELEASED)
        if before == _OPEN:
            self._unhold(held)
        elif before == _EXPIRED:
            self._post(held.rows, "correction", -held.amount, held.id)

    def sweep(self) -> tuple[Crossing, ...]:
        """Count overdue reservations as spent."""
        lease_us = self.time.lease_us
        if self._next_expiry_us is None or self._next_expiry_us > lease_us:
            return ()
        overdue = self._db.execute(
            "SELECT id, counters, nano_usd, tokens, requests FROM reservations "
            "WHERE state = 0 AND expires_us <= ? ORDER BY expires_us LIMIT ?",
            (lease_us, _EXPIRE_AT_ONCE),
        ).fetchall()
        crossings: list[Crossing] = []
        for id_, ids, *units in overdue:
            self._step("expiring")
            self._db.execute(
                "UPDATE reservations SET state = ?, ended_us = ? WHERE id = ?",
                (_EXPIRED, self.time.calendar_us, id_),
            )
            amount = Amount(*units)
            for counter in [self._by_id(int(one)) for one in ids.split()]:
                counter.hold(-amount)
                crossings += self._book(counter, "expiry", amount, id_)
        (self._next_expiry_us,) = self._db.execute(
            "SELECT min(expires_us) FROM reservations WHERE state = 0"
        ).fetchone()
        return tuple(crossings)

    def adjust(self, name: str, amount: Amount, reason: str, who: str) -> tuple[Crossing, ...]:
        """Add *amount* to what is spent now. Raises `UnknownBudget`, `ValueError`."""
        row = self._current(name)
        crossings = self.sweep()
        spent = self._counter(row).spent
        if any(have + more < 0 for have, more in zip(spent, _units(amount), strict=True)):
            raise ValueError(f"less than nothing would be spent of {name} in this period")
        if any(have + more > MOST for have, more in zip(spent, _units(amount), strict=True)):
            raise ValueError(f"more than {MOST} would be spent of {name} in this period")
        return crossings + self._post((row,), "adjustment", amount, "", reason, who)

    def flush(self) -> None:
        """Write the clock and the changed counters back."""
        self._step("counting")
        for counter in self._counters.values():
            if counter.changed:
                units = (*counter.spent, *counter.held, *counter.told)
                self._db.execute(_PUT_COUNTER, (*units, counter.id))
                self._step("counted")
        self._db.execute(
            "UPDATE state SET wall_us = ?, calendar_us = ?, lease_us = ?, next_expiry_us = ?",
            (self.time.wall_us, self.time.calendar_us, self.time.lease_us, self._next_expiry_us),
        )

    def moved_on(self) -> None:
        """Tell every connection, this one included, to read definitions and ids anew."""
        self._db.execute("UPDATE state SET generation = generation + 1")
        self._memory.forget()

    def _end(self, held: Reservation, state: int) -> int | None:
        """End *held*, and return the state it was in, None if nobody knows it."""
        self._step("ending")
        end = "UPDATE reservations SET state = ?, ended_us = ? WHERE id = ? AND state = ?"
        for before in (_OPEN, _EXPIRED):
            if self._db.execute(end, (state, self.time.calendar_us, held.id, before)).rowcount:
                self._step("ended")
                return before
        found = self._db.execute(
            "SELECT state FROM reservations WHERE id = ?", (held.id,)
        ).fetchone()
        return None if found is None else int(found[0])

    def _unhold(self, held: Reservation) -> None:
        for row in held.rows:
            self._counter(row).hold(-held.amount)

    def _post(
        self,
        rows: Iterable[Row],
        kind: PostingKind,
        amount: Amount,
        reservation: str,
        reason: str = "",
        who: str = "",
    ) -> tuple[Crossing, ...]:
        crossings: list[Crossing] = []
        for row in rows:
            crossings += self._book(self._counter(row), kind, amount, reservation, reason, who)
        return tuple(crossings)

    def _book(
        self,
        counter: Counter,
        kind: PostingKind,
        amount: Amount,
        reservation: str,
        reason: str = "",
        who: str = "",
    ) -> list[Crossing]:
        """Write one posting and count it."""
        if amount == Amount():
            return []
        values = (self.time.calendar_us, counter.id, kind, *_units(amount))
        self._db.execute(_POST, (*values, reservation, reason, who))
        self._step("posted")
        return counter.spend(amount)

    def _current(self, name: str) -> Row:
        budget = self._memory.budgets.get(name)
        if budget is None:
            raise UnknownBudget(f"budget {name} was not defined")
        return current_row(budget, self.time)

    def _budget_of(self, row: Row) -> Budget | None:
        budget = self._memory.budgets.get(row.budget)
        return budget if budget is not None and budget.period == row.period else None

    def _id(self, row: Row) -> int | None:
        found = self._db.execute(
            "SELECT id FROM counters WHERE budget = ? AND period = ? AND start = ?", row
        ).fetchone()
        return None if found is None else int(found[0])

    def _counter(self, row: Row) -> Counter:
        """Return the counter of *row*, made if it is the first of its period."""
        ids = self._memory.ids
        if row not in ids:
            if len(ids) >= _REMEMBERED:
                ids.clear()
            found = self._id(row)
            ids[row] = found or int(self._db.execute(_ADD_COUNTER, row).lastrowid or 0)
        return self._by_id(ids[row])

    def _by_id(self, id_: int) -> Counter:
        if id_ not in self._counters:
            budget, period, start, *units = self._db.execute(_COUNTER, (id_,)).fetchone()
            row = Row(budget, period, start)
            self._counters[id_] = Counter(
                row, self._budget_of(row), id_, units[:3], units[3:6], units[6:]
            )
        return self._counters[id_]


def current_row(budget: Budget, now: StoreTime) -> Row:
    """Return the row in which *budget* counts at *now*."""
    start = period_start(budget.period, now.calendar_us // 1_000_000)
    return Row(budget.name, budget.period, start)


def load_budgets(db: sqlite3.Connection) -> dict[str, Budget]:
    """Return all definitions of the store."""
    rows = db.execute("SELECT name, period, nano_usd, tokens, requests, since FROM budgets")
    return {name: Budget(name, *rest) for name, *rest in rows}


def _ids(counters: Iterable[Counter]) -> str:
    return " ".join(str(counter.id) for counter in counters)


def _units(amount: Amount) -> tuple[int, int, int]:
    return amount.nano_usd, amount.tokens, amount.requests
