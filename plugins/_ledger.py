"""The ledger's contract: what money is here, what may be asked of a store, and what it answers.

    define ──▶ reserve ──▶ the wire call ──▶ settle      the real cost is booked
                  │                       ├─▶ release     nothing was sent: the hold is given back
                  │                       └─▶ nothing     when overdue it counts as spent: expiry
                  └─▶ BudgetExhausted, LedgerUnavailable: nothing was held, so nothing may be sent

A budget counts in periods of the UTC calendar. One counter holds what was spent and what is held in
one period of one budget, and one atomic step reserves on all named budgets or on none:
`spent + held + amount <= limit` for every unit that has a limit. A reservation belongs to the
periods in which it was made, whenever it ends. The journal of postings is the truth: what a counter
says is spent is the sum of its postings, and what it says is held is the sum of the open
reservations. All stores pass `tests/plugins/test_ledger_contract.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from plugins._errors import RouterError
from plugins._ledger_time import Period

__all__ = [
    "MOST",
    "UNITS",
    "Amount",
    "Budget",
    "BudgetExhausted",
    "Crossing",
    "Finding",
    "Ledger",
    "LedgerUnavailable",
    "LedgerUnfit",
    "Posting",
    "PostingKind",
    "Refusal",
    "Reservation",
    "Room",
    "Row",
    "Told",
    "Unit",
    "UnknownBudget",
]

Unit = Literal["nano_usd", "tokens", "requests"]
UNITS: tuple[Unit, ...] = ("nano_usd", "tokens", "requests")
# What one amount or one limit may be: a billion dollars. A counter of 64 bits holds nine of them.
MOST = 10**18

PostingKind = Literal["settlement", "expiry", "correction", "adjustment", "acceptance", "folded"]


@dataclass(frozen=True, slots=True)
class Amount:
    """Money in nano-dollars, tokens, and requests; negative only in corrections."""

    nano_usd: int = 0
    tokens: int = 0
    requests: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(
            self.nano_usd + other.nano_usd,
            self.tokens + other.tokens,
            self.requests + other.requests,
        )

    def __neg__(self) -> Amount:
        return Amount(-self.nano_usd, -self.tokens, -self.requests)

    def __sub__(self, other: Amount) -> Amount:
        return self + -other

    def checked(self, *, signed: bool = False) -> Amount:
        """Return the amount itself. Raises `ValueError` for one that no store may be given."""
        least = -MOST if signed else 0
        for unit in UNITS:
            if not least <= getattr(self, unit) <= MOST:
                raise ValueError(f"{unit} must be from {least} to {MOST}")
        return self


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be spent in one *period*; a unit without a limit is counted and not limited.

    *period* `minute` is for quotas (requests or tokens a minute); their crossings are not reported.
    *since* is the age of the word, in nanoseconds since 1970: when the file that says so changed.
    """

    name: str
    period: Period
    nano_usd: int | None = None
    tokens: int | None = None
    requests: int | None = None
    since: int = field(default=0, compare=False)

    def __post_init__(self) -> None:
        if not 1 <= len(self.name) <= 200 or not self.name.isprintable():
            raise ValueError("a budget's name has 1 to 200 printable characters")
        for unit in UNITS:
            limit = getattr(self, unit)
            if limit is not None and not 0 <= limit <= MOST:
                raise ValueError(f"{unit} of budget {self.name} must be from 0 to {MOST}")

    def limit(self, unit: Unit) -> int | None:
        """Return the limit in *unit*, None where there is none."""
        limit: int | None = getattr(self, unit)
        return limit


class Row(NamedTuple):
    """One counter: a period of a budget, *start* in seconds since 1970 (0 for `lifetime`)."""

    budget: str
    period: str
    start: int


@dataclass(frozen=True, slots=True)
class Crossing:
    """What is spent has reached *level* percent (50, 80, 100) of a limit for the first time.

    100 is also reached when, with half spent, an ordinary call (no larger than all before) does not
    fit: the rest is of no use. Each is reported once per budget, unit and period, by the step that
    made it, in whichever process. *resets_at* is in seconds since 1970, None for `lifetime`.
    """

    budget: str
    unit: Unit
    level: int
    spent: int
    limit: int
    resets_at: int | None


Told = Callable[[tuple[Crossing, ...]], None]


@dataclass(frozen=True, slots=True)
class Reservation:
    """A hold of *amount* on each of *rows*; *expires_at* is in the store's own seconds.

    *crossings* are those made by expiring overdue reservations of others.
    """

    id: str
    rows: tuple[Row, ...]
    amount: Amount
    expires_at: float
    crossings: tuple[Crossing, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """One budget without room: *left* is what could still be held, 0 or more."""

    budget: str
    unit: Unit
    resets_at: int | None
    left: int


@dataclass(frozen=True, slots=True)
class Room:
    """The state of one budget in its present period.

    *start*, *end* and *now* are store time, in seconds since 1970; *end* is None for `lifetime`.
    """

    budget: Budget
    start: int
    end: int | None
    now: float
    spent: Amount
    held: Amount

    def left(self, unit: Unit) -> int | None:
        """Return what can still be held, 0 or more; None where there is no limit."""
        limit = self.budget.limit(unit)
        if limit is None:
            return None
        used: int = getattr(self.spent, unit) + getattr(self.held, unit)
        return max(0, limit - used)

    def fits(self, amount: Amount) -> bool:
        """Tell whether *amount* could be held just now."""
        used = self.spent + self.held + amount
        return all(
            limit is None or getattr(used, unit) <= limit
            for unit in UNITS
            for limit in (self.budget.limit(unit),)
        )


@dataclass(frozen=True, slots=True)
class Posting:
    """One line of the journal: *amount* was added to what is spent in *row*.

    `folded` stands for all postings of a day that were added up; *at* is then the day's start.
    """

    at: float
    row: Row
    kind: PostingKind
    amount: Amount
    reservation: str = ""
    reason: str = ""
    who: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that must not be in a ledger, in words; not *lasting*: they change with time."""

    what: str
    fix: str
    lasting: bool = True


class BudgetExhausted(RouterError):
    """At least one budget has no room; nothing was held on any.

    *refusals* holds all of them, the one that resets last first; *budget*, *unit*, *resets_at*
    (None for never) and *left* are its. *crossings* are those of reservations expired on the way,
    and of the refusal itself.
    """

    def __init__(self, refusals: Sequence[Refusal], crossings: tuple[Crossing, ...] = ()) -> None:
        never = float("inf")
        self.refusals = tuple(
            sorted(refusals, key=lambda one: -(never if one.resets_at is None else one.resets_at))
        )
        self.crossings = crossings
        first = self.refusals[0]
        self.budget = first.budget
        self.unit = first.unit
        self.resets_at = first.resets_at
        self.left = first.left
        super().__init__(f"budget {self.budget} has no room left ({self.unit}: {self.left})")


class LedgerUnavailable(RouterError):
    """The store did not answer, or not within its time; nothing may be spent meanwhile.

    *reason* is for the operator's log. It carries no credentials.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class LedgerUnfit(LedgerUnavailable):
    """The store cannot hold a budget until an operator acts; *reason* says what to do."""


class UnknownBudget(LookupError):
    """A budget that was never defined in this store."""


class Ledger(Protocol):
    """One store of budgets, shared by all processes that name it.

    Every method but `settle` and `release` raises `LedgerUnavailable` when the store is away.
    """

    async def start(self) -> None:
        """Check that the store can hold. Raises `LedgerUnfit` with what to do."""

    async def define(self, budgets: Sequence[Budget]) -> tuple[Budget, ...]:
        """Set limits and periods, and leave counters alone; an older word changes nothing.

        Returns the definitions that stand against an older word (`since`) and differ from it.
        """

    async def reserve(
        self, names: Sequence[str], amount: Amount, ttl_s: float, *, note: str = ""
    ) -> Reservation:
        """Hold *amount* on all named budgets, or on none, for *ttl_s* seconds.

        *note* is kept with the reservation for the operator, such as the price it was made at.
        Without names nothing is asked of the store.

        Raises:
            BudgetExhausted: somewhere it does not fit.
            UnknownBudget: a name was not defined.
        """

    async def settle(self, reservation: Reservation, actual: Amount) -> tuple[Crossing, ...]:
        """Book *actual*, in full even where it is more than was held, and end the reservation.

        After expiry it corrects the books; after a settlement or a release it changes nothing. It
        does not raise for a store that is away: the outcome is kept and booked when the store is
        back, and if this process ends before, the hold counts as spent.
        """

    async def release(self, reservation: Reservation) -> None:
        """Give the hold back, because nothing was sent. As `settle`, it does not raise."""

    def book(self, reservation: Reservation, actual: Amount | None, told: Told) -> None:
        """Do as `settle`, or for None as `release`, with nobody waiting: queued on return.

        Every later step of this event loop comes after it; *told* hears the levels reached.
        """

    async def sweep(self) -> tuple[Crossing, ...]:
        """Expire what is overdue, as `reserve` does; also tell levels reached by late outcomes."""

    async def rooms(self, names: Sequence[str] | None = None) -> list[Room]:
        """Return the state of the named budgets, in that order, or of all by name.

        Raises:
            UnknownBudget: a name was not defined.
        """

    async def adjust(
        self, name: str, amount: Amount, reason: str, who: str
    ) -> tuple[Crossing, ...]:
        """Add *amount*, which may be negative, to what is spent in the present period.

        Raises:
            UnknownBudget: the name was not defined.
            ValueError: less than nothing would be spent, or more than `MOST`.
        """

    async def check(self) -> list[Finding]:
        """Hold the counters against the journal and the open reservations."""

    async def accept(self, reason: str, who: str, shown: Sequence[Finding] | None = None) -> None:
        """Make counters the sum of the journal, and the store's clock the wall clock.

        Raises `ValueError`, and changes nothing, if it finds something else than was *shown*.
        """

    async def fold(self, before: float) -> int:
        """Add postings made before *before* (seconds since 1970) up by day; return how many.

        Also forgets reservations that ended before, and merges counters of minutes and hours.
        """

    async def postings(
        self, *, budget: str | None = None, since: float = 0.0, limit: int = 1000
    ) -> list[Posting]:
        """Return *limit* lines made at or after *since* at most, the newest first, folded last."""

    async def close(self) -> None:
        """Book what is still owed, as far as the store answers, and let go of it."""
