"""The Redis ledger between requests: its journal read in pages, summed up, folded, accepted.

Long looks have a connection of their own, so that no request waits for a page of the journal.
"""

from __future__ import annotations

import contextlib
import secrets
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from redis.asyncio import Redis

from plugins._ledger import UNITS, Amount, Finding, LedgerUnavailable, LedgerUnfit, Posting, Row
from plugins._ledger_line import Line, Step, ask, connect, translated
from plugins._ledger_time import DAY_S
from plugins._ledger_words import check_shown, differences, lost

__all__ = ["Journal"]

_TIMEOUT_S = 30.0
_PAGE = 1_000
_TRIES = 20  # a busy store changes between a snapshot and what is done with it
_AHEAD_US = 60_000_000
_FIX = "run: qwen3-router budget check --accept --reason TEXT"


class Journal:
    """What a *line* leads to, looked at as a whole."""

    def __init__(self, line: Line) -> None:
        self._line = line

    async def check(self) -> list[Finding]:
        """Return what does not add up."""
        async with self._client() as client:
            return _judged(*await self._sums(client, mend=False))

    async def accept(self, reason: str, who: str, shown: Sequence[Finding] | None) -> None:
        """Make counters the sum of the journal, under a new epoch.

        Raises:
            ValueError: something else is found than was *shown*; nothing was changed.
        """
        async with self._client() as client:
            for _ in range(_TRIES):
                try:
                    snapshot, booked = await self._sums(client, mend=False)
                    now = _judged(snapshot, booked)
                except LedgerUnfit as error:
                    snapshot, booked = await self._sums(client, mend=True)
                    now = lost(error)
                check_shown(shown, now)
                held = _held(snapshot[5])
                rows = {row for row, _, _ in snapshot[4]} | set(booked) | set(held)
                sums = [[row, *map(str, booked[row]), *map(str, held[row])] for row in sorted(rows)]
                asked = {
                    "seq": snapshot[1],
                    "epoch": secrets.token_hex(8),
                    "rows": sums,
                    "reason": reason,
                    "who": who,
                }
                (answer,) = await ask(client, self._line, [Step("mend", asked)], mend=True)
                if answer[0] == "ok":
                    return
        raise LedgerUnavailable("the ledger is too busy to be accepted: try again, or pause it")

    async def fold(self, before_us: int) -> int:
        """Add postings made before *before_us* up by row and day; return how many."""
        folded, cursor, skip = 0, "-", 0
        async with self._client() as client:
            while cursor:
                asked: dict[str, Any] = {"before": str(before_us), "from": cursor}
                (answer,) = await ask(client, self._line, [Step("fold", asked)])
                folded += int(answer[1])
                cursor = f"({answer[2]}" if answer[2] else ""
            more = True
            while more:
                asked = {"before": str(before_us), "skip": skip}
                (answer,) = await ask(client, self._line, [Step("merge", asked)])
                skip += int(answer[1])
                more = bool(answer[2])
        return folded

    async def postings(self, budget: str | None, since_us: int, limit: int) -> list[Posting]:
        """Return the journal from *since_us* on, the newest first, folded days last."""
        found: list[Posting] = []
        async with self._client() as client:
            async for fields in self._pages(client, "+", "-", back=True):
                if int(fields["at"]) < since_us or len(found) >= limit:
                    break
                found += [one for one in _postings(fields) if budget in (None, one.row.budget)]
            if len(found) < limit:
                (answer,) = await ask(client, self._line, [Step("snapshot", {})])
                days = [one for row, _, sums in answer[4] for one in _days(row, sums)]
                days.sort(key=lambda one: -one.at)
                found += [
                    one
                    for one in days
                    if budget in (None, one.row.budget)
                    and one.at >= since_us // 1_000_000 // DAY_S * DAY_S
                ]
        return found[:limit]

    async def _sums(
        self, client: Redis, *, mend: bool
    ) -> tuple[list[Any], defaultdict[str, list[int]]]:
        """Return a snapshot, and what was posted by row up to it."""
        for _ in range(_TRIES):
            (snapshot,) = await ask(client, self._line, [Step("snapshot", {})], mend=mend)
            booked: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
            for row, _, sums in snapshot[4]:
                for one in _days(row, sums):
                    _add(booked[row], one.amount)
            async for fields in self._pages(client, "-", snapshot[1]):
                for row in filter(None, fields["c"].split("\n")):
                    _add(booked[row], _amount(fields))
            if await client.hget(f"{self._line.prefix}:state", "folds") == snapshot[2]:
                return snapshot, booked
        raise LedgerUnavailable("the ledger is being folded: try again")

    async def _pages(
        self, client: Redis, start: str, end: str, *, back: bool = False
    ) -> AsyncIterator[Mapping[str, str]]:
        """Yield the fields of the journal's entries from *start* to *end*."""
        read: Any = client.xrevrange if back else client.xrange
        while True:
            page = await read(f"{self._line.prefix}:journal", start, end, count=_PAGE)
            for _, fields in page:
                yield fields
            if len(page) < _PAGE:
                return
            start = f"({page[-1][0]}"

    @contextlib.asynccontextmanager
    async def _client(self) -> AsyncIterator[Redis]:
        async with connect(self._line.url, _TIMEOUT_S) as client:
            with translated(self._line.url):
                yield client


def _judged(snapshot: Sequence[Any], booked: Mapping[str, Sequence[int]]) -> list[Finding]:
    """Return what does not add up in *snapshot*, if *booked* is what was posted."""
    _, _, _, ahead, rows, open_ = snapshot
    held = _held(open_)
    found: list[Finding] = []
    for row, counted, _ in rows:
        spent, holds = [int(one) for one in counted[:3]], [int(one) for one in counted[3:]]
        where = row.replace(":", " ", 1).replace(":", ", ", 1)
        found += differences(where, spent, booked[row], holds, held[row], _FIX)
    known = {row for row, _, _ in rows}
    for row, sums in {**booked, **held}.items():
        if row not in known and any(sums):
            found.append(Finding(f"the counter of {row} is missing", _FIX))
    if int(ahead) > _AHEAD_US:
        seconds = int(ahead) // 1_000_000
        what = f"the store's clock is {seconds} s ahead: its clock jumped forward, and back"
        found.append(Finding(what, f"wait, or {_FIX}", lasting=False))
    return found


def _amount(fields: Mapping[str, str]) -> Amount:
    return Amount(int(fields["n"]), int(fields["t"]), int(fields["r"]))


def _add(sums: list[int], amount: Amount) -> None:
    for i, unit in enumerate(UNITS):
        sums[i] += getattr(amount, unit)


def _held(open_: Sequence[Sequence[str]]) -> defaultdict[str, list[int]]:
    """Return what open reservations hold, by row."""
    held: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for rows, *units in open_:
        for row in rows.split("\n"):
            _add(held[row], Amount(*map(int, units)))
    return held


def _row(text: str) -> Row:
    period, start, budget = text.split(":", 2)
    return Row(budget, period, int(start))


def _postings(fields: Mapping[str, Any]) -> list[Posting]:
    """Return one posting per row of an entry; an acceptance has none of its own."""
    rows = [_row(one) for one in fields["c"].split("\n")] if fields["c"] else [Row("", "", 0)]
    return [
        Posting(
            int(fields["at"]) / 1_000_000,
            row,
            fields["k"],
            _amount(fields),
            fields["i"],
            fields["y"],
            fields["w"],
        )
        for row in reversed(rows)
    ]


def _days(row: str, sums: Any) -> list[Posting]:
    """Return the folded days of *row* from its hash: a day's number and a unit's letter, a sum."""
    flat = list(sums)
    units: defaultdict[str, dict[str, str]] = defaultdict(lambda: {"n": "0", "t": "0", "r": "0"})
    for name, value in zip(flat[::2], flat[1::2], strict=True):
        units[name[:-1]][name[-1]] = value
    return [
        Posting(float(int(day) * DAY_S), _row(row), "folded", _amount(fields))
        for day, fields in units.items()
    ]
