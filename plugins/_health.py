"""Who is out in this process: a `Watcher` of every attempt, and what a request sees of it.

Each endpoint has a `Case` (`_ejections`). A request's `View` asks it whether a candidate may be
picked; `before` lets a single request through where one is tried out, so that two requests that
picked the same sick endpoint do not both call it.
"""

from __future__ import annotations

import logging
import os
import random
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from plugins._attempt import Attempt, Outcome
from plugins._ejections import Case
from plugins._errors import Fault, ProviderFault, TurnedDown
from plugins._health_log import tell
from plugins._health_rules import Settings
from plugins._panic import Panic
from plugins._plan import Plan
from plugins._pool import Candidate
from plugins._recent import Recent, Stats
from plugins._standing import Standing

__all__ = ["Health", "View"]

log = logging.getLogger("qwen3_router.health")

Listener = Callable[[str, "Standing | None"], None]
Pool = Mapping[str, Sequence[Candidate]]

# A call that was given less than its own time says something only if a good one had ended by then.
_FULL = 0.9
_CUT_S = 0.5


class Health:
    """The endpoints of one process; *clock* gives seconds since 1970.

    `on_change` is told every change of a standing, `on_own_change` only those that were found
    here and that other processes should hear of. None means that the endpoint is simply fine.
    """

    def __init__(
        self,
        pool: Pool,
        settings: Settings | None = None,
        *,
        clock: Callable[[], float] = time.time,
        draw: Callable[[], float] = random.random,
        me: str | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self.me = me or f"{socket.gethostname()}:{os.getpid()}"
        self.on_change: list[Listener] = []
        self.on_own_change: list[Listener] = []
        # Why parity keeps a candidate out that nobody has proven yet; parity sets it.
        self.unproven: Callable[[Candidate], str | None] = lambda _: None
        self.clock = clock
        self._draw = draw
        self.cases: dict[str, Case] = {}
        self._recent: dict[str, Recent] = {}
        self._trials: dict[str, str] = {}  # endpoint key → the request that tries it
        self._version = 0
        self.use(pool, self.settings)

    def use(self, pool: Pool, settings: Settings) -> None:
        """Watch the endpoints of *pool*; what is known of those that stay is kept."""
        self._pool, self.settings = pool, settings
        self._names: dict[str, list[str]] = {}
        for one in (one for group in pool.values() for one in group if one.off is None):
            self._names.setdefault(one.endpoint.key, []).append(one.id)
        known, recent = self.cases, self._recent
        self.cases = {
            key: known.get(key) or Case(key, settings.rules, self._draw, self.me)
            for key in self._names
        }
        for case in self.cases.values():
            case.rules = settings.rules
        self._recent = {key: recent.get(key) or Recent() for key in self._names}
        self._panic = Panic(pool, self.cases, settings.panic_share)

    # -- what is known

    def standing(self, key: str, now: float | None = None) -> Standing | None:
        """Return what is known about the endpoint, None if it is simply fine."""
        case = self.cases.get(key)
        return None if case is None else self._see(case, self._now(now))

    def standings(self, now: float | None = None) -> dict[str, Standing]:
        """Return everybody that is not simply fine, by endpoint key."""
        now = self._now(now)
        found = {key: self._see(case, now) for key, case in self.cases.items() if case.standing}
        return {key: standing for key, standing in found.items() if standing is not None}

    def stats(self, key: str) -> Stats:
        """Return success rate and latency of the endpoint's last calls."""
        return self._recent.get(key, Recent()).stats()

    def names(self, key: str) -> str:
        """Return the deployments of the endpoint, as a log line names them."""
        return ",".join(self._names.get(key, [key]))

    def view(self, groups: Sequence[Sequence[Candidate]] = (), now: float | None = None) -> View:
        """Return what a request over *groups* sees; it looks at the time of each question."""
        return View(self)

    def has_anybody(self, group: str, now: float | None = None) -> bool:
        """Tell whether a request to *group* would call somebody, be it only to try them."""
        now = self._now(now)
        return any(
            one.off is None and one.weight > 0 and self.why_out(one, now, last=False) is None
            for one in self._pool.get(group, ())
        )

    def why_none(self, candidates: Iterable[Candidate]) -> str | None:
        """Return why none of *candidates* is in service, or None if one is."""
        reasons = []
        for one in candidates:
            standing = self.standing(one.endpoint.key)
            why = standing.words() if standing and standing.is_out else self.unproven(one)
            if one.off is None and why is None:
                return None
            reasons.append(one.off or why or "")
        return "; ".join(dict.fromkeys(reasons)) or None

    def due(self, now: float | None = None) -> list[str]:
        """Return the keys of the endpoints that a probe could bring back now."""
        now = self._now(now)
        return [key for key, case in self.cases.items() if case.standing and case.wants_probe(now)]

    # -- what happens

    async def before(self, attempt: Attempt) -> None:
        """Let the call through, or one request of several where a sick endpoint is tried.

        Raises:
            TurnedDown: it is out, and no trial is free.
        """
        key = attempt.candidate.endpoint.key
        case = self.cases.get(key)
        if case is None or case.standing is None:
            return
        now = self.clock()
        standing = self._see(case, now)
        if standing is None or not standing.is_out:
            return
        if standing.is_closed:
            raise TurnedDown("health", standing.words())
        if self._trials.get(key) == attempt.request_id:
            return  # a further part of the request that tries it
        if case.is_overloaded(now) and standing.kind != "resting":
            return  # the view has decided that it is needed
        if not case.may_try(now, last=True):
            raise TurnedDown("health", f"{standing.words()}; another request is trying it")
        case.take_trial(now, case.trial_s(self._recent[key].p95_s()))
        self._trials[key] = attempt.request_id

    async def after(self, attempt: Attempt, outcome: Outcome) -> None:
        """Take the outcome into account."""
        key = attempt.candidate.endpoint.key
        case = self.cases.get(key)
        fault = outcome.fault
        if case is None or (fault is not None and fault.fault in (Fault.CANCELLED, Fault.TOO_LONG)):
            return
        now, recent = self.clock(), self._recent[key]
        trial = bool(self._trials) and self._trials.get(key) == attempt.request_id
        counts = trial or fault is None or self._counts(attempt, outcome, fault, recent)
        recent.note(ok=fault is None, seconds=outcome.seconds, now=now)
        if not counts or not self.settings.enabled:
            return
        before = case.standing and self._see(case, now)
        case.note(fault, began=now - outcome.seconds, now=now, trial=trial)
        self._changed(case, before, own=True, fault=fault)

    def _counts(
        self, attempt: Attempt, outcome: Outcome, fault: ProviderFault, recent: Recent
    ) -> bool:
        """Tell whether a failure is the endpoint's: a request may have had too little time left."""
        full_s = attempt.candidate.attempt_timeout_s(attempt.tokens)
        if fault.fault is not Fault.TIMEOUT or outcome.seconds >= _FULL * full_s:
            return True
        usual_s = recent.p95_s()
        return outcome.seconds >= (_CUT_S if usual_s is None else 2 * usual_s)

    def probe_result(
        self, key: str, ok: bool, fault: ProviderFault | None = None, *, free: bool = False
    ) -> None:
        """Take a probe's result into account.

        *free* is a signal that shows no vectors, such as a list of models; see `Case.probe`.
        """
        case = self.cases.get(key)
        if case is None:
            return
        now = self.clock()
        before = self._see(case, now)
        if not ok and fault is None:
            fault = ProviderFault(Fault.SERVER, "the probe failed")
        case.probe(None if ok else fault, now, free=free)
        self._changed(case, before, own=True, fault=fault)

    def quarantine(self, key: str, reason: str) -> None:
        """Take the endpoint out until parity or an operator brings it back."""
        self._close(key, "quarantined", reason, None, "parity")

    def eject(
        self,
        key: str,
        for_s: float | None = None,
        reason: str = "maintenance",
        drain: bool = False,
        by: str = "operator",
    ) -> None:
        """Take the endpoint out for *for_s* seconds, None for good; calls under way may end."""
        self._close(key, "drained" if drain else "ejected", reason, for_s, by)

    def _close(self, key: str, kind: str, reason: str, for_s: float | None, by: str) -> None:
        case = self.cases.get(key)
        if case is not None:
            now = self.clock()
            before = self._see(case, now)
            case.close(kind, reason, now, by=by, for_s=for_s)
            self._changed(case, before, own=True)

    def clear(self, key: str, by: str = "operator") -> None:
        """Bring the endpoint back, with a slow start; parity lifts only its own quarantine."""
        case = self.cases.get(key)
        if case is not None:
            now = self.clock()
            before = self._see(case, now)
            case.clear(now, by=by)
            self._changed(case, before, own=True)

    def merge(self, standings: Mapping[str, Standing | None] | Iterable[Standing]) -> None:
        """Take what other processes said, by endpoint key; None: they know of nothing any more."""
        if not isinstance(standings, Mapping):
            standings = {one.key: one for one in standings}
        now = self.clock()
        for key, standing in standings.items():
            case = self.cases.get(key)
            if case is not None:
                before = self._see(case, now)
                case.merge(standing, now)
                self._changed(case, before, own=False)

    def why_out(self, candidate: Candidate, now: float, *, last: bool) -> str | None:
        """Return why a request goes past *candidate*, or None if it may call it.

        *last* is for a request that nobody else is left for.
        """
        key = candidate.endpoint.key
        case = self.cases.get(key)
        standing = None if case is None or case.standing is None else self._see(case, now)
        if case is None or standing is None or not standing.is_out:
            return self.unproven(candidate)
        if standing.is_closed:
            return standing.words()
        # The least bad are used where too many are out; one that was told to rest, now and then.
        spared = case.is_overloaded(now) and (
            last or key in self._panic.let_in(candidate.group, now, self._version)
        )
        if spared and standing.kind != "resting":
            return self.unproven(candidate)
        if case.may_try(now, last=last or spared):
            return self.unproven(candidate)
        return standing.words()

    # -- inside

    def trial_s(self, key: str) -> float | None:
        """Return how long a call may take that tries a sick endpoint, None for a usual one."""
        case = self.cases.get(key)
        standing = None if case is None else case.standing
        if case is None or standing is None or standing.kind != "ejected":
            return None
        if case.is_overloaded(self.clock()):  # in use, because too many are out
            return None
        return case.trial_s(self._recent[key].p95_s())

    def _now(self, now: float | None) -> float:
        return self.clock() if now is None else now

    def _see(self, case: Case, now: float) -> Standing | None:
        before = case.standing
        after = case.at(now)
        if after is not before:
            mine = before is not None and before.by == self.me
            self._changed(case, before, own=mine)
        return after

    def _changed(
        self,
        case: Case,
        before: Standing | None,
        *,
        own: bool,
        fault: ProviderFault | None = None,
    ) -> None:
        after = case.standing
        if after is before:
            return
        self._version += 1
        if after is None or not after.is_out:
            self._trials.pop(case.key, None)
        tell(self.names(case.key), before, after, fault)
        for listener in [*self.on_change, *(self.on_own_change if own else ())]:
            listener(case.key, after)


class View:
    """What one request sees: the answers for its `Plan`, each at the time of the question."""

    __slots__ = ("_health",)

    def __init__(self, health: Health) -> None:
        self._health = health

    def onto(self, plan: Plan) -> None:
        """Let *plan* ask this view."""
        plan.out, plan.last, plan.share = self.out, self.last, self.share
        plan.patience_s, plan.wait_s = self.patience_s, self.wait_s

    def out(self, candidate: Candidate) -> str | None:
        """Return why health keeps *candidate* out of this request, or None."""
        return self._health.why_out(candidate, self._health.clock(), last=False)

    def last(self, candidate: Candidate) -> str | None:
        """Return the same, where nobody else is left."""
        return self._health.why_out(candidate, self._health.clock(), last=True)

    def share(self, candidate: Candidate) -> float:
        """Return which part of its weight *candidate* gets."""
        case = self._health.cases.get(candidate.endpoint.key)
        if case is None or case.standing is None:
            return 1.0
        return case.factor(self._health.clock())

    def patience_s(self, candidate: Candidate) -> float | None:
        """Return how long a call to *candidate* may take if it is a trial, else None."""
        return self._health.trial_s(candidate.endpoint.key)

    def wait_s(self, candidate: Candidate) -> float:
        """Return in how many seconds asking *candidate* may help."""
        case = self._health.cases.get(candidate.endpoint.key)
        return 0.0 if case is None else case.wait_s(self._health.clock())
