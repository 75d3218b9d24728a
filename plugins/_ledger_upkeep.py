"""The SQLite ledger between requests: what is in it, is it right, and making it small again."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence

from plugins._ledger import Amount, Finding, Posting, Room, Row, UnknownBudget
from plugins._ledger_sql import current_row, load_budgets
from plugins._ledger_time import DAY_S, StoreTime, period_end
from plugins._ledger_words import differences

__all__ = ["accept", "check", "fold", "merge", "postings", "rooms"]

_AT_ONCE = 2_000  # postings of one transaction, which others wait for
_AHEAD_S = 60  # how far the store's clock may be ahead of the wall clock
_DAY_US = DAY_S * 1_000_000
_SHORT = ("minute", "hour")  # periods whose counters are merged by day once they are over

# Every sum there is: what was posted, and what was folded.
_BOOKED = """
SELECT counter, sum(nano_usd), sum(tokens), sum(requests) FROM (
    SELECT counter, nano_usd, tokens, requests FROM postings
    UNION ALL SELECT counter, nano_usd, tokens, requests FROM days
) WHERE counter != 0 GROUP BY counter"""


def rooms(db: sqlite3.Connection, names: Sequence[str] | None, wall_us: int) -> list[Room]:
    """Return the state of the named budgets, or of all. Raises `UnknownBudget`."""
    budgets = load_budgets(db)
    clock = db.execute("SELECT wall_us, calendar_us, lease_us FROM state").fetchone()
    now = StoreTime(*clock).at(wall_us)
    found = []
    for name in sorted(budgets) if names is None else names:
        if name not in budgets:
            raise UnknownBudget(f"budget {name} was not defined")
        row = current_row(budgets[name], now)
        units = (
            db.execute(
                "SELECT spent_nano_usd, spent_tokens, spent_requests, held_nano_usd, held_tokens, "
                "held_requests FROM counters WHERE budget = ? AND period = ? AND start = ?",
                row,
            ).fetchone()
            or (0,) * 6
        )
        found.append(
            Room(
                budgets[name],
                row.start,
                period_end(row.period, row.start),
                now.calendar_us / 1_000_000,
                Amount(*units[:3]),
                Amount(*units[3:]),
            )
        )
    return found


def postings(
    db: sqlite3.Connection, budget: str | None, since_us: int, limit: int
) -> list[Posting]:
    """Return the journal from *since_us* on, the newest first, folded days last."""
    found: list[Posting] = []
    for table, at, rest, order, since in (
        ("postings", "at_us", "kind, reservation, reason, who", "seq", since_us),
        ("days", "day * 86400000000", "'folded', '', '', ''", "day", since_us - since_us % _DAY_US),
    ):
        rows = db.execute(
            f"SELECT {at} AS at, budget, period, start, nano_usd, tokens, requests, {rest} "
            f"FROM {table} LEFT JOIN counters ON counters.id = counter "
            "WHERE at >= ? AND (? IS NULL OR budget = ?) "
            f"ORDER BY {order} DESC LIMIT ?",
            (since, budget, budget, limit - len(found)),
        )
        for at_us, name, period, start, nano_usd, tokens, requests, *texts in rows:
            row = Row(name or "", period or "", start or 0)
            amount = Amount(nano_usd, tokens, requests)
            kind, *words = texts
            found.append(Posting(at_us / 1_000_000, row, kind, amount, *words))
    return found


def check(db: sqlite3.Connection, wall_us: int) -> list[Finding]:
    """Return what does not add up, in one view of the store."""
    fix = "run: qwen3-router budget check --accept --reason TEXT"
    found = []
    (health,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if health != "ok":
        found.append(Finding(f"the file is damaged: {health}", "put a copy back"))
    db.execute("BEGIN")
    try:
        booked = {id_: tuple(units) for id_, *units in db.execute(_BOOKED)}
        held = _held(db)
        for row, id_, spent, holds in _counters(db):
            where = f"{row.budget}, {row.period} {row.start}"
            posted, still = booked.pop(id_, (0, 0, 0)), held.pop(id_, (0, 0, 0))
            found += differences(where, spent, posted, holds, still, fix)
        for id_, sums in {**booked, **held}.items():
            if any(sums):
                found.append(Finding(f"counter {id_} is missing", fix))
        (calendar_us,) = db.execute("SELECT calendar_us FROM state").fetchone()
    finally:
        db.execute("ROLLBACK")
    ahead_s = (calendar_us - wall_us) // 1_000_000
    if ahead_s > _AHEAD_S:
        what = f"the store's clock is {ahead_s} s ahead: the wall clock jumped forward, and back"
        found.append(Finding(what, f"wait, or {fix}", lasting=False))
    return found


def accept(db: sqlite3.Connection, wall_us: int, reason: str, who: str, epoch: str) -> None:
    """Make counters the sum of the journal and the wall clock the store's; note who said so."""
    db.execute("UPDATE state SET epoch = ?, accepted = 1", (epoch,))
    booked = {id_: units for id_, *units in db.execute(_BOOKED)}
    held = _held(db)
    for _, id_, _, _ in list(_counters(db)):
        db.execute(
            "UPDATE counters SET spent_nano_usd = ?, spent_tokens = ?, spent_requests = ?, "
            "held_nano_usd = ?, held_tokens = ?, held_requests = ? WHERE id = ?",
            (*booked.get(id_, (0, 0, 0)), *held[id_], id_),
        )
    # Whose limits are the newest is found anew: a clock that was wrong must not rule for ever.
    db.execute("UPDATE budgets SET since = 1")
    db.execute(
        "UPDATE state SET calendar_us = ?1, lease_us = lease_us + max(0, ?1 - wall_us), "
        "wall_us = ?1, generation = generation + 1, "
        "next_expiry_us = (SELECT min(expires_us) FROM reservations WHERE state = 0)",
        (wall_us,),
    )
    db.execute(
        "INSERT INTO postings (at_us, counter, kind, nano_usd, tokens, requests, reservation, "
        "reason, who) VALUES (?, 0, 'acceptance', 0, 0, 0, '', ?, ?)",
        (wall_us, reason, who),
    )


def fold(db: sqlite3.Connection, before_us: int) -> int:
    """Add some old postings up by counter and day; return how many, 0 when none is left."""
    before_us = _past(db, before_us)
    rows = db.execute(
        "SELECT seq FROM postings WHERE at_us < ? AND kind != 'acceptance' ORDER BY seq LIMIT ?",
        (before_us, _AT_ONCE),
    ).fetchall()
    if rows:
        chosen = "at_us < ? AND seq <= ?"
        values = (before_us, rows[-1][0])
        db.execute(
            "INSERT INTO days SELECT counter, at_us / 86400000000 AS day, sum(nano_usd), "
            f"sum(tokens), sum(requests) FROM postings WHERE {chosen} AND kind != 'acceptance' "
            "GROUP BY counter, day ON CONFLICT (counter, day) DO UPDATE SET "
            "nano_usd = nano_usd + excluded.nano_usd, tokens = tokens + excluded.tokens, "
            "requests = requests + excluded.requests",
            values,
        )
        # Who accepted what, and when, is kept for ever.
        db.execute(f"DELETE FROM postings WHERE {chosen} AND kind != 'acceptance'", values)
    return len(rows)


def merge(db: sqlite3.Connection, before_us: int) -> int:
    """Merge some counters of short periods that ended, and forget old reservations.

    Return how many of both, 0 when none is left.
    """
    before_us = _past(db, before_us)
    merged = 0
    for period in _SHORT:
        length = period_end(period, 0)
        ended = db.execute(
            "SELECT id, budget, start, spent_nano_usd, spent_tokens, spent_requests FROM counters "
            "WHERE period = ? AND (start + ?) * 1000000 <= ? AND held_nano_usd = 0 AND "
            "held_tokens = 0 AND held_requests = 0 AND (spent_nano_usd, spent_tokens, "
            "spent_requests) = (SELECT coalesce(sum(nano_usd), 0), coalesce(sum(tokens), 0), "
            "coalesce(sum(requests), 0) FROM days WHERE counter = counters.id) LIMIT ?",
            (period, length, before_us, _AT_ONCE // 4),
        ).fetchall()
        for id_, budget, start, *spent in ended:
            _merge(db, id_, Row(budget, "past", start - start % DAY_S), spent)
        merged += len(ended)
    # Ids begin with the time they were made at: what is older stands before it.
    oldest = f"{before_us // 1000:012x}"
    merged += db.execute(
        "DELETE FROM reservations WHERE id IN (SELECT id FROM reservations WHERE id < ? AND "
        "state != 0 AND ended_us < ? LIMIT ?)",
        (oldest, before_us, _AT_ONCE),
    ).rowcount
    return merged


def _past(db: sqlite3.Connection, before_us: int) -> int:
    """Return *before_us*, or the store's present: a period that lasts must keep its counter."""
    (calendar_us,) = db.execute("SELECT calendar_us FROM state").fetchone()
    return min(before_us, int(calendar_us))


def _merge(db: sqlite3.Connection, id_: int, into: Row, spent: Sequence[int]) -> None:
    db.execute(
        "INSERT INTO counters (budget, period, start, spent_nano_usd, spent_tokens, "
        "spent_requests, held_nano_usd, held_tokens, held_requests, told_nano_usd, told_tokens, "
        "told_requests) VALUES (?, ?, ?, ?, ?, ?, 0, 0, 0, 0, 0, 0) "
        "ON CONFLICT (budget, period, start) DO UPDATE SET "
        "spent_nano_usd = spent_nano_usd + excluded.spent_nano_usd, "
        "spent_tokens = spent_tokens + excluded.spent_tokens, "
        "spent_requests = spent_requests + excluded.spent_requests",
        (*into, *spent),
    )
    db.execute(
        "INSERT INTO days SELECT (SELECT id FROM counters WHERE budget = ? AND period = ? AND "
        "start = ?), day, nano_usd, tokens, requests FROM days WHERE counter = ? "
        "ON CONFLICT (counter, day) DO UPDATE SET nano_usd = nano_usd + excluded.nano_usd, "
        "tokens = tokens + excluded.tokens, requests = requests + excluded.requests",
        (*into, id_),
    )
    db.execute("DELETE FROM days WHERE counter = ?", (id_,))
    db.execute("DELETE FROM counters WHERE id = ?", (id_,))


def _counters(
    db: sqlite3.Connection,
) -> Iterator[tuple[Row, int, tuple[int, ...], tuple[int, ...]]]:
    """Yield row, id, spent and held of every counter."""
    for budget, period, start, id_, *units in db.execute(
        "SELECT budget, period, start, id, spent_nano_usd, spent_tokens, spent_requests, "
        "held_nano_usd, held_tokens, held_requests FROM counters ORDER BY budget, start"
    ):
        yield Row(budget, period, start), id_, tuple(units[:3]), tuple(units[3:])


def _held(db: sqlite3.Connection) -> defaultdict[int, list[int]]:
    """Return what open reservations hold, by counter id."""
    held: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0, 0])
    for ids, *units in db.execute(
        "SELECT counters, nano_usd, tokens, requests FROM reservations WHERE state = 0"
    ):
        for id_ in map(int, ids.split()):
            held[id_] = [have + more for have, more in zip(held[id_], units, strict=True)]
    return held
