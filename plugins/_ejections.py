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
from plugins._said import Said
from plugins._standing import Standing
from plugins._trials import EVERY_S, Trials
from plugins._voice import Voice
from plugins._window import Window

__all__ = ["LASTING", "Case", "Rules", "Standing"]

LASTING = frozenset({Fault.AUTH, Fault.PAYMENT, Fault.MODEL, Fault.DIALECT})
# Says nothing about the endpoint: the client left, or sent more than it takes.
_UNTOLD = frozenset({Fault.CANCELLED, Fault.TOO_LONG})


class Case:
    """One endpoint's course; *me* is the name that its own standings carry.

    *voice* has what all processes said of it, *standing* is what follows from that here and now;
    *ahead_s* is how far the store's clock is ahead of this machine's. What began before the last
    change of state is ignored: calls that were under way when an endpoint left count neither
    against it once more nor against its return.
    """

    def __init__(
        self,
        key: str,
        rules: Rules,
        draw: Callable[[], float],
        me: str,
        ahead_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.key = key
        self.voice = Voice(ahead_s)
        self.standing: Standing | None = None
        self.strikes = 0
        self.next_probe = 0.0
        # Whether it still served some of those that called it: slow then, not dead.
        self.slow = False
        self._rules = rules
        self._draw = draw
        self._me = me
        self._changed = self._returned = self._served = self._seen = float("-inf")
        self._trials = Trials(rules)
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
        most = self.rules.longest_s(standing)
        if until - now > most:  # a clock went back, here or with who said it
            standing = self.standing = replace(standing, until=now + most)
        elif until <= now and (standing.is_closed or standing.kind != "ejected"):
            if standing.is_closed:
                self._returned = now
            else:
                self.voice.end(standing)
            self._follow(now)
        return self.standing

    def _set_back(self, by_s: float) -> None:
        """Follow a clock that was set back: else all until its old time would seem to be late."""
        self._changed += by_s
        self._returned += by_s
        self._served += by_s
        self._proved += by_s
        self.next_probe += by_s
        self._trials.shift(by_s)

    def factor(self, now: float) -> float:
        """Return the share of its weight that the endpoint gets, rising after a return."""
        standing = self.at(now)
        return 1.0 if standing is None else self.rules.factor(standing, now)

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
        elif fault.fault is Fault.TIMEOUT:
            self._judge(began, now)
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

    def _judge(self, began: float, now: float) -> None:
        """See whether it is slow: of those who waited beside this call some were served.

        One that hangs after good answers served nobody in the later half of the wait.
        """
        self.slow = now - self._served < (now - began) / 2

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
        if now >= standing.until or self._lasting >= self.rules.lasting_in_a_row:
            self._eject(fault, now, further=True)

    def _put_off(self, standing: Standing, fault: ProviderFault, now: float) -> None:
        """Wait as told: it is alive, but what it is out for is not mended yet."""
        if standing.until is None:
            return
        wait_s = fault.retry_after_s
        if wait_s is None:
            wait_s = self.rules.base_s if standing.kind == "ejected" else 0.0
        until = now + min(wait_s, self.rules.longest_s(standing))
        if until > standing.until:
            self._say(replace(standing, until=until), now)

    def probe(self, fault: ProviderFault | None, now: float, *, free: bool = False) -> None:
        """Take a probe's result into account.

        A *free* signal shows a server, not vectors: its success lets a request try, nothing more.
        """
        standing = self.at(now)
        if standing is None or not standing.is_out or standing.is_closed:
            return
        self.next_probe = now + self.rules.probe_every_s(standing)
        if fault is not None and fault.fault is Fault.TIMEOUT:
            self._judge(now - self.rules.window_s, now)
        if not free:
            self._note_out(standing, fault, now, trial=True)
        elif fault is None and standing.until is None:
            self._trials.open(now)
        elif fault is not None and standing.until is not None and standing.kind == "ejected":
            wait = min(self.rules.base_s, self.rules.longest_s(standing))
            self._say(replace(standing, until=max(standing.until, now + wait)), now)

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

    def undo_trial(self, now: float, *, made: bool) -> None:
        """Take back that a request tried it: the call was not *made*, or it told nothing."""
        self._trials.undo(self.standing, now, made=made)

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
        until, strikes = None if for_s is None else now + for_s, self.strikes
        self._say(Standing(self.key, kind, reason, now, until, strikes, by), now)

    def clear(self, now: float, *, by: str) -> None:
        """Bring it back with a slow start; parity lifts only its own quarantine."""
        standing = self.at(now)
        if standing is None or not standing.is_out:
            return
        if by == "parity" and standing.kind != "quarantined":
            return
        self._return(now, by)

    def merge(self, said: Said, now: float) -> None:
        """Join what another process knows with what is known here."""
        before = self.at(now)
        if not self.voice.hear(said):
            return
        self._follow(now)
        after = self.standing
        if after is None or (before and (after.kind, after.since) == (before.kind, before.since)):
            return
        self.strikes = max(self.strikes, after.strikes)
        if after.kind == "returning":
            self._returned = now
        self._trials.ejected(now)
        self.next_probe = now + self.rules.probe_every_s(after)
        self.at(now)

    # -- changes

    def _eject(self, fault: ProviderFault, now: float, *, further: bool) -> None:
        if not further:
            # Strikes go only with a long good time, so that one who flaps stays out for longer.
            good_s = min(max(0.0, now - self._returned), 1e9)
            self.strikes = max(0, self.strikes - int(good_s // self.rules.max_s))
        self.strikes += 1
        until = None
        if self._lasting < self.rules.lasting_in_a_row:
            told = min(fault.retry_after_s or 0.0, self.rules.max_s)
            until = now + max(told, self.rules.span_s(self.strikes, self._draw()))
        why, strikes = str(fault.fault), self.strikes
        standing = Standing(self.key, "ejected", why, now, until, strikes, self._me)
        self._say(standing, now)
        self._trials.ejected(now)
        self.next_probe = now + self.rules.probe_every_s(standing)

    def _rest(self, fault: ProviderFault, now: float) -> None:
        rests = self._rests + 1
        until = now + self.rules.rest_s(fault.retry_after_s, rests, self._draw())
        rate, strikes = str(Fault.RATE), self.strikes
        self._say(Standing(self.key, "resting", rate, now, until, strikes, self._me), now)
        self._rests = rests

    def _return(self, now: float, by: str) -> None:
        self._returned = now
        standing = self.standing
        rested = standing is not None and standing.kind == "resting"
        reason = standing.reason if standing is not None else ""
        until = now if rested else now + self.rules.slow_start_s
        self._say(Standing(self.key, "returning", reason, now, until, self.strikes, by), now)

    def _say(self, standing: Standing, now: float) -> None:
        self.voice.say(standing, now)
        self._follow(now)

    def _follow(self, now: float) -> None:
        """Take on the standing that follows from what is said."""
        after, before = self.voice.standing(now, self.rules.slow_start_s), self.standing
        if after is None or before is None:
            if after is not before:
                self._change(after, now)
        elif (after.kind, after.by, after.since) != (before.kind, before.by, before.since):
            self._change(after, now)
        elif after.stamp != before.stamp:  # only its end was moved
            self.standing = after

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
