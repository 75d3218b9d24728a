"""When an endpoint leaves and when it comes back: a state machine with clock and chance passed in.

    fine ──three failures in a row, or half of ten──▶ ejected ──its time is over──▶ half open
      ▲                                                  ▲                             │
      └── returning: slow start ◀── two successes ───────┼─────────────────────────────┤
                                                         └── a failure: twice as long ◀┘

A refused key, an empty account, an unknown model or a refused field eject after the second time and
until a probe or an operator says otherwise. A 429 rests for as long as was told. All times are
seconds since 1970, so that a `Standing` means the same to every process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from plugins._errors import Fault, ProviderFault
from plugins._health_rules import Rules
from plugins._standing import Standing
from plugins._trials import EVERY_S, Trials
from plugins._window import Window

__all__ = ["LASTING", "Case", "Rules", "Standing"]

LASTING = frozenset({Fault.AUTH, Fault.PAYMENT, Fault.MODEL, Fault.DIALECT})
# Says nothing about the endpoint: the client left, or sent more than it takes.
_UNTOLD = frozenset({Fault.CANCELLED, Fault.TOO_LONG})
_PROBE_AT_MOST_EVERY_S = 60.0
_LEAST_FACTOR = 0.1


class Case:
    """One endpoint's course; *me* is the name that its own standings carry.

    What began before the last change of state is ignored: calls that were under way when an
    endpoint left count neither against it once more nor against its return.
    """

    def __init__(self, key: str, rules: Rules, draw: Callable[[], float], me: str) -> None:
        self.key = key
        self.standing: Standing | None = None
        self.strikes = 0
        self.next_probe = 0.0
        # Whether it served somebody shortly before it left: slow then, not dead.
        self.slow = False
        self._rules = rules
        self._draw = draw
        self._me = me
        self._changed = float("-inf")
        self._returned = float("-inf")
        self._served = float("-inf")
        self._trials = Trials(rules)
        self._seen = float("-inf")
        self._row = self._lasting = self._rests = self._proofs = 0
        self._proved = 0.0
        self._window = Window(rules.window_s)

    @property
    def rules(self) -> Rules:
        """The numbers; a reload may change them."""
        return self._rules

    @rules.setter
    def rules(self, rules: Rules) -> None:
        self._rules = self._trials.rules = rules

    # -- time

    def at(self, now: float) -> Standing | None:
        """Return the standing, after what time alone has changed."""
        if now < self._seen:
            self._set_back(now - self._seen)
        self._seen = now
        standing = self.standing
        until = None if standing is None else standing.until
        if standing is None or until is None:
            return standing
        most = self._longest(standing)
        if until - now > most:  # a clock went back, here or with who said it
            standing = self.standing = replace(standing, until=now + most)
        elif until <= now:
            if standing.kind in ("resting", "returning"):
                self._change(None, now)
            elif standing.is_closed:
                self._return(now, standing.by)
        return self.standing

    def _set_back(self, by_s: float) -> None:
        """Follow a clock that was set back: else all until its old time would seem to be late."""
        self._changed += by_s
        self._returned += by_s
        self._served += by_s
        self._proved += by_s
        self.next_probe += by_s
        self._trials.shift(by_s)

    def _longest(self, standing: Standing) -> float:
        if standing.is_closed:
            return float("inf")
        if standing.kind == "resting":
            return self.rules.longest_rest_s
        return self.rules.slow_start_s if standing.kind == "returning" else self.rules.max_s

    def factor(self, now: float) -> float:
        """Return the share of its weight that the endpoint gets, rising after a return."""
        standing = self.at(now)
        if standing is None or standing.kind != "returning" or standing.until is None:
            return 1.0
        passed = 1.0 - (standing.until - now) / self.rules.slow_start_s
        return min(1.0, max(_LEAST_FACTOR, passed))

    # -- what calls say

    def note(
        self, fault: ProviderFault | None, *, began: float, now: float, trial: bool = False
    ) -> None:
        """Take one call's end into account; *trial* if it was let through to find out."""
        standing = self.at(now)
        if began < self._changed or (fault is not None and fault.fault in _UNTOLD):
            return
        if standing is not None and standing.is_closed:
            return
        if fault is None:
            self._served = now
        if standing is not None and standing.is_out:
            self._note_out(standing, fault, now, trial)
        elif fault is None:
            self._row = self._lasting = self._rests = 0
            self._window.add(now, good=True)
        elif fault.fault is Fault.RATE:
            self._rest(fault, now)
        else:
            self._row += 1
            self._lasting += fault.fault in LASTING
            self._window.add(now, good=False)
            if self._lasting >= self.rules.lasting_in_a_row or self._is_too_much(standing, now):
                self._eject(fault, now, further=False)

    def _is_too_much(self, standing: Standing | None, now: float) -> bool:
        good, bad = self._window.counts()
        # One that has just come back is watched more closely, but one lost call is no relapse.
        in_a_row, least = self.rules.in_a_row, self.rules.least
        if standing is not None:
            in_a_row, least = max(2, in_a_row - 1), max(4, least // 2)
        return self._row >= in_a_row or (
            good + bad >= least and bad >= self.rules.share * (good + bad)
        )

    def _note_out(
        self, standing: Standing, fault: ProviderFault | None, now: float, trial: bool
    ) -> None:
        if fault is None:
            # Calls side by side prove one moment; those of a trial follow each other.
            if trial or abs(now - self._proved) >= EVERY_S:
                self._proofs += 1
                self._proved = now
                if trial:
                    self._trials.open(now, at_once=True)
                self.next_probe = min(self.next_probe, now + EVERY_S)
            if self._proofs >= self.rules.rise:
                self._return(now, self._me)
            return
        self._proofs = 0
        if fault.fault is Fault.RATE:
            self._put_off(standing, fault, now)
            return
        self._lasting = self._lasting + 1 if fault.fault in LASTING else 0
        if standing.until is None or standing.kind == "resting":
            return
        due = standing.until is not None and now >= standing.until
        if due or self._lasting >= self.rules.lasting_in_a_row:
            self._eject(fault, now, further=True)

    def _put_off(self, standing: Standing, fault: ProviderFault, now: float) -> None:
        """Wait as told: it is alive, but what it is out for is not mended yet."""
        if standing.until is None:
            return
        wait_s = fault.retry_after_s
        if wait_s is None:
            wait_s = self.rules.base_s if standing.kind == "ejected" else 0.0
        until = now + min(wait_s, self._longest(standing))
        if until > standing.until:
            self.standing = replace(standing, until=until)

    def probe(self, fault: ProviderFault | None, now: float, *, free: bool = False) -> None:
        """Take a probe's result into account.

        A *free* signal shows a server, not vectors: its success lets a request try, nothing more.
        """
        standing = self.at(now)
        if standing is None or not standing.is_out or standing.is_closed:
            return
        self.next_probe = now + self._probe_every_s(standing)
        if not free:
            self._note_out(standing, fault, now, trial=True)
        elif fault is None and standing.until is None:
            self._trials.open(now)
        elif fault is not None and standing.until is not None and standing.kind == "ejected":
            wait = min(self.rules.base_s, self._longest(standing))
            self.standing = replace(standing, until=max(standing.until, now + wait))

    def _probe_every_s(self, standing: Standing) -> float:
        if standing.until is None:
            return self.rules.lasting_retry_s
        return min(_PROBE_AT_MOST_EVERY_S, self.rules.doubled_s(standing.strikes))

    def wants_probe(self, now: float) -> bool:
        """Tell whether a probe could bring it back."""
        standing = self.at(now)
        ejected = standing is not None and standing.kind == "ejected" and not standing.is_closed
        return ejected and now >= self.next_probe

    # -- trials: single requests that are let through

    def may_try(self, now: float, *, last: bool) -> bool:
        """Tell whether a request may try it: its time is over, or nobody else is left (*last*)."""
        standing = self.at(now)
        if standing is None or not standing.is_out:
            return True
        return self._trials.allows(standing, now, last=last, slow=self.slow)

    def take_trial(self, now: float, limit_s: float) -> None:
        """Note that a request tries it now, for at most *limit_s*."""
        self._trials.take(self.standing, now, limit_s)

    def trial_s(self, usual_s: float | None) -> float:
        """Return how long a trial may take; see `Trials.limit_s`."""
        return self._trials.limit_s(usual_s, self.strikes)

    def wait_s(self, now: float) -> float:
        """Return in how many seconds asking again may help, as far as is known."""
        standing = self.at(now)
        if standing is None or not standing.is_out:
            return 0.0
        return self._trials.wait_s(standing, now, slow=self.slow)

    def is_overloaded(self, now: float) -> bool:
        """Tell whether it is out for being busy or slow, not for being dead."""
        standing = self.at(now)
        if standing is None or not standing.is_out or standing.is_closed:
            return False
        return (
            standing.kind == "resting"
            or standing.reason == Fault.OVERLOAD
            or (standing.reason == Fault.TIMEOUT and self.slow)
        )

    # -- what others say

    def close(
        self, kind: str, reason: str, now: float, *, by: str, for_s: float | None = None
    ) -> None:
        """Take it out by somebody's word; a quarantine outranks an operator's pause."""
        standing = self.at(now)
        if standing is not None and standing.kind == "quarantined" and kind != "quarantined":
            return
        until = None if for_s is None else now + for_s
        self._change(Standing(self.key, kind, reason, now, until, self.strikes, by), now)

    def clear(self, now: float, *, by: str) -> None:
        """Bring it back with a slow start; parity lifts only its own quarantine."""
        standing = self.at(now)
        if standing is None or not standing.is_out:
            return
        if by == "parity" and standing.kind != "quarantined":
            return
        self._return(now, by)

    def merge(self, said: Standing | None, now: float) -> None:
        """Take what another process said; None means that it knows of nothing."""
        mine = self.at(now)
        if said is None:
            if mine is not None and mine.by != self._me:
                self._change(None, now)
            return
        if mine is not None:
            # What somebody ordered holds over what calls showed since, by a clock of its own.
            ordered = said.is_closed and not mine.is_closed and mine.by == self._me
            if said.since <= mine.since and not ordered:
                return
            if mine.is_closed and said.by not in ("operator", "parity"):
                return
            if mine.kind == "quarantined" and said.kind not in ("quarantined", "returning"):
                return
        self._change(said, now)
        self.strikes = max(self.strikes, said.strikes)
        if said.kind == "returning":
            self._returned = now
        self._trials.ejected(now)
        self.next_probe = now + self._probe_every_s(said)
        self.at(now)

    # -- changes

    def _eject(self, fault: ProviderFault, now: float, *, further: bool) -> None:
        if not further:
            # Strikes go only with a long good time, so that one who flaps stays out for longer.
            good = int(max(0.0, now - self._returned) // self.rules.max_s) if self.strikes else 0
            self.strikes = max(0, self.strikes - good)
            self.slow = now - self._served <= 3 * self.rules.window_s
        self.strikes += 1
        until = None
        if self._lasting < self.rules.lasting_in_a_row:
            told = min(fault.retry_after_s or 0.0, self.rules.max_s)
            until = now + max(told, self.rules.span_s(self.strikes, self._draw()))
        standing = Standing(
            self.key, "ejected", str(fault.fault), now, until, self.strikes, self._me
        )
        self._change(standing, now)
        self._trials.ejected(now)
        self.next_probe = now + self._probe_every_s(standing)

    def _rest(self, fault: ProviderFault, now: float) -> None:
        rests, told = self._rests + 1, fault.retry_after_s
        if told is None:
            until = now + self.rules.span_s(rests, self._draw())
        else:
            until = now + min(max(0.0, told), self.rules.longest_rest_s)
        kind, reason = "resting", str(Fault.RATE)
        self._change(Standing(self.key, kind, reason, now, until, self.strikes, self._me), now)
        self._rests = rests

    def _return(self, now: float, by: str) -> None:
        self._returned = now
        standing = self.standing
        if standing is not None and standing.kind == "resting":
            self._change(None, now)
            return
        reason = standing.reason if standing is not None else ""
        until = now + self.rules.slow_start_s
        self._change(Standing(self.key, "returning", reason, now, until, self.strikes, by), now)

    def _change(self, standing: Standing | None, now: float) -> None:
        rested = self.standing is not None and self.standing.kind == "resting"
        self.standing = standing
        self._changed = now
        self._row = self._proofs = 0
        if standing is None or standing.kind != "ejected":
            self._lasting = 0
        if not rested:
            self._rests = 0
        self._proved = 0.0
        self._trials.forget()
        self._window.clear()
