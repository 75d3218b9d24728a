"""Who is out in this process: a `Watcher` of every attempt, and what a request sees of it.

Each endpoint has a `Case` (`_ejections`). A request's `View` asks it whether a candidate may be
picked; `before` lets a single request through where one is tried out, so that two requests that
picked the same sick endpoint do not both call it.
"""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from plugins._attempt import Attempt, Outcome
from plugins._cases import Cases
from plugins._ejections import Case
from plugins._errors import Fault, ProviderFault, TurnedDown
from plugins._health_log import tell
from plugins._health_rules import Settings
from plugins._panic import Panic
from plugins._plan import Plan
from plugins._pool import Candidate
from plugins._recent import Recent, Stats
from plugins._said import Said
from plugins._standing import Standing

__all__ = ["Health", "View"]

Listener = Callable[[str, "Standing | None"], None]
Pool = Mapping[str, Sequence[Candidate]]


class Health:
    """The endpoints of one process; *clock* gives seconds since 1970.

    `on_change` is told every change but that of an end; `on_own_change` what was found or said here
    and others should hear of. None means that the endpoint is simply fine. *ahead_s* says how far
    the clock that all processes share is ahead of this one.
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
        self.ahead_s: Callable[[], float] = lambda: 0.0
        self._cases = Cases(
            lambda key: Case(key, self.settings.rules, draw, self.me, lambda: self.ahead_s())
        )
        self._recent: dict[str, Recent] = {}
        self._trials: dict[str, str] = {}  # endpoint key → the request that tries it
        self._version = 0
        self.use(pool, self.settings)

    def use(self, pool: Pool, settings: Settings) -> None:
        """Watch the endpoints of *pool*; what was said of any other is kept."""
        self._pool, self.settings = pool, settings
        self._names: dict[str, list[str]] = {}
        for one in (one for group in pool.values() for one in group if one.off is None):
            self._names.setdefault(one.endpoint.key, []).append(one.id)
        self._cases.use(self._names, settings.rules)
        self._recent = {key: self._recent.get(key) or Recent() for key in self._names}
        self._panic = Panic(pool, self.cases, settings.panic_share)

    @property
    def cases(self) -> dict[str, Case]:
        """The cases of the endpoints of the file in force."""
        return self._cases.here

    # -- what is known

    def standing(self, key: str, now: float | None = None) -> Standing | None:
        """Return what is known about the endpoint, None if it is simply fine."""
        case = self._cases.get(key)
        return None if case is None else self._see(case, self._now(now))

    def said(self, key: str) -> Said:
        """Return all that was said of the endpoint; its times are by the shared clock."""
        case = self._cases.get(key)
        return Said() if case is None else case.voice.said

    def spoken_of(self) -> list[str]:
        """Return the keys of all endpoints of which something was said."""
        return [key for key, case in self._cases.all().items() if case.voice.said.stamp]

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
        at = self._now(now)
        return [key for key, case in self.cases.items() if case.standing and case.wants_probe(at)]

    # -- what happens

    async def before(self, attempt: Attempt) -> None:
        """Let the call through, or one request of several where a sick endpoint is tried.

        Raises:
            TurnedDown: it is out, and no trial is free.
        """
        key = attempt.candidate.endpoint.key
        case = self._cases.get(key)
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
        needed = self._is_needed(case, attempt.candidate, now, last=attempt.in_need)
        if needed and standing.kind != "resting":
            return
        if not case.may_try(now, last=needed or attempt.in_need):
            raise TurnedDown("health", f"{standing.words()}; another request is trying it")
        case.take_trial(now, case.trial_s(self._usual_s(key)))
        self._trials[key] = attempt.request_id

    async def after(self, attempt: Attempt, outcome: Outcome) -> None:
        """Take the outcome into account."""
        key = attempt.candidate.endpoint.key
        case = self._cases.get(key)
        fault = outcome.fault
        if case is None:
            return
        now, recent = self.clock(), self._recent.setdefault(key, Recent())
        trial = bool(self._trials) and self._trials.get(key) == attempt.request_id
        if fault is not None and fault.fault in (Fault.CANCELLED, Fault.TOO_LONG):
            if trial:  # it told nothing: another may try instead
                del self._trials[key]
                case.undo_trial(now, made=outcome.sent)
            return
        counts = trial or fault is None or fault.fault is not Fault.TIMEOUT
        # A failure may be the request's, which had too little time left.
        counts = counts or recent.is_too_long(
            outcome.seconds, attempt.candidate.attempt_timeout_s(attempt.tokens)
        )
        recent.note(ok=fault is None, seconds=outcome.seconds, now=now)
        if not counts or not self.settings.enabled:
            return
        before = case.standing and self._see(case, now)
        case.note(fault, began=now - outcome.seconds, now=now, trial=trial)
        self._changed(case, before, fault)

    def probe_result(
        self, key: str, ok: bool, fault: ProviderFault | None = None, *, free: bool = False
    ) -> None:
        """Take a probe's result into account.

        *free* is a signal that shows no vectors, such as a list of models; see `Case.probe`.
        """
        case = self._cases.get(key)
        if case is None:
            return
        if not ok and fault is None:
            fault = ProviderFault(Fault.SERVER, "the probe failed")
        failed = None if ok else fault
        self._do(case, lambda now: case.probe(failed, now, free=free), fault)

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
        case = self._cases.open(key)
        self._do(case, lambda now: case.close(kind, reason, now, by=by, for_s=for_s))

    def clear(self, key: str, by: str = "operator") -> None:
        """Bring the endpoint back, with a slow start; parity lifts only its own quarantine."""
        case = self._cases.get(key)
        if case is not None:
            self._do(case, lambda now: case.clear(now, by=by))

    def merge(self, key: str, said: Said) -> None:
        """Join what another process said of an endpoint with what is known here."""
        if said.stamp:
            case = self._cases.open(key)
            self._do(case, lambda now: case.merge(said, now))

    def why_out(self, candidate: Candidate, now: float, *, last: bool) -> str | None:
        """Return why a request goes past *candidate*, or None if it may call it.

        *last* is for a request that nobody else is left for.
        """
        key = candidate.endpoint.key
        case = self._cases.get(key)
        standing = None if case is None or case.standing is None else self._see(case, now)
        if case is None or standing is None or not standing.is_out:
            return self.unproven(candidate)
        if standing.is_closed:
            return standing.words()
        # The least bad are used where too many are out; one that was told to rest, now and then.
        needed = self._is_needed(case, candidate, now, last=last)
        if (needed and standing.kind != "resting") or case.may_try(now, last=last or needed):
            return self.unproven(candidate)
        return standing.words()

    def barred(self, candidate: Candidate) -> str | None:
        """Return why nothing that *candidate* has just given may be handed out, or None."""
        case = self._cases.get(candidate.endpoint.key)
        standing = None if case is None else case.standing
        if standing is not None and standing.kind == "quarantined":
            return standing.words()
        return self.unproven(candidate)

    # -- inside

    def _is_needed(self, case: Case, candidate: Candidate, now: float, *, last: bool) -> bool:
        """Tell whether one that is only busy or slow is used, for want of others."""
        return case.is_overloaded(now) and (
            last or case.key in self._panic.let_in(candidate.group, now, self._version)
        )

    def _usual_s(self, key: str) -> float | None:
        recent = self._recent.get(key)
        return None if recent is None else recent.p95_s()

    def trial_s(self, key: str) -> float | None:
        """Return how long a call may take that tries a sick endpoint, None for a usual one."""
        case = self._cases.get(key)
        standing = None if case is None else case.standing
        if case is None or standing is None or standing.kind != "ejected":
            return None
        if case.is_overloaded(self.clock()):  # in use, because too many are out
            return None
        return case.trial_s(self._usual_s(key))

    def _now(self, now: float | None) -> float:
        return self.clock() if now is None else now

    def _do(
        self, case: Case, act: Callable[[float], None], fault: ProviderFault | None = None
    ) -> None:
        now = self.clock()
        before = self._see(case, now)
        act(now)
        self._changed(case, before, fault)

    def _see(self, case: Case, now: float) -> Standing | None:
        before = case.standing
        after = case.at(now)
        if after is not before:
            self._changed(case, before)
        return after

    def _changed(
        self, case: Case, before: Standing | None, fault: ProviderFault | None = None
    ) -> None:
        after, news = case.standing, case.voice.has_news
        case.voice.has_news = False
        if after is not before:
            self._version += 1
            if after is None or not after.is_out:
                self._trials.pop(case.key, None)
            if case.key in self._names:
                tell(self.names(case.key), before, after, fault)
            if not (before and after and (before.kind, before.since) == (after.kind, after.since)):
                for listener in self.on_change:
                    listener(case.key, after)
        if news:
            for listener in self.on_own_change:
                listener(case.key, after)


class View:
    """What one request sees: the answers for its `Plan`, each at the time of the question."""

    __slots__ = ("_health",)

    def __init__(self, health: Health) -> None:
        self._health = health

    def onto(self, plan: Plan) -> None:
        """Let *plan* ask this view."""
        health, clock, cases = self._health, self._health.clock, self._health.cases

        def share(candidate: Candidate) -> float:
            case = cases.get(candidate.endpoint.key)
            return 1.0 if case is None or case.standing is None else case.factor(clock())

        def wait_s(candidate: Candidate) -> float:
            case = cases.get(candidate.endpoint.key)
            return 0.0 if case is None else case.wait_s(clock())

        plan.out = lambda one: health.why_out(one, clock(), last=False)
        plan.last = lambda one: health.why_out(one, clock(), last=True)
        plan.patience_s = lambda one: health.trial_s(one.endpoint.key)
        plan.share, plan.wait_s, plan.barred = share, wait_s, health.barred
