"""What a budget will be at the present rate: used up when, or how much at the end of its period."""

from __future__ import annotations

from dataclasses import dataclass

from plugins._ledger import Ledger, Room, Unit

__all__ = ["Forecast", "forecast", "rate"]

_LOOK_BACK_S = 7 * 86_400  # what a rate is taken from, at most
_SHORTEST_S = 60  # less says nothing
_POSTINGS = 50_000


@dataclass(frozen=True, slots=True)
class Forecast:
    """*per_day* is the rate; *empty_at*, in seconds since 1970, when nothing will be left.

    If the period ends before that, *at_end* is what will be spent by then.
    """

    per_day: int
    empty_at: float | None = None
    at_end: int | None = None


def forecast(room: Room, unit: Unit, per_s: float) -> Forecast | None:
    """Return what comes of *room* at *per_s* units a second; None if nothing is spent."""
    limit = room.budget.limit(unit)
    if per_s <= 0:
        return None
    used = getattr(room.spent, unit) + getattr(room.held, unit)
    per_day = round(per_s * 86_400)
    if limit is not None:
        empty_at = room.now + max(0, limit - used) / per_s
        if room.end is None or empty_at < room.end:
            return Forecast(per_day, empty_at=empty_at)
    if room.end is None:
        return Forecast(per_day)
    return Forecast(per_day, at_end=round(used + per_s * (room.end - room.now)))


async def rate(ledger: Ledger, room: Room, unit: Unit) -> float:
    """Return how many units a second were spent lately: in this period, at most a week."""
    passed = room.now - room.start
    if _SHORTEST_S <= passed <= _LOOK_BACK_S:
        so_far: int = getattr(room.spent, unit)
        return max(0, so_far) / passed
    since = max(float(room.start), room.now - _LOOK_BACK_S)
    found = await ledger.postings(budget=room.budget.name, since=since, limit=_POSTINGS)
    if not found:
        return 0.0
    # Days that were folded begin before the look back does.
    passed = room.now - min(since if len(found) < _POSTINGS else found[-1].at, found[-1].at)
    spent: int = sum(getattr(one.amount, unit) for one in found)
    return max(0, spent) / max(passed, _SHORTEST_S)
