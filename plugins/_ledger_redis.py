"""The ledger on Redis or Valkey: one primary for any number of machines.

What is decided is decided in `_ledger_redis.lua`, inside the store; here steps are written down and
answers are read. Nothing is counted in this process.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

from plugins._ledger import (
    MOST,
    UNITS,
    Amount,
    Budget,
    BudgetExhausted,
    Crossing,
    Finding,
    LedgerUnavailable,
    Posting,
    Refusal,
    Reservation,
    Room,
    Row,
    Told,
    UnknownBudget,
)
from plugins._ledger_book import LEVELS
from plugins._ledger_epochs import Epochs
from plugins._ledger_journal import Journal
from plugins._ledger_line import Line, Step
from plugins._ledger_time import Period, micros, new_id
from plugins._ledger_words import text

__all__ = ["RedisLedger"]

_LETTERS = ("n", "t", "r")  # the units' names inside the store, in the order of UNITS


class RedisLedger:
    """A `Ledger` in the Redis at *url*, under keys that begin with *prefix*.

    *wall* replaces the server's clock in tests. A request waits *timeout_s* for an answer.
    """

    def __init__(
        self,
        url: str,
        *,
        epochs: Epochs | None = None,
        prefix: str = "qwen3-router",
        wall: Callable[[], float] | None = None,
        timeout_s: float = 0.12,
    ) -> None:
        self._url = url
        self._epochs = epochs or Epochs(None)
        self._prefix = prefix
        self._wall = wall
        self._timeout_s = timeout_s
        self._lines: dict[asyncio.AbstractEventLoop, Line] = {}
        self._closed = False

    async def start(self) -> None:
        """Check the server's settings and its data. Raises `LedgerUnfit`."""
        await self._line().verify()

    async def define(self, budgets: Sequence[Budget]) -> tuple[Budget, ...]:
        """Set limits and periods."""
        answers = await asyncio.gather(*(self._do(_definition(one)) for one in budgets))
        newer = [
            _budget(one.name, answer[1:])
            for one, answer in zip(budgets, answers, strict=True)
            if answer[0] == "newer"
        ]
        return tuple(newer)

    async def reserve(
        self, names: Sequence[str], amount: Amount, ttl_s: float, *, note: str = ""
    ) -> Reservation:
        """Hold *amount* on all named budgets, or on none."""
        wall_s = time.time() if self._wall is None else self._wall()
        id_ = new_id(wall_s)
        amount.checked()
        if not names:
            return Reservation(id_, (), amount, wall_s + ttl_s)
        asked = {
            "id": id_,
            "names": list(dict.fromkeys(names)),
            "ttl": str(micros(ttl_s)),
            "note": note,
            **_letters(amount),
        }
        undo = Step("release", {"id": id_}, owed=True)
        answer = await self._do(Step("reserve", asked, undo=undo))
        if answer[0] == "refused":
            raise BudgetExhausted([_refusal(one) for one in answer[1]], _crossings(answer[2]))
        rows = tuple(_row(one) for one in answer[1])
        return Reservation(id_, rows, amount, int(answer[2]) / 1_000_000, _crossings(answer[3]))

    async def settle(self, reservation: Reservation, actual: Amount) -> tuple[Crossing, ...]:
        """Book *actual* and end the reservation."""
        return await self._owe(_outcome(reservation, actual)) if reservation.rows else ()

    async def release(self, reservation: Reservation) -> None:
        """Give the hold back."""
        if reservation.rows:
            await self._owe(_outcome(reservation, None))

    def book(self, reservation: Reservation, actual: Amount | None, told: Told) -> None:
        """Do as `settle` or `release`, without anybody who waits."""
        if self._closed or not reservation.rows:  # closed: what is held counts as spent
            return
        step = _outcome(reservation, actual)
        step.told = lambda found: told(_crossings(found))
        self._line().post(step)

    async def sweep(self) -> tuple[Crossing, ...]:
        """Expire what is overdue."""
        found = (await self._do(Step("sweep", {})))[1]
        line = self._line()
        late, line.late = line.late, []
        return _crossings([*late, *found])

    async def rooms(self, names: Sequence[str] | None = None) -> list[Room]:
        """Return the state of the named budgets, or of all."""
        asked = {"some": names is not None, "names": list(names or ())}
        _, calendar, rooms = await self._do(Step("rooms", asked))
        return [_room(one, int(calendar) / 1_000_000) for one in rooms]

    async def adjust(
        self, name: str, amount: Amount, reason: str, who: str
    ) -> tuple[Crossing, ...]:
        """Add *amount* to what is spent in the present period."""
        asked = {"name": name, "reason": text(reason), "who": text(who), "most": str(MOST)}
        answer = await self._do(Step("adjust", {**asked, **_letters(amount.checked(signed=True))}))
        if answer[0] == "less":
            raise ValueError(f"less than nothing would be spent of {name} in this period")
        if answer[0] == "more":
            raise ValueError(f"more than {MOST} would be spent of {name} in this period")
        return _crossings(answer[1])

    async def check(self) -> list[Finding]:
        """Hold the counters against the journal and the open reservations."""
        return await Journal(self._line()).check()

    async def accept(self, reason: str, who: str, shown: Sequence[Finding] | None = None) -> None:
        """Go on with the store as it is."""
        await Journal(self._line()).accept(text(reason), text(who), shown)

    async def fold(self, before: float) -> int:
        """Add old postings up by day, in steps that are short each."""
        return await Journal(self._line()).fold(micros(before))

    async def postings(
        self, *, budget: str | None = None, since: float = 0.0, limit: int = 1000
    ) -> list[Posting]:
        """Return lines of the journal, the newest first."""
        return await Journal(self._line()).postings(budget, micros(since), limit)

    async def close(self) -> None:
        """Tell what is owed, if the store answers, and hang up."""
        line = self._lines.pop(asyncio.get_running_loop(), None)
        self._closed = True
        if line is not None:
            await line.close()

    def _line(self) -> Line:
        """Return the line of the running event loop, to which its connection belongs."""
        loop = asyncio.get_running_loop()
        if self._closed:
            raise LedgerUnavailable("the ledger was closed")
        if loop not in self._lines:
            for old in [one for one in self._lines if one.is_closed()]:
                del self._lines[old]
            wall = self._wall
            self._lines[loop] = Line(
                self._url,
                self._prefix,
                self._epochs,
                self._timeout_s,
                None if wall is None else lambda: micros(wall()),
            )
        return self._lines[loop]

    async def _do(self, step: Step) -> list[Any]:
        answer = await self._line().do(step)
        if answer[0] == "unknown":
            raise UnknownBudget(f"budget {answer[1]} was not defined")
        if answer[0] == "error":
            raise LedgerUnavailable(f"the ledger's script failed: {answer[1]}")
        return answer

    async def _owe(self, step: Step) -> tuple[Crossing, ...]:
        """Have *step* done, now or when the store answers again."""
        with contextlib.suppress(LedgerUnavailable):
            return _crossings((await self._do(step))[1])
        return ()


def _outcome(reservation: Reservation, actual: Amount | None) -> Step:
    """Return the step that books *actual*, or for None gives the hold back."""
    if actual is None:
        return Step("release", {"id": reservation.id}, owed=True)
    rows = "\n".join(f"{row.period}:{row.start}:{row.budget}" for row in reservation.rows)
    asked = {"id": reservation.id, "rows": rows, **_letters(actual.checked())}
    return Step("settle", asked, owed=True)


def _budget(name: str, fields: Sequence[str]) -> Budget:
    period, nano_usd, tokens, requests, since = fields
    limits = (_number(nano_usd), _number(tokens), _number(requests))
    return Budget(name, cast(Period, period), *limits, since=int(since))


def _definition(budget: Budget) -> Step:
    fields: list[str] = []
    limits: dict[str, str] = {}
    for letter, unit in zip(_LETTERS, UNITS, strict=True):
        limit = budget.limit(unit)
        if limit is not None:
            limits[letter] = str(limit)
            fields += [letter, str(limit)]
            for level in LEVELS:
                # At least one: nothing spent of nothing is no news.
                fields += [f"{letter}{level}", str(max(1, -(-limit * level // 100)))]
    asked = {"name": budget.name, "period": budget.period, "since": str(budget.since)}
    return Step("define", {**asked, "fields": fields, **limits})


def _letters(amount: Amount) -> dict[str, str]:
    return {
        letter: str(getattr(amount, unit)) for letter, unit in zip(_LETTERS, UNITS, strict=True)
    }


def _row(joined: str) -> Row:
    period, start, budget = joined.split(":", 2)
    return Row(budget, period, int(start))


def _refusal(fields: Sequence[Any]) -> Refusal:
    budget, unit, resets_at, left = fields
    return Refusal(budget, unit, _number(resets_at), int(left))


def _crossings(found: Any) -> tuple[Crossing, ...]:
    return tuple(
        Crossing(budget, unit, int(level), int(spent), int(limit), _number(resets_at))
        for budget, unit, level, spent, limit, resets_at in found
    )


def _room(fields: Sequence[Any], now: float) -> Room:
    name, period, nano_usd, tokens, requests, start, end, used = fields
    limits = (_number(nano_usd), _number(tokens), _number(requests))
    units = [int(one) for one in used]
    return Room(
        Budget(name, period, *limits),
        int(start),
        _number(end),
        now,
        Amount(*units[:3]),
        Amount(*units[3:]),
    )


def _number(digits: str) -> int | None:
    return int(digits) if digits else None
