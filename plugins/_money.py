"""Money around each attempt: held before the wire call, booked, given back or left to expire after.

A `Watcher` over the ledger. The worst case of a call is reserved on every budget that it touches in
one step: the deployment's account, the model group, the client's key, team and user, and the
quotas. What a budget of ours refuses sends the request to the next deployment; what a budget of the
client's refuses ends it.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

from plugins._alerts import alert, amount, iso
from plugins._attempt import Attempt, Outcome
from plugins._errors import ProviderFault, TurnedDown, Unavailable
from plugins._ledger import (
    Amount,
    Budget,
    BudgetExhausted,
    Ledger,
    LedgerUnavailable,
    Refusal,
    Reservation,
    UnknownBudget,
)
from plugins._pool import Candidate

__all__ = ["Money", "worst_case"]

log = logging.getLogger("qwen3_router.money")

_TTL_SLACK_S = 5.0
# How long a refusal is believed without asking again: long enough to spare a full budget the
# asking, short enough that a correction or a new period is seen at once.
_REMEMBER_S = 1.0
_TELL_EVERY_S = 10.0
_SHOWN = 10  # names in one line of the log
_KEEP_S = 7 * 86_400.0  # postings one by one; then only the sum of each day


def worst_case(candidate: Candidate, inputs: int, tokens: int) -> Amount:
    """Return the most that a call with *tokens* (ours, end tokens included) may be billed.

    A server whose tokenizer differs in version, or that adds a token of its own, counts a little
    more: two per cent and a token an input. What it bills beyond that is still booked in full.
    """
    most = tokens + inputs + tokens // 50
    return Amount(candidate.cost_nano_usd(most), most, 1)


class Money:
    """The ledger's side of every attempt of one process; *clock* is monotonic seconds."""

    def __init__(self, ledger: Ledger, clock: Callable[[], float]) -> None:
        self.ledger = ledger
        self._clock = clock
        # By the id of the attempt, which is kept too: the id of one that is gone comes again.
        self._open: dict[int, tuple[Attempt, Reservation]] = {}
        self._words: dict[str, Budget] = {}  # the newest that this process has heard of a name
        self._in_store: dict[str, Budget] = {}
        self._declared: tuple[Budget, ...] = ()
        self._overruled = 0  # by a file of this age
        self._full: dict[str, tuple[Refusal, float]] = {}
        self._told: dict[str, float] = {}

    @property
    def open_count(self) -> int:
        """How many calls hold money now."""
        return len(self._open)

    async def define(self, budgets: Iterable[Budget]) -> None:
        """Make *budgets* known to the store, those that it has not been told yet.

        An older word than the newest is not passed on: neither that of a request which began under
        an earlier configuration, nor one of another process that has read a newer file.
        """
        words = [self._newest(one) for one in budgets]
        new = [one for one in words if self._in_store.get(one.name) is not one]
        if new:
            await self._define(new)

    async def follow(self, budgets: Sequence[Budget]) -> None:
        """Put the limits of a new configuration in force; those of `key:*` follow when met.

        Where the store is away, it is told when it is back, before anything is held.
        """
        self.use(budgets)
        await self.tell()

    def use(self, budgets: Sequence[Budget]) -> None:
        """Take *budgets* for what the file says; the store is told later."""
        self._declared = tuple(budgets)
        self._words.update((one.name, one) for one in budgets)
        self._in_store.clear()
        self._full.clear()

    async def tell(self) -> None:
        """Tell the store the limits of the file again: it may have lost them, or been away."""
        with contextlib.suppress(LedgerUnavailable):  # who asks for money tells so
            await self._define(self._declared)

    def _newest(self, budget: Budget) -> Budget:
        known = self._words.get(budget.name)
        if known is None or budget.since > known.since:
            self._words[budget.name] = known = budget
        return known

    async def _define(self, budgets: Sequence[Budget]) -> None:
        newer = await self.ledger.define(budgets) if budgets else ()
        for one in (*budgets, *newer):
            if self._newest(one) is one:
                self._in_store[one.name] = one
        latest = max((one.since for one in newer), default=0)
        ours = max((one.since for one in budgets), default=0)
        if latest > self._overruled and ours:  # a command's words have no age
            self._overruled = latest
            log.warning(
                "limits stay as a newer config file has them, which another process has read "
                "(changed %s, ours %s): %s; bring the newest file here, or touch ours and run: "
                "qwen3-router reload",
                iso(latest / 1e9),
                iso(ours / 1e9),
                ", ".join(sorted(one.name for one in newer)[:_SHOWN]),
            )

    def no_room(
        self, candidate: Candidate, inputs: int, tokens: int, besides: tuple[Budget, ...] = ()
    ) -> str | None:
        """Return which budget of *candidate*, or *besides*, is known to be too full for a call."""
        if not self._full:
            return None
        need = worst_case(candidate, inputs, tokens)
        for budget in (*candidate.budgets, *besides):
            refusal = self._known(budget.name, need)
            if refusal is not None:
                self._tell(candidate, refusal)
                return f"budget {refusal.budget} has no room"
        return None

    async def take(self, budgets: Sequence[Budget], used: Amount) -> None:
        """Count *used* against the client's quotas, once per request.

        Raises:
            Unavailable: 429 `rate_limited`, with the time until the quota starts again.
        """
        if not budgets:
            return
        try:
            held = await self._hold(budgets, used, _TTL_SLACK_S)
            alert(held.crossings)
            self.ledger.book(held, used, alert)
        except BudgetExhausted as error:
            alert(error.crossings)
            wait_s = (
                60 if error.resets_at is None else error.resets_at - datetime.now(UTC).timestamp()
            )
            raise Unavailable(
                429,
                "rate_limited",
                "The rate limit of this key is reached.",
                retry_after_s=max(1, round(wait_s)),
            ) from None
        except LedgerUnavailable as error:
            # Every deployment that costs money is refused by the attempt; own servers go on.
            log.warning("quota not counted: the ledger is not available: %s", error.reason)

    async def before(self, attempt: Attempt) -> None:
        """Hold the worst case of *attempt*.

        Raises:
            TurnedDown: a budget of the deployment, or of the fallback group that it is from, has
                no room; or the ledger is away.
            Unavailable: 429 `budget_exceeded`, a budget of the client or of the group that it
                asked is used up.
        """
        candidate = attempt.candidate
        budgets = (*candidate.budgets, *attempt.besides, *attempt.budgets)
        if not budgets:
            return
        most = worst_case(candidate, attempt.inputs, attempt.tokens)
        if self._full:
            found = (self._known(one.name, most) for one in budgets)
            known = [refusal for refusal in found if refusal is not None]
            if known:
                raise self._refused(attempt, known)
        try:
            reservation = await self._hold(
                budgets,
                most,
                candidate.attempt_timeout_s(attempt.tokens) + _TTL_SLACK_S,
                note=f"{attempt.request_id} at {candidate.usd_per_million_tokens} USD/1M",
            )
        except BudgetExhausted as error:
            alert(error.crossings)
            until = self._clock() + _REMEMBER_S
            for refusal in error.refusals:
                self._full[refusal.budget] = (refusal, until)
            raise self._refused(attempt, error.refusals) from None
        except LedgerUnavailable as error:
            if candidate.is_free:
                log.warning(
                    "deployment %s goes on without the ledger: %s", candidate.id, error.reason
                )
                return
            raise TurnedDown("ledger", error.reason) from None
        alert(reservation.crossings)
        self._open[id(attempt)] = (attempt, reservation)

    async def after(self, attempt: Attempt, outcome: Outcome) -> None:
        """Book what the attempt cost, give the hold back, or leave it to count as spent.

        Nobody waits for the disk: what a client is told does not depend on the booking, and until
        that is done all of the hold counts, as it does for good if this process ends before.
        """
        _, reservation = self._open.pop(id(attempt), (None, None))
        if reservation is None:
            return
        for row in reservation.rows:  # what is given back may make room again
            self._full.pop(row.budget, None)
        self._close(reservation, attempt, outcome)

    async def sweep(self) -> None:
        """Count what is overdue as spent, also where no request comes that would do so."""
        with contextlib.suppress(LedgerUnavailable):  # who asks for money tells so
            alert(await self.ledger.sweep())

    async def fold(self, wall_s: float | None = None) -> None:
        """Add postings older than a week up by day, so that the store stays small over years.

        *wall_s* is the time, by default the machine's.
        """
        now_s = datetime.now(UTC).timestamp() if wall_s is None else wall_s
        with contextlib.suppress(LedgerUnavailable):
            folded = await self.ledger.fold(now_s - _KEEP_S)
            log.info("%d postings of the ledger were added up by day", folded)

    async def _hold(
        self, budgets: Sequence[Budget], most: Amount, ttl_s: float, note: str = ""
    ) -> Reservation:
        names = [one.name for one in budgets]
        await self.define(budgets)
        try:
            return await self.ledger.reserve(names, most, ttl_s, note=note)
        except UnknownBudget:  # the store lost its data since, and an operator accepted that
            await self._define([self._newest(one) for one in budgets])
            return await self.ledger.reserve(names, most, ttl_s, note=note)

    def _close(self, reservation: Reservation, attempt: Attempt, outcome: Outcome) -> None:
        fault = outcome.fault
        if fault is None:
            actual = Amount(outcome.cost_nano_usd, outcome.prompt_tokens, 1)
            self.ledger.book(reservation, actual, alert)
        elif not outcome.sent:
            self.ledger.book(reservation, None, alert)
        elif _refused_unbilled(fault):
            self.ledger.book(reservation, Amount(0, 0, 1), alert)
        else:
            log.warning(
                "outcome unknown: deployment=%s request=%s: up to %s USD and %d tokens "
                "count as spent",
                attempt.candidate.id,
                attempt.request_id,
                amount("nano_usd", reservation.amount.nano_usd),
                reservation.amount.tokens,
            )

    def _known(self, budget: str, need: Amount) -> Refusal | None:
        """Return the last refusal of *budget*, while it is fresh and *need* is beyond its rest."""
        found = self._full.get(budget)
        if found is None:
            return None
        refusal, until = found
        if self._clock() >= until:
            del self._full[budget]
            return None
        return refusal if getattr(need, refusal.unit) > refusal.left else None

    def _refused(self, attempt: Attempt, refusals: Sequence[Refusal]) -> TurnedDown | Unavailable:
        clients = {one.name for one in attempt.budgets}
        for refusal in refusals:
            if refusal.budget in clients:
                return exceeded(refusal)
        self._tell(attempt.candidate, refusals[0])
        return TurnedDown("budget", f"budget {refusals[0].budget} has no room")

    def _tell(self, candidate: Candidate, refusal: Refusal) -> None:
        """Log, at most once in ten seconds for each, that a deployment is passed over."""
        now = self._clock()
        if now - self._told.get(candidate.id, -_TELL_EVERY_S) >= _TELL_EVERY_S:
            self._told[candidate.id] = now
            log.warning(
                "deployment %s is passed over: budget %s has no room (%s left: %s)",
                candidate.id,
                refusal.budget,
                "USD" if refusal.unit == "nano_usd" else refusal.unit,
                amount(refusal.unit, refusal.left),
            )


def exceeded(refusal: Refusal) -> Unavailable:
    """Return the answer for a client whose own budget is used up; a retry would not help."""
    kind = refusal.budget.partition(":")[0]
    whose = {"key": "this key", "team": "this team", "user": "this user"}.get(kind, "this model")
    if refusal.resets_at is None:
        when = "It does not start again by itself."
    else:
        when = f"It starts again at {iso(refusal.resets_at)}."
    return Unavailable(
        429,
        "budget_exceeded",
        f"The budget of {whose} has no room for this request. {when}",
        resets_at=refusal.resets_at,
    )


def _refused_unbilled(fault: ProviderFault) -> bool:
    """Tell whether the provider's own status says that it did no work (a 4xx)."""
    return fault.status is not None and 400 <= fault.status < 500 and fault.status != 408
