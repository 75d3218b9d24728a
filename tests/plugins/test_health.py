"""What a request sees of health: who is kept out, who is tried, and who is used all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins._attempt import Attempt, Both, Outcome
from plugins._errors import Fault, ProviderFault, TurnedDown
from plugins._health import Health
from plugins._health_rules import Settings
from plugins._plan import Plan
from plugins._pool import Candidate
from plugins._said import Said
from plugins._standing import Standing
from tests.plugins.health_cost import cost_us
from tests.plugins.plans import candidate, plan
from tests.sizes import size

START = 1_800_000_000.0


@dataclass
class Ward:
    """A group, its health, and the clock."""

    group: Sequence[Candidate]
    settings: Settings = field(default_factory=Settings)
    now: float = START

    def __post_init__(self) -> None:
        self.health = Health(
            {"g": self.group}, self.settings, clock=lambda: self.now, draw=lambda: 0.5, me="me"
        )

    def plan(self, **more: int) -> Plan:
        made = plan([self.group], **more)
        made.id = f"req_{self.now}"
        self.health.view(made.groups).onto(made)
        return made

    def call(
        self,
        one: Candidate,
        kind: Fault | None = None,
        *,
        seconds: float = 0.0,
        request: str = "r",
        in_need: bool = False,
    ) -> None:
        """Make a call that the view has let through; raises as `before` does."""
        what = Attempt(request, one, None, (), 1, 2, in_need=in_need)
        asyncio.run(self.health.before(what))
        fault = None if kind is None else ProviderFault(kind, "test")
        self.now += seconds
        asyncio.run(self.health.after(what, Outcome(fault, 2, 0, True, seconds)))

    def fail(self, one: Candidate, kind: Fault, times: int = 3) -> None:
        for _ in range(times):
            self.call(one, kind)
            self.now += 0.001

    def picked(self, made: Plan | None = None) -> str | None:
        found = (made or self.plan()).next(lambda: 0.0, 0.0)
        return found.id if found is not None else None


def two() -> Ward:
    return Ward([candidate("a"), candidate("b", order=2)])


def test_one_that_is_out_is_passed_by_and_the_reason_is_told() -> None:
    ward = two()
    assert ward.picked() == "a"
    ward.fail(ward.group[0], Fault.SERVER)
    made = ward.plan()
    assert made.admits(ward.group[0]) == "ejected: server"
    assert ward.picked(made) == "b"


def test_an_endpoint_is_out_in_every_deployment_that_shares_it() -> None:
    ward = Ward([candidate("a", endpoint="e"), candidate("twin", endpoint="e"), candidate("b")])
    ward.fail(ward.group[0], Fault.SERVER)
    assert ward.picked() == "b"
    assert ward.health.names("e") == "a,twin"


def test_of_two_requests_that_would_try_it_one_does() -> None:
    ward = two()
    sick = ward.group[0]
    ward.fail(sick, Fault.SERVER)
    ward.now += 30
    assert ward.picked() == "a"
    asyncio.run(ward.health.before(Attempt("one", sick, None, (), 1, 2)))
    with pytest.raises(TurnedDown, match="another request is trying it"):
        ward.call(sick, request="two")
    assert ward.picked() == "b"
    asyncio.run(ward.health.before(Attempt("one", sick, None, (), 1, 2)))  # its next part


def test_a_trial_is_short_and_a_usual_call_is_not() -> None:
    ward = two()
    sick = ward.group[0]
    for _ in range(20):
        ward.call(sick, seconds=1.5)
    assert ward.plan().patience_s(sick) is None
    ward.now += 60  # long ago: not slow, but dead
    ward.fail(sick, Fault.CONNECT)
    assert ward.plan().patience_s(sick) == 3.0


@pytest.mark.parametrize(
    ("seconds", "usual_s", "counts"),
    [
        (10.0, None, True),
        (0.6, None, True),
        (0.3, None, False),
        (0.9, 0.4, True),
        (0.7, 0.4, False),
    ],
)
def test_a_call_that_had_too_little_time_left_proves_nothing(
    seconds: float, usual_s: float | None, counts: bool
) -> None:
    ward = two()
    sick = ward.group[0]
    if usual_s is not None:
        ward.call(sick, seconds=usual_s)
    for _ in range(3):
        ward.call(sick, Fault.TIMEOUT, seconds=seconds)
    assert (ward.health.standing("a") is not None) is counts


def test_nobody_left_is_told_with_a_time_that_fits() -> None:
    ward = two()
    for one in ward.group:
        for _ in range(3):
            ward.call(one, Fault.TIMEOUT, seconds=0.6)
    ward.now += 2
    made = ward.plan()
    assert ward.picked(made) is None
    failure = made.failure(0.0)
    assert (failure.status, failure.code) == (503, "no_deployment_available")
    assert failure.message == "No deployment of g can be used now: all are out of service."
    assert failure.retry_after_s == 7  # the first has been out for 3.8 s


def test_nobody_left_is_told_with_how_many_have_no_room_in_a_budget() -> None:
    ward = two()
    for _ in range(3):
        ward.call(ward.group[0], Fault.TIMEOUT, seconds=0.6)
    made = ward.plan()
    made.turn_down(ward.group[1], TurnedDown("budget", "no room"), made_calls=True)
    assert ward.picked(made) is None
    assert made.failure(0.0).message == (
        "No deployment of g can be used now: 1 out of service, 1 without room in a budget."
    )


def test_a_429_with_nobody_else_is_tried_once_a_second_and_told_until_when() -> None:
    ward = Ward([candidate("a")])
    ward.call(ward.group[0], Fault.RATE)
    assert ward.picked() == "a"
    ward.call(ward.group[0], Fault.RATE, request="1")
    with pytest.raises(TurnedDown):
        ward.call(ward.group[0], Fault.RATE, request="2")
    made = ward.plan()
    assert ward.picked(made) is None
    assert made.failure(0.0).retry_after_s == 10
    ward.now += 1
    assert ward.picked() == "a"


def test_when_nobody_else_is_left_one_that_refuses_at_once_is_tried_each_second() -> None:
    ward = Ward([candidate("a")])
    ward.fail(ward.group[0], Fault.CONNECT)
    tried = 0
    for tenth in range(100):
        ward.now = START + 1 + tenth / 10
        if ward.picked() == "a":
            ward.call(ward.group[0], Fault.CONNECT, request=str(tenth), in_need=True)
            tried += 1
    assert 9 <= tried <= 11
    ward.now += 1
    ward.call(ward.group[0], request="good", in_need=True)
    ward.call(ward.group[0], request="good as well", in_need=True)
    assert ward.health.standings()["a"].kind == "returning"


def test_at_most_half_of_a_group_is_out_for_being_busy() -> None:
    group = [candidate(name) for name in "abcd"]
    ward = Ward(group)
    for one in group[:3]:
        ward.fail(one, Fault.OVERLOAD)
        ward.now += 0.1
    made = ward.plan()
    admitted = [one.id for one in group if made.admits(one) is None]
    assert len(admitted) == 2
    assert "d" in admitted


def test_one_that_is_dead_is_not_used_for_want_of_others() -> None:
    group = [candidate(name) for name in "abc"]
    ward = Ward(group)
    ward.fail(group[0], Fault.AUTH, 2)
    ward.fail(group[1], Fault.CONNECT)
    ward.fail(group[2], Fault.OVERLOAD)
    made = ward.plan()
    assert [one.id for one in group if made.admits(one) is None] == []  # one of three: within half
    assert ward.picked(made) == "c"


@pytest.mark.parametrize("how", ["quarantined", "drained", "ejected", "unproven"])
def test_what_somebody_closed_is_used_by_nobody(how: str) -> None:
    ward = Ward([candidate("a")])
    if how == "quarantined":
        ward.health.quarantine("a", "parity: cosine 0.41")
    elif how == "unproven":
        ward.health.unproven = lambda _: "its vector space is not proven yet"
    else:
        ward.health.eject("a", 3600, "disks", drain=how == "drained")
    for wait in (0, 2, 400):
        ward.now += wait
        assert ward.picked() is None
    assert not ward.health.has_anybody("g")
    assert ward.health.why_none(ward.group)


def test_a_call_that_was_picked_before_a_quarantine_is_not_made() -> None:
    ward = two()
    ward.health.quarantine("a", "parity: cosine 0.41")
    with pytest.raises(TurnedDown, match="quarantined: parity"):
        ward.call(ward.group[0])


def test_a_trial_under_way_is_no_way_past_a_quarantine() -> None:
    ward = two()
    sick = ward.group[0]
    ward.fail(sick, Fault.SERVER)
    ward.now += 30
    asyncio.run(ward.health.before(Attempt("one", sick, None, (), 1, 2)))
    ward.health.quarantine("a", "parity: cosine 0.41")
    with pytest.raises(TurnedDown, match="quarantined: parity"):
        asyncio.run(ward.health.before(Attempt("one", sick, None, (), 1, 2)))


@pytest.mark.parametrize("kind", [Fault.TIMEOUT, Fault.OVERLOAD, Fault.SERVER])
def test_calls_that_were_queued_when_it_left_are_not_made(kind: Fault) -> None:
    ward = Ward([candidate(f"x{number}") for number in range(8)])
    sick = ward.group[0]
    ward.call(sick)
    ward.fail(sick, kind)
    for number in range(50):
        with pytest.raises(TurnedDown):
            asyncio.run(ward.health.before(Attempt(f"q{number}", sick, None, (), 1, 2)))


def test_of_many_that_are_busy_those_who_are_needed_are_called() -> None:
    group = [candidate(name) for name in "abcd"]
    ward = Ward(group)
    for one in group[:3]:
        ward.fail(one, Fault.OVERLOAD)
    made = ward.plan()
    needed = [one for one in group[:3] if made.admits(one) is None]
    assert len(needed) == 1
    for one in group[:3]:
        what = Attempt("q", one, None, (), 1, 2)
        if one in needed:
            asyncio.run(ward.health.before(what))
        else:
            with pytest.raises(TurnedDown):
                asyncio.run(ward.health.before(what))


def test_who_says_at_once_with_each_429_rests_for_longer_each_time() -> None:
    ward, met = two(), 0
    for _ in range(1000):
        if ward.picked() == "a":
            met += 1
            what = Attempt("r", ward.group[0], None, (), 1, 2)
            asyncio.run(ward.health.before(what))
            fault = ProviderFault(Fault.RATE, "test", retry_after_s=0.0)
            asyncio.run(ward.health.after(what, Outcome(fault, 2, 0, True, 0.0)))
        ward.now += 0.05
    assert met < 10


class Refusing:
    """The ledger, which has no room."""

    async def before(self, attempt: Attempt) -> None:
        raise TurnedDown("budget", "no room")

    async def after(self, attempt: Attempt, outcome: Outcome) -> None:
        raise AssertionError("it did not agree")


class Leaving(Refusing):
    """The client leaves while the second is asked."""

    async def before(self, attempt: Attempt) -> None:
        raise asyncio.CancelledError


def test_who_leaves_while_the_second_of_both_is_asked_leaves_no_trial_open() -> None:
    ward = two()
    sick = ward.group[0]
    ward.fail(sick, Fault.AUTH, 2)
    ward.now += 3601
    assert ward.picked() == "a"
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(Both(ward.health, Leaving()).before(Attempt("r", sick, None, (), 1, 2)))
    assert ward.picked() == "a"


@pytest.mark.parametrize("how", ["refused", "refused by the second of both", "client gone"])
def test_a_trial_that_was_not_made_costs_no_hour(how: str) -> None:
    ward = two()
    sick = ward.group[0]
    ward.fail(sick, Fault.AUTH, 2)
    ward.now += 3601
    assert ward.picked() == "a"
    what = Attempt("r", sick, None, (), 1, 2)
    if how == "refused by the second of both":
        with pytest.raises(TurnedDown, match="no room"):
            asyncio.run(Both(ward.health, Refusing()).before(what))
    else:
        asyncio.run(ward.health.before(what))
        fault = ProviderFault(Fault.CANCELLED, "test", sent=how == "client gone")
        asyncio.run(ward.health.after(what, Outcome(fault, 0, 0, fault.sent, 0.0)))
    if how == "client gone":
        assert ward.picked() == "b"  # it was called: not at once again
        ward.now += 10
    assert ward.picked() == "a"
    ward.call(sick, Fault.AUTH)
    ward.now += 3500
    assert ward.picked() == "b"


def test_a_quarantine_outlives_an_absence_from_the_file() -> None:
    ward = two()
    sick, well = ward.group
    began = ward.plan()
    ward.health.quarantine("a", "parity: wrong space")
    ward.health.use({"g": [well]}, ward.settings)
    assert began.admits(sick) == "quarantined: parity: wrong space"
    with pytest.raises(TurnedDown, match="quarantined"):
        ward.call(sick)  # of a request that began with the file of before
    ward.health.use({"g": ward.group}, ward.settings)
    assert ward.picked() == "b"
    assert ward.health.standings()["a"].kind == "quarantined"


def test_what_was_said_while_it_was_not_in_the_file_holds_when_it_comes() -> None:
    ward = two()
    _, well = ward.group
    said = Standing("a", "quarantined", "parity: wrong space", ward.now, None, 0, "parity")
    ward.health.use({"g": [well]}, ward.settings)
    ward.health.merge("a", Said.of(said))
    ward.health.merge("never seen", Said.of(replace(said, key="never seen")))
    assert ward.health.standings() == {}
    ward.health.use({"g": ward.group}, ward.settings)
    assert ward.picked() == "b"
    assert sorted(ward.health.spoken_of()) == ["a", "never seen"]


def test_of_those_that_are_not_in_the_file_no_more_are_kept_than_are_needed() -> None:
    ward = two()
    for number in range(1200):
        key = f"k{number}"
        kind, by = ("quarantined", "parity") if number == 0 else ("ejected", "other")
        ward.health.merge(key, Said.of(Standing(key, kind, "test", ward.now, None, 0, by)))
    kept = ward.health.spoken_of()
    assert len(kept) == 1000
    assert "k0" in kept


def test_nothing_of_a_call_is_handed_out_whose_endpoint_was_quarantined_meanwhile() -> None:
    ward = two()
    made = ward.plan()
    sick = made.next(lambda: 0.0, 0.0)
    assert sick is not None
    made.begin(sick)
    row = np.full((1, 4096), 1 / 64, np.float32)
    ward.health.eject("a", drain=True)  # whose calls under way may end
    assert made.barred(sick) is None
    ward.health.quarantine("a", "parity: wrong space")
    with pytest.raises(ProviderFault, match="not handed out: quarantined: parity: wrong space"):
        made.accept([0], row, sick, 2, 20)
    assert made.missing() == [0]
    assert (made.tokens, made.served_by) == (0, [])
    following = made.next(lambda: 0.0, 0.0)
    assert following is ward.group[1]
    made.accept([0], row, following, 2, 20)
    assert made.served_by == ["b"]


def test_switched_off_it_takes_nobody_out_but_still_obeys() -> None:
    ward = Ward([candidate("a")], Settings(enabled=False))
    ward.fail(ward.group[0], Fault.AUTH, 50)
    assert ward.picked() == "a"
    assert ward.health.stats("a").success_rate == 0.0
    ward.health.quarantine("a", "parity")
    assert ward.picked() is None


def test_changes_are_told_and_those_of_others_are_not_passed_on() -> None:
    ward = two()
    every: list[tuple[str, str | None]] = []
    own: list[tuple[str, str | None]] = []
    ward.health.on_change.append(lambda key, one: every.append((key, one and one.kind)))
    ward.health.on_own_change.append(lambda key, one: own.append((key, one and one.kind)))
    ward.fail(ward.group[0], Fault.SERVER)
    said = Standing("b", "ejected", "server", ward.now, ward.now + 10, 1, "other")
    ward.health.merge("b", Said.of(said))
    back = replace(said, kind="returning", since=ward.now + 1, stamp=0)
    ward.health.merge("b", Said.of(said).join(Said.of(back)))
    ward.health.clear("a")
    ward.now += 30
    assert ward.health.standings() == {}
    assert every == [
        ("a", "ejected"),
        ("b", "ejected"),
        ("b", "returning"),
        ("a", "returning"),
        ("a", None),
        ("b", None),
    ]
    assert own == [("a", "ejected"), ("a", "returning")]


def test_that_an_end_was_put_off_is_no_further_ejection_but_news_for_others() -> None:
    ward = two()
    every: list[str | None] = []
    own: list[float | None] = []
    ward.health.on_change.append(lambda _, one: every.append(one and one.kind))
    ward.health.on_own_change.append(lambda _, one: own.append(one and one.until))
    ward.fail(ward.group[0], Fault.CONNECT)
    for _ in range(3):
        ward.now += 10
        ward.health.probe_result("a", False, ProviderFault(Fault.CONNECT, "test"), free=True)
    assert every == ["ejected"]
    assert len(set(own)) == 4


def test_a_reload_keeps_what_is_known_of_those_that_stay() -> None:
    ward = two()
    ward.fail(ward.group[0], Fault.SERVER)
    ward.health.use({"h": [ward.group[0], candidate("c")]}, Settings())
    assert set(ward.health.cases) == {"a", "c"}
    assert ward.health.standings()["a"].reason == "server"
    ward.call(ward.group[1])  # of a request that began before
    assert ward.health.stats("a").calls == 3


def test_what_calls_took_is_told() -> None:
    ward = two()
    for number in range(1, 101):
        ward.call(ward.group[0], Fault.CORRUPT if number % 10 == 0 else None, seconds=number / 100)
    stats = ward.health.stats("a")
    assert stats.calls == 100
    assert stats.success_rate == 0.9
    assert stats.p50_s == pytest.approx(0.5, abs=0.02)
    assert stats.p95_s == pytest.approx(0.95, abs=0.02)
    assert stats.last_at == ward.now
    for _ in range(1000):
        ward.call(ward.group[0])
    assert ward.health.stats("a").calls == 256
    assert ward.health.stats("a").success_rate == 1.0


KINDS = st.sampled_from([None, None, *Fault])


@settings(max_examples=size(60, 1000), deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.floats(0, 40), st.lists(KINDS, min_size=4, max_size=4)), max_size=40
    ),
    closed=st.sets(st.integers(0, 3), max_size=2),
)
def test_whoever_is_well_is_found_and_whoever_is_closed_is_not(
    steps: Sequence[tuple[float, Sequence[Fault | None]]], closed: set[int]
) -> None:
    group = [candidate(name, order=order) for order, name in enumerate("abcd")]
    ward = Ward(group)
    for number in closed:
        ward.health.quarantine(group[number].id, "parity")
    for passed, kinds in steps:
        ward.now += passed
        made = ward.plan(attempts=4)
        for _ in range(4):
            chosen = made.next(lambda: 0.0, 0.0)
            known = ward.health.standings()
            fine = [one.id for one in group if one.id not in known and not made.admits(one)]
            if chosen is None:
                assert fine == []
                break
            assert group.index(chosen) not in closed
            made.begin(chosen)
            try:
                kind = kinds[group.index(chosen)]
                ward.call(chosen, kind, request=made.id, in_need=made.in_need)
            except TurnedDown as no:
                made.turn_down(chosen, no, made_calls=False)


@pytest.mark.parametrize("sick", [0, 4])
def test_it_costs_a_request_next_to_nothing(sick: int) -> None:
    # Some 10 us with nobody out; the bound is for a busy machine, `python -m
    # tests.plugins.health_cost` for the number.
    assert min(cost_us(sick=sick, times=500) for _ in range(3)) < 1000
