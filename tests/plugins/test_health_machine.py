"""What holds whatever happens: nobody is out for ever, not all for being busy, no order is lost."""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from plugins._attempt import Attempt, Outcome
from plugins._dialects import WireRequest
from plugins._ejections import LASTING
from plugins._errors import Fault, ProviderFault, TurnedDown
from plugins._health import Health
from plugins._health_rules import Rules, Settings
from plugins._notes import Notes
from plugins._pool import Candidate, Endpoint
from plugins._probes import Probes
from plugins._shared_sqlite import SqliteShared
from plugins._standings import Standings
from router_config import load_catalogue
from tests.plugins.plans import candidate, plan
from tests.sizes import size

START = 1_800_000_000.0
RULES = Rules()
KINDS = st.sampled_from([None, None, *Fault])
WHO = st.integers(0, 3)
SIGNAL = load_catalogue()["deepinfra"].health


class Lives(RuleBasedStateMachine):
    """Four endpoints of one group, their calls, probes, operators and another process."""

    @initialize()
    def begin(self) -> None:
        logging.getLogger("qwen3_router.health").setLevel(logging.CRITICAL)
        self.now = START
        self.group = [candidate(f"x{number}", order=1 + number // 2) for number in range(4)]
        self.mine, self.other = (self._process(name) for name in ("mine", "other"))
        self.ordered: dict[str, str] = {}  # what somebody closed and nobody lifted
        self.requests = 0

    def _process(self, me: str) -> Health:
        made = Health({"g": self.group}, Settings(), clock=lambda: self.now, me=me)
        made._panic._told["g"] = float("inf")
        return made

    @rule(seconds=st.one_of(st.floats(0, 3), st.floats(0, 400), st.just(4000.0)))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(kinds=st.lists(KINDS, min_size=4, max_size=4), took=st.floats(0, 12))
    def a_request_comes(self, kinds: Sequence[Fault | None], took: float) -> None:
        made = plan([self.group], attempts=4)
        self.requests += 1
        made.id = f"r{self.requests}"
        self.mine.view().onto(made)
        while (found := made.next(lambda: 0.0, 0.0)) is not None:
            made.begin(found)
            assert found.id not in self.ordered
            what = Attempt(made.id, found, None, (), 1, 2, in_need=made.in_need)
            try:
                _now(self.mine.before(what))
            except TurnedDown as no:
                made.turn_down(found, no, made_calls=False)
                continue
            kind = kinds[self.group.index(found)]
            self.now += took
            fault = (
                None if kind is None else ProviderFault(kind, "test", retry_after_s=took or None)
            )
            sent = kind is not Fault.CONNECT
            _now(self.mine.after(what, Outcome(fault, 2, 0, sent, took)))
            if fault is None:
                return

    @rule(number=WHO, kind=KINDS, free=st.booleans())
    def a_probe_ends(self, number: int, kind: Fault | None, free: bool) -> None:
        fault = None if kind is None else ProviderFault(kind, "test")
        self.mine.probe_result(self.group[number].endpoint.key, fault is None, fault, free=free)

    @rule(number=WHO, how=st.sampled_from(["quarantined", "drained"]), which=st.booleans())
    def somebody_closes(self, number: int, how: str, which: bool) -> None:
        self._hear_each_other()
        key, health = self.group[number].endpoint.key, self.mine if which else self.other
        if how == "quarantined":
            health.quarantine(key, "parity: wrong space")
        else:
            health.eject(key, drain=True)
        if self.ordered.get(key) != "quarantined":
            self.ordered[key] = how
        self._hear_each_other()

    @rule(number=WHO, which=st.booleans())
    def an_operator_lifts(self, number: int, which: bool) -> None:
        self._hear_each_other()
        key = self.group[number].endpoint.key
        (self.mine if which else self.other).clear(key)
        self.ordered.pop(key, None)
        self._hear_each_other()

    @rule(number=WHO)
    def the_other_sees_it_fail(self, number: int) -> None:
        for _ in range(3):
            what = Attempt("other", self.group[number], None, (), 1, 2)
            fault = ProviderFault(Fault.SERVER, "test")
            _now(self.other.after(what, Outcome(fault, 2, 0, True, 0.1)))
        self._hear_each_other()

    @rule(gone=st.sets(WHO, max_size=3))
    def the_file_loses_some_and_gets_them_back(self, gone: set[int]) -> None:
        left = [one for number, one in enumerate(self.group) if number not in gone]
        self.mine.use({"g": left}, self.mine.settings)
        self.mine.use({"g": self.group}, self.mine.settings)

    def _hear_each_other(self) -> None:
        for one in self.group:
            self.mine.merge(one.endpoint.key, self.other.said(one.endpoint.key))
            self.other.merge(one.endpoint.key, self.mine.said(one.endpoint.key))

    @invariant()
    def an_order_holds(self) -> None:
        for key, kind in getattr(self, "ordered", {}).items():
            standing = self.mine.standing(key)
            assert standing is not None
            assert standing.kind == kind

    @invariant()
    def an_ejection_is_bounded(self) -> None:
        for key, standing in self.mine.standings().items() if hasattr(self, "mine") else ():
            if standing.is_closed:
                continue
            if standing.until is None:
                assert standing.reason in LASTING
                assert self.mine.cases[key].next_probe - self.now <= RULES.lasting_retry_s
            else:
                most = RULES.longest_rest_s if standing.kind == "resting" else RULES.max_s
                assert standing.until - self.now <= most

    @invariant()
    def not_all_are_out_for_being_busy(self) -> None:
        if not hasattr(self, "mine"):
            return
        known = self.mine.standings()
        out = [one for one in self.group if (at := known.get(one.id)) is not None and at.is_out]
        busy = [one for one in out if self.mine.cases[one.id].is_overloaded(self.now)]
        resting = [one for one in busy if known[one.id].kind == "resting"]
        if len(busy) == len(self.group) and not resting:
            made = plan([self.group])
            self.mine.view().onto(made)
            assert sum(made.admits(one) is None for one in self.group) >= len(self.group) // 2

    def teardown(self) -> None:
        """Whatever was: when all are well again and nothing is closed, all come back."""
        for one in self.group if hasattr(self, "group") else ():
            self.mine.clear(one.endpoint.key)
        if not hasattr(self, "mine"):
            return
        ends = self.now + 2 * RULES.lasting_retry_s
        while self.now < ends and any(one.is_out for one in self.mine.standings().values()):
            self.now += 20
            self.a_request_comes([None] * 4, 0.1)
            for one in self.group:
                what = Attempt("again", one, None, (), 1, 2)
                try:
                    _now(self.mine.before(what))
                except TurnedDown:
                    continue
                _now(self.mine.after(what, Outcome(None, 2, 0, True, 0.1)))
        assert not any(one.is_out for one in self.mine.standings().values())


def _now(work: Any) -> None:
    """Run *work*, which waits for nothing."""
    try:
        work.send(None)
    except StopIteration:
        return
    raise AssertionError("it had to wait")


Lives.TestCase.settings = settings(
    max_examples=size(20, 1500), stateful_step_count=30, deadline=None
)
TestLives = Lives.TestCase


# -- by probes alone


class Provider:
    """The far end: well, with or without its free signal."""

    async def send(
        self, endpoint: Endpoint, request: WireRequest, *, timeout_s: float, max_bytes: int
    ) -> tuple[int, dict[str, str], bytes]:
        if request.method == "GET":
            return 200, {}, b"{}"
        row = [1.0] + [0.0] * 4095
        data = [{"index": 0, "embedding": row}]
        return 200, {}, orjson.dumps({"data": data, "usage": {"prompt_tokens": 2}})


class Money:
    """A ledger with room for *left* more calls."""

    def __init__(self, left: int) -> None:
        self.left = left

    async def before(self, attempt: Attempt) -> None:
        if not self.left:
            raise TurnedDown("budget", "no room")
        self.left -= 1

    async def after(self, attempt: Attempt, outcome: Outcome) -> None:
        """Book nothing."""


def endpoint(has_signal: bool, is_free: bool) -> Candidate:
    made = candidate("x", usd_per_million_tokens="0" if is_free else "0.01")
    signal = SIGNAL if has_signal else None
    return replace(made, endpoint=replace(made.endpoint, signal=signal))


@settings(max_examples=size(15, 400), deadline=None)
@given(
    faults=st.lists(st.tuples(st.sampled_from([*Fault]), st.floats(0, 200)), max_size=12),
    has_signal=st.booleans(),
    is_free=st.booleans(),
    is_unproven=st.booleans(),
)
def test_probes_bring_everybody_back_or_to_where_a_request_may_try(
    faults: Sequence[tuple[Fault, float]], has_signal: bool, is_free: bool, is_unproven: bool
) -> None:
    """Whoever no request may try, since its vectors are not proven, comes back by probes alone."""
    folder = Path(tempfile.mkdtemp(prefix="machine-"))
    logging.getLogger("qwen3_router.health").setLevel(logging.CRITICAL)

    async def test() -> None:
        at = [START]
        one = endpoint(has_signal, is_free)
        key = one.endpoint.key
        # Where the free signal is enough no probe costs anything.
        money = Money(0 if has_signal and is_unproven and not is_free else 1000)
        shared = SqliteShared(folder / "shared.db", wall=lambda: at[0])
        notes = Notes(shared, "me", wall=lambda: at[0], clock=lambda: at[0])
        health = Health({"g": [one]}, clock=lambda: at[0], draw=lambda: 0.5, me="me")
        Standings(health, notes)
        health.unproven = lambda _: "its vectors are not proven yet" if is_unproven else None
        probes = Probes(
            health,
            money,
            notes,
            transport=Provider,
            used=lambda _: at[0],
            clock=lambda: at[0],
            wall=lambda: at[0],
        )
        probes.use({"g": [one]}, (), 0)
        for fault, passed in faults:
            for _ in range(3):
                what = Attempt("r", one, None, (), 1, 2)
                failed = ProviderFault(fault, "test")
                await health.after(what, Outcome(failed, 2, 0, True, 10.0))
            at[0] += passed
        ends = at[0] + 2 * RULES.lasting_retry_s

        def is_out() -> bool:
            standing = health.standing(key)
            if standing is None or not standing.is_out:
                return False
            return is_unproven or health.why_out(one, at[0], last=False) is not None

        while at[0] < ends and is_out():
            for passed in (60.0, 2.0):
                at[0] += passed
                await probes.step()
                await probes.settled()
        assert not is_out()
        await probes.aclose()
        await shared.close()

    try:
        asyncio.run(test())
    finally:
        shutil.rmtree(folder)
