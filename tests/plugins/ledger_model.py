"""What a ledger must do, in plain Python and with no regard for speed: the tests' own ledger."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from plugins._ledger import UNITS, Amount, Budget

__all__ = ["Held", "Level", "Model", "Refused", "end_of", "start_of"]

Key = tuple[str, str, int]  # budget, period, start
Level = tuple[str, str, int, int | None]  # budget, unit, percent, end of the period


class Refused(Exception):
    """The model has no room; *levels* were reached by expiring others before."""

    def __init__(self, levels: set[Level]) -> None:
        super().__init__("no room")
        self.levels = levels


@dataclass
class Held:
    """One reservation; *state* is open, settled, released or expired."""

    rows: tuple[Key, ...]
    amount: Amount
    expires_us: int
    state: str = "open"


@dataclass
class Model:
    """Counters by row, each unit by name; times in microseconds."""

    wall: int = 0
    calendar: int = 0
    lease: int = 0
    budgets: dict[str, Budget] = field(default_factory=dict)
    spent: dict[Key, dict[str, int]] = field(default_factory=dict)
    told: dict[Key, dict[str, int]] = field(default_factory=dict)
    held: dict[str, Held] = field(default_factory=dict)

    def clock(self, wall: int) -> None:
        self.calendar = max(self.calendar, wall)
        self.lease += max(0, wall - self.wall)
        self.wall = wall

    def row(self, name: str, now_us: int | None = None) -> Key:
        period = self.budgets[name].period
        at_us = self.calendar if now_us is None else now_us
        return (name, period, start_of(period, at_us // 1_000_000))

    def spent_of(self, row: Key) -> dict[str, int]:
        return self.spent.setdefault(row, dict.fromkeys(UNITS, 0))

    def held_of(self, row: Key) -> dict[str, int]:
        open_ = [one for one in self.held.values() if one.state == "open" and row in one.rows]
        return {unit: sum(getattr(one.amount, unit) for one in open_) for unit in UNITS}

    def define(self, budget: Budget) -> None:
        known = self.budgets.get(budget.name)
        if known is not None and known.since > budget.since:
            return
        self.budgets[budget.name] = budget
        row = self.row(budget.name)
        for unit, told in self.told.get(row, {}).items():
            self.told[row][unit] = min(told, self._reached(row, unit))

    def reserve(self, names: list[str], amount: Amount, ttl_us: int) -> tuple[Held, set[Level]]:
        levels = self.sweep()
        rows = tuple(self.row(name) for name in dict.fromkeys(names))
        full = []
        for row in rows:
            for unit in UNITS:
                limit = self.budgets[row[0]].limit(unit)
                used = self.spent_of(row)[unit] + self.held_of(row)[unit] + getattr(amount, unit)
                if limit is not None and used > limit:
                    full.append((row, unit))
        if full:
            raise Refused(levels | self._refuse(full, amount))
        return Held(rows, amount, self.lease + ttl_us), levels

    def settle(self, held: Held, actual: Amount) -> set[Level]:
        before, held.state = held.state, "settled"
        if before == "open":
            return self._spend(held.rows, actual)
        if before == "expired":
            return self._spend(held.rows, actual - held.amount)
        held.state = before
        return set()

    def release(self, held: Held) -> None:
        if held.state == "expired":
            self._spend(held.rows, -held.amount)
        if held.state in ("open", "expired"):
            held.state = "released"

    def sweep(self) -> set[Level]:
        levels: set[Level] = set()
        for one in self.held.values():
            if one.state == "open" and one.expires_us <= self.lease:
                one.state = "expired"
                levels |= self._spend(one.rows, one.amount)
        return levels

    def adjust(self, name: str, amount: Amount) -> set[Level]:
        levels = self.sweep()
        row = self.row(name)
        if any(self.spent_of(row)[unit] + getattr(amount, unit) < 0 for unit in UNITS):
            raise ValueError(levels)
        return levels | self._spend((row,), amount)

    def accept(self) -> None:
        self.calendar = self.wall
        self.budgets = {name: replace(one, since=1) for name, one in self.budgets.items()}

    def _spend(self, rows: tuple[Key, ...], amount: Amount) -> set[Level]:
        levels: set[Level] = set()
        for row in rows:
            for unit in UNITS:
                self.spent_of(row)[unit] += getattr(amount, unit)
            if amount == Amount():
                continue
            for unit in UNITS:
                told = self.told.setdefault(row, dict.fromkeys(UNITS, 0))
                reached = self._reached(row, unit)
                for level in (50, 80, 100):
                    if told[unit] < level <= reached:
                        levels.add((row[0], unit, level, end_of(row[1], row[2])))
                told[unit] = max(told[unit], reached)
        return levels

    def _refuse(self, full: list[tuple[Key, str]], amount: Amount) -> set[Level]:
        """What no longer has room for an ordinary call is used up, unless it is a quota."""
        levels: set[Level] = set()
        for row, unit in full:
            told = self.told.get(row, {})
            ordinary = getattr(amount, unit) <= self.spent_of(row)[unit]
            if row[1] != "minute" and ordinary and told.get(unit, 0) in (50, 80):
                told[unit] = 100
                levels.add((row[0], unit, 100, end_of(row[1], row[2])))
        return levels

    def _reached(self, row: Key, unit: str) -> int:
        """The highest level that is reported: none for a quota, none without a limit."""
        budget = self.budgets[row[0]]
        limit = getattr(budget, unit)
        spent = self.spent_of(row)[unit]
        if budget.period != row[1] or limit is None or spent <= 0 or row[1] == "minute":
            return 0
        return max((level for level in (50, 80, 100) if spent * 100 >= limit * level), default=0)


def start_of(period: str, at_s: int) -> int:
    if period == "lifetime":
        return 0
    now = datetime.fromtimestamp(at_s, UTC).replace(microsecond=0)
    for unit, least in (("second", 0), ("minute", 0), ("hour", 0), ("day", 1)):
        if unit == period:
            break
        now = now.replace(**{unit: least})  # type: ignore[arg-type]
    return int(now.timestamp())


def end_of(period: str, start_s: int) -> int | None:
    if period == "lifetime":
        return None
    longest = {"month": 31, "day": 1, "hour": 1 / 24, "minute": 1 / 1440}[period]
    later = datetime.fromtimestamp(start_s, UTC) + timedelta(days=longest)
    return start_of(period, int(later.timestamp()))
