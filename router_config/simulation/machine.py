"""The router on a virtual clock: requests and their attempts as events in the order of time.

The pick, the plan, the health machine and the budgets' arithmetic are the proxy's own; only the
wire and the clock are played.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Coroutine, Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

from plugins._attempt import Attempt, Outcome
from plugins._budgets import quota_of_key
from plugins._errors import Fault, ProviderFault, TurnedDown
from plugins._health import Health
from plugins._health_rules import settings_of
from plugins._ledger import Amount, Budget, Refusal
from plugins._money import worst_case
from plugins._plan import Plan, split
from plugins._pool import Candidate, build
from router_config import Config
from router_config.simulation.books import Books
from router_config.simulation.figures import Figures
from router_config.simulation.plans import Plans
from router_config.simulation.scenario import Scenario, fault
from router_config.simulation.traffic import Request

__all__ = ["simulate"]

_PROBE_EVERY_S = 1.0
_PART = 0.5  # of the time left, while somebody else could still be asked; as the proxy does

_REMEMBERED = 100_000

# A request under way: it is resumed at the time that it gives.
_Run = Generator[float, None, None]


def simulate(
    config: Config,
    environ: Mapping[str, str],
    requests: Iterable[Request],
    scenario: Scenario,
    *,
    group: str,
    start: float,
    end: float,
    factor: int = 1,
    seed: int = 0,
) -> Figures:
    """Return what *requests* come to with *config* from *start* to *end*, seconds since 1970.

    *group* is asked by those that name none. Each request stands for *factor* of its kind: money
    and quotas count it that often.
    """
    machine = _Machine(config, environ, scenario, group, Figures(start, end, factor), seed)
    machine.play(requests)
    return machine.figures


class _Machine:
    def __init__(
        self,
        config: Config,
        environ: Mapping[str, str],
        scenario: Scenario,
        group: str,
        figures: Figures,
        seed: int,
    ) -> None:
        self.figures = figures
        self._config = config
        self._scenario = scenario
        self._pool = build(config, environ)
        self._now = figures.start
        self._random = random.Random(seed)
        self._books = Books()
        self._health = Health(
            self._pool,
            settings_of(config.health),
            clock=lambda: self._now,
            draw=self._random.random,
            me="simulation",
        )
        self._health.on_change.append(self._changed)
        self._by_key = {one.endpoint.key: one for members in self._pool.values() for one in members}
        self._ids_of: dict[str, list[str]] = {}
        for one in (one for members in self._pool.values() for one in members):
            self._ids_of.setdefault(one.endpoint.key, []).append(one.id)
        self._priced: dict[tuple[str, Any], Candidate] = {}
        self._worsts: dict[tuple[Any, int, int], Amount] = {}
        self._plans = Plans(config, self._pool, group, self._no_room, self._health.view())
        self._ids = count()

    def play(self, requests: Iterable[Request]) -> None:
        """Let *requests*, which are in the order of time, come in and end."""
        waiting: list[tuple[float, int, _Run]] = []
        probe_at = self.figures.start
        for request in requests:
            self._resume(waiting, request.at)
            while probe_at <= request.at:
                self._now = max(self._now, probe_at)
                probe_at = self._probe(probe_at, request.at)
            self._now = request.at
            self._step(waiting, self._request(request))
        self._resume(waiting, float("inf"))

    def _resume(self, waiting: list[tuple[float, int, _Run]], until: float) -> None:
        while waiting and waiting[0][0] <= until:
            self._now, _, run = heapq.heappop(waiting)
            self._step(waiting, run)

    def _step(self, waiting: list[tuple[float, int, _Run]], run: _Run) -> None:
        at = next(run, None)
        if at is not None:
            heapq.heappush(waiting, (at, next(self._ids), run))

    def _request(self, request: Request) -> _Run:
        figures, began = self.figures, self._now
        figures.requests += 1
        figures.inputs += len(request.counts)
        plan = self._plans.plan(request, str(figures.requests), self._now)
        code = "model_not_found"
        if plan is not None:
            code = self._quota(request, plan)
            if not code:
                code = yield from self._serve(plan)
        if code:
            figures.errors[code] += 1
        else:
            figures.answered += 1
            figures.spread.add(self._now - began)

    def _serve(self, plan: Plan) -> Generator[float, None, str]:
        """Ask one deployment after the other; return the error code, or "" if all is there."""
        while plan.missing():
            found = plan.next(self._random.random, self._now)
            if found is None:
                return plan.failure(self._now).code
            plan.begin(found)
            chunks = split(plan.counts, plan.missing(), found.max_inputs, found.max_tokens_per_call)
            slowest, done, made = 0.0, 0, 0
            failed: ProviderFault | TurnedDown | None = None
            ends: list[tuple[float, list[int]]] = []
            for i, chunk in enumerate(chunks):
                tokens = sum(plan.counts[j] for j in chunk)
                what = Attempt(
                    *(plan.id, found, None, plan.budgets, len(chunk), tokens),
                    besides=plan.besides(found),
                    in_need=plan.in_need,
                )
                held, refusals, no = self._hold(what)
                clients = {one.name for one in plan.budgets}
                if any(one.budget in clients for one in refusals):
                    return "budget_exceeded"
                if no is not None:
                    failed = failed or no
                    break
                plan.calls += 1
                made += 1
                begins = self._now + slowest * (i // max(1, found.endpoint.concurrency))
                taken, kind = self._call(plan, found, begins, tokens)
                slowest = max(slowest, taken)
                ends.append((begins + taken, chunk))
                failed = self._close(what, held, kind, taken) or failed
                if kind is None:
                    for j in chunk:
                        plan.take_piece(j, b"", found.id)
                    done += 1
                elif failed is not None:
                    break
            if ends:
                yield max(at for at, _ in ends)
            if isinstance(failed, TurnedDown):
                plan.turn_down(found, failed, made_calls=made > 0)
            elif failed is not None:
                plan.faults.append((found.id, failed))
        return ""

    def _call(
        self, plan: Plan, found: Candidate, at: float, tokens: int
    ) -> tuple[float, str | None]:
        limit_s = min(found.attempt_timeout_s(tokens), plan.left_s(self._now))
        patience_s = plan.patience_s(found)
        if patience_s is not None:
            limit_s = min(limit_s, patience_s)
        taken, kind = self._scenario.call(found, at, limit_s)
        part_s = plan.left_s(self._now) * _PART
        # Asked only where it matters, since it is a pick of its own.
        if taken > part_s and plan.has_other(self._now):
            return part_s, "hang"
        return taken, kind

    # -- money

    def _hold(self, what: Attempt) -> tuple[Any, list[Refusal], TurnedDown | None]:
        try:
            _now(self._health.before(what))
        except TurnedDown as no:
            return None, [], no
        candidate = self._at_price(what.candidate)
        budgets = (*candidate.budgets, *what.besides, *what.budgets)
        amount = self._worst(candidate, what.inputs, what.tokens)
        refusals = self._books.refused(budgets, amount, self._now)
        if refusals:
            full = TurnedDown("budget", f"budget {refusals[0].budget} has no room")
            unsent = ProviderFault(Fault.CANCELLED, "the call was not admitted", sent=False)
            _now(self._health.after(what, Outcome(unsent, 0, 0, False, 0.0)))
            return None, refusals, full
        return (amount, self._books.hold(budgets, amount, self._now)), [], None

    def _close(
        self, what: Attempt, held: Any, kind: str | None, taken: float
    ) -> ProviderFault | None:
        amount, counters = held
        candidate = self._at_price(what.candidate)
        failure = None if kind is None else fault(kind)
        cost = candidate.cost_nano_usd(what.tokens)
        of = self.figures.of(candidate.id)
        of.calls += 1
        if failure is None:
            actual = Amount(cost, what.tokens, 1)
            of.served += 1
            of.inputs += what.inputs
            of.tokens += what.tokens
            of.spread.add(taken)
            of.over_time[self.figures.bucket(self._now)] += what.inputs
        elif failure.sent and (failure.status is None or failure.status >= 500):
            # The outcome is unknown: all that was held counts as spent, as it does in the proxy.
            actual = worst_case(candidate, what.inputs, what.tokens)
        else:
            actual = Amount(0, 0, 1 if failure.sent else 0)
        if failure is not None:
            of.failed[failure.fault.value] += 1
        of.nano_usd += actual.nano_usd
        self.figures.spent_over_time[self.figures.bucket(self._now)] += actual.nano_usd
        self._books.close(counters, amount, self._times(actual))
        sent = failure is None or failure.sent
        outcome = Outcome(failure, what.tokens if sent else 0, cost if sent else 0, sent, taken)
        before, self._now = self._now, self._now + taken
        _now(self._health.after(what, outcome))
        self._now = before
        return failure

    def _worst(self, candidate: Candidate, inputs: int, tokens: int) -> Amount:
        key = (candidate.usd_per_million_tokens, inputs, tokens)
        found = self._worsts.get(key)
        if found is None:
            if len(self._worsts) >= _REMEMBERED:
                self._worsts.clear()
            found = self._worsts[key] = self._times(worst_case(candidate, inputs, tokens))
        return found

    def _times(self, amount: Amount) -> Amount:
        factor = self.figures.factor
        if factor == 1:
            return amount
        return Amount(amount.nano_usd * factor, amount.tokens * factor, amount.requests * factor)

    def _at_price(self, candidate: Candidate) -> Candidate:
        usd = self._scenario.usd(candidate, self._now) if self._scenario.prices else None
        if usd is None:
            return candidate
        found = self._priced.get((candidate.id, usd))
        if found is None:
            found = replace(candidate, usd_per_million_tokens=usd)
            self._priced[candidate.id, usd] = found
        return found

    def _quota(self, request: Request, plan: Plan) -> str:
        """Count the request against the quotas of its key; return the error code, or ""."""
        key = self._config.keys.get(request.key or "")
        rows = quota_of_key(key) if key is not None else ()
        if not rows:
            return ""
        amount = self._times(Amount(tokens=sum(plan.counts), requests=1))
        if self._books.refused(rows, amount, self._now):
            return "rate_limited"
        self._books.close(self._books.hold(rows, amount, self._now), amount, amount)
        return ""

    # -- the rest of what a request needs

    def _no_room(
        self, candidate: Candidate, inputs: int, tokens: int, besides: tuple[Budget, ...]
    ) -> str | None:
        budgets = (*candidate.budgets, *besides)
        if not budgets:
            return None
        amount = self._worst(self._at_price(candidate), inputs, tokens)
        refusals: Sequence[Refusal] = self._books.refused(budgets, amount, self._now)
        return f"budget {refusals[0].budget} has no room" if refusals else None

    # -- health

    def _probe(self, at: float, until: float) -> float:
        """Ask the sick that are due, as the proxy's prober does; return when to look again."""
        if not any(case.standing for case in self._health.cases.values()):
            return until + _PROBE_EVERY_S
        for key in self._health.due(at):
            candidate = self._by_key[key]
            _, kind = self._scenario.call(candidate, at, candidate.attempt_timeout_s(1))
            failure = None if kind is None else fault(kind)
            self._health.probe_result(key, failure is None, failure)
        return at + _PROBE_EVERY_S

    def _changed(self, key: str, standing: Any) -> None:
        if standing is not None and standing.is_out:
            for id_ in self._ids_of[key]:
                self.figures.ejections[id_] += 1


def _now(work: Coroutine[Any, Any, None]) -> None:
    """Run *work*, which waits for nothing."""
    try:
        work.send(None)
    except StopIteration:
        return
    work.close()
    raise RuntimeError("it had to wait")
