"""When an endpoint leaves and comes back, on a clock that the tests turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins._ejections import LASTING, Case
from plugins._errors import Fault, ProviderFault
from plugins._health_rules import Rules
from plugins._panic import let_in
from plugins._said import Said
from plugins._standing import Standing
from tests.sizes import size

START = 1_800_000_000.0
RULES = Rules()
PASSING = (
    Fault.CONNECT,
    Fault.TIMEOUT,
    Fault.SERVER,
    Fault.OVERLOAD,
    Fault.RESET,
    Fault.CORRUPT,
)
EVERY_PASSING = pytest.mark.parametrize("kind", PASSING)
EVERY_LASTING = pytest.mark.parametrize("kind", sorted(LASTING))


@dataclass
class Life:
    """An endpoint whose calls take no time, and the clock beside it."""

    case: Case = field(default_factory=lambda: Case("k", RULES, lambda: 0.5, "me"))
    now: float = START

    def call(self, *kinds: Fault | None, retry_after_s: float | None = None) -> None:
        for kind in kinds:
            self.now += 0.01
            self.case.note(fault(kind, retry_after_s), began=self.now, now=self.now)

    def trial(self, *kinds: Fault | None) -> None:
        for kind in kinds:
            assert self.case.may_try(self.now, last=False)
            self.case.take_trial(self.now, 2.0)
            self.case.note(fault(kind), began=self.now, now=self.now, trial=True)

    def out(self) -> Standing:
        standing = self.case.at(self.now)
        assert standing is not None
        assert standing.is_out
        return standing

    @property
    def is_fine(self) -> bool:
        return self.case.at(self.now) is None

    def wait_until_over(self) -> None:
        until = self.out().until
        assert until is not None
        self.now = until


def fault(kind: Fault | None, retry_after_s: float | None = None) -> ProviderFault | None:
    return None if kind is None else ProviderFault(kind, "test", retry_after_s=retry_after_s)


# -- leaving


@EVERY_PASSING
def test_the_third_failure_in_a_row_ejects(kind: Fault) -> None:
    life = Life()
    life.call(kind, kind)
    assert life.is_fine
    life.call(kind)
    standing = life.out()
    assert (standing.kind, standing.reason, standing.strikes) == ("ejected", str(kind), 1)
    assert standing.until == pytest.approx(life.now + 10)


def test_a_success_between_breaks_the_row() -> None:
    life = Life()
    life.call(Fault.SERVER, Fault.SERVER, None, Fault.SERVER, Fault.SERVER)
    assert life.is_fine


def test_half_of_ten_calls_within_ten_seconds_ejects() -> None:
    life = Life()
    life.call(*[None, Fault.SERVER] * 4, None)
    assert life.is_fine
    life.call(Fault.SERVER)
    assert life.out().reason == "server"


def test_failures_of_long_ago_are_forgotten() -> None:
    life = Life()
    for _ in range(50):
        life.call(Fault.SERVER, None)
        life.now += 3
    assert life.is_fine


def test_less_than_half_is_borne() -> None:
    life = Life()
    life.call(*[None, None, Fault.RESET] * 100)
    assert life.is_fine


@EVERY_LASTING
def test_what_does_not_mend_itself_ejects_after_the_second_until_somebody_acts(
    kind: Fault,
) -> None:
    life = Life()
    life.call(kind)
    assert life.is_fine
    life.call(kind)
    assert (life.out().reason, life.out().until) == (str(kind), None)
    life.now += 3599
    assert not life.case.may_try(life.now, last=False)
    assert not life.case.wants_probe(life.now)
    life.now += 2
    assert life.case.wants_probe(life.now)
    life.trial(None, None)
    assert not life.case.at(life.now).is_out  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", [Fault.CANCELLED, Fault.TOO_LONG])
def test_what_is_the_client_s_own_never_counts(kind: Fault) -> None:
    life = Life()
    life.call(*[kind] * 100)
    assert life.is_fine
    life.call(Fault.SERVER, Fault.SERVER, kind, Fault.SERVER)
    assert life.out().reason == "server"


@pytest.mark.parametrize(
    ("told", "rests"),
    [(17.0, 17.0), (0.25, 0.25), (86_400.0, 3600.0), (None, 10.0), (0.0, 1.0), (-900.0, 1.0)],
)
def test_a_429_rests_as_told_within_bounds(told: float | None, rests: float) -> None:
    life = Life()
    life.call(Fault.RATE, retry_after_s=told)
    standing = life.out()
    assert (standing.kind, standing.strikes) == ("resting", 0)
    assert standing.until == pytest.approx(life.now + rests)
    life.wait_until_over()
    assert life.is_fine


def test_429s_that_tell_no_time_rest_longer_each_time() -> None:
    life, rests = Life(), []
    for _ in range(7):
        life.call(Fault.RATE)
        rests.append(round(life.out().until - life.now))  # type: ignore[operator]
        life.wait_until_over()
    assert rests == [10, 20, 40, 80, 160, 300, 300]
    life.call(None, Fault.RATE)
    assert round(life.out().until - life.now) == 10  # type: ignore[operator]


def test_429s_that_say_at_once_rest_longer_each_time() -> None:
    life, rests = Life(), []
    for _ in range(10):
        life.call(Fault.RATE, retry_after_s=0)
        rests.append(round(life.out().until - life.now))  # type: ignore[operator]
        life.wait_until_over()
    assert rests == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]


def test_whether_one_is_slow_is_judged_at_every_failure() -> None:
    life = Life()

    def wait(*ends: Fault | None) -> None:
        """Calls that began together: a good one ends at once, the others after ten seconds."""
        began = life.now
        for end in ends:
            if end is None:
                life.case.note(None, began=began, now=began + 0.1)
        life.now += 10
        for end in ends:
            if end is not None:
                life.case.note(fault(end), began=began, now=life.now)

    life.case.note(None, began=life.now + 8, now=life.now + 9)  # others are served meanwhile
    wait(*[Fault.TIMEOUT] * 3)
    assert life.out().reason == "timeout"
    assert life.case.is_overloaded(life.now)
    wait(None, *[Fault.TIMEOUT] * 2)  # that good answer was at the very beginning
    assert not life.case.is_overloaded(life.now)
    assert not life.case.may_try(life.now - 5, last=True)


def test_an_overload_that_says_when_to_come_back_is_left_alone_until_then() -> None:
    life = Life()
    for _ in range(3):
        life.call(Fault.OVERLOAD, retry_after_s=42)
    assert life.out().until == pytest.approx(life.now + 42)


# -- calls that were under way


def test_calls_under_way_at_an_ejection_count_neither_against_it_nor_for_it() -> None:
    life = Life()
    began = life.now
    life.call(*[Fault.SERVER] * 3)
    before = life.out()
    for kind in [Fault.SERVER, None, Fault.AUTH, Fault.RATE] * 50:
        life.now += 0.01
        life.case.note(fault(kind), began=began, now=life.now)
    assert life.out() == before
    life.wait_until_over()
    life.trial(None, None)
    for _ in range(50):
        life.case.note(fault(Fault.TIMEOUT), began=began, now=life.now)
    assert life.case.at(life.now).kind == "returning"  # type: ignore[union-attr]


def test_a_clock_that_is_set_back_neither_blinds_it_nor_keeps_it_out() -> None:
    life = Life()
    life.call(*[Fault.SERVER] * 3)
    life.now -= 7200
    assert life.out().until - life.now <= RULES.max_s  # type: ignore[operator]
    life.wait_until_over()
    life.trial(None, None)
    assert not life.case.at(life.now).is_out  # type: ignore[union-attr]
    life.now -= 7200
    life.call(*[Fault.SERVER] * 3)
    life.out()


# -- coming back


def test_two_trials_bring_it_back_with_a_slow_start() -> None:
    life = Life()
    life.call(*[Fault.SERVER] * 3)
    assert not life.case.may_try(life.now + 5, last=False)
    life.wait_until_over()
    life.trial(None)
    life.out()
    life.trial(None)
    assert life.case.at(life.now).kind == "returning"  # type: ignore[union-attr]
    factors = [life.case.factor(life.now + passed) for passed in (0, 3, 15, 29.9, 30, 100)]
    assert factors == [pytest.approx(one, abs=0.01) for one in (0.1, 0.1, 0.5, 1, 1, 1)]
    assert life.case.at(life.now + 30) is None


def test_a_failed_trial_doubles_the_time_up_to_the_longest() -> None:
    life, spans = Life(), []
    life.call(*[Fault.SERVER] * 3)
    for _ in range(8):
        spans.append(round(life.out().until - life.now))  # type: ignore[operator]
        life.wait_until_over()
        life.trial(Fault.SERVER)
    assert spans == [10, 20, 40, 80, 160, 300, 300, 300]


def test_one_trial_a_second_and_the_next_at_once_after_a_good_one() -> None:
    life = Life()
    life.call(*[Fault.SERVER] * 3)
    life.wait_until_over()
    life.case.take_trial(life.now, 2.0)
    assert not life.case.may_try(life.now + 0.99, last=True)
    assert life.case.may_try(life.now + 1, last=False)
    life.case.note(None, began=life.now, now=life.now + 0.1, trial=True)
    assert life.case.may_try(life.now + 0.1, last=False)


def test_nobody_waits_for_a_silent_server_before_its_time() -> None:
    life = Life()
    life.call(*[Fault.TIMEOUT] * 3)
    assert not life.case.may_try(life.now + 5, last=True)
    life.wait_until_over()
    assert life.case.may_try(life.now, last=False)
    assert life.case.trial_s(None) == 2.0
    life.trial(Fault.TIMEOUT)
    assert life.case.trial_s(None) == 4.0
    assert life.case.trial_s(3.0) == 12.0


def test_who_refuses_at_once_may_be_tried_each_second_when_nobody_is_left() -> None:
    life = Life()
    life.call(*[Fault.CONNECT] * 3)
    assert not life.case.may_try(life.now + 2, last=False)
    assert life.case.may_try(life.now + 2, last=True)
    life.now += 2
    life.case.take_trial(life.now, 2.0)
    life.case.note(fault(Fault.CONNECT), began=life.now, now=life.now, trial=True)
    assert life.out().strikes == 1  # its time was not over: no strike


def test_one_lost_call_after_the_return_is_no_relapse_but_two_are() -> None:
    life = Life()
    life.call(*[Fault.SERVER] * 3)
    life.wait_until_over()
    life.trial(None, None)
    life.call(Fault.SERVER, None)
    assert not life.case.at(life.now).is_out  # type: ignore[union-attr]
    life.call(Fault.SERVER, Fault.SERVER)
    assert life.out().strikes == 2


def test_strikes_go_only_with_a_long_good_time() -> None:
    life = Life()

    def once_more() -> int:
        life.call(*[Fault.SERVER] * 3)
        strikes = life.out().strikes
        life.wait_until_over()
        life.trial(None, None)
        return strikes

    assert [once_more() for _ in range(3)] == [1, 2, 3]
    life.now += 301
    assert once_more() == 3  # one forgotten, one added
    life.now += 3600
    assert once_more() == 1


def test_one_that_flaps_meets_less_and_less_of_the_traffic() -> None:
    life, met, calls = Life(), 0, 0
    # Ten calls a second for half an hour; sick for 15 s of every 20 s.
    while life.now < START + 1800:
        life.now += 0.1
        calls += 1
        sick = life.now % 20 < 15
        standing = life.case.at(life.now)
        trial = standing is not None and standing.is_out
        if trial and not life.case.may_try(life.now, last=False):
            continue
        if trial:
            life.case.take_trial(life.now, 2.0)
        met += sick
        life.case.note(
            fault(Fault.SERVER if sick else None), began=life.now, now=life.now, trial=trial
        )
    assert met < 0.01 * calls


def test_good_calls_side_by_side_prove_one_moment() -> None:
    life = Life()
    life.call(*[Fault.OVERLOAD] * 3)
    life.call(*[None] * 20)  # let in because too many are out
    life.out()
    life.now += 1
    life.call(None)
    assert not life.case.at(life.now).is_out  # type: ignore[union-attr]


# -- probes


def test_probes_bring_it_back_before_its_time() -> None:
    life = Life()
    life.call(*[Fault.SERVER] * 3)
    assert not life.case.wants_probe(life.now + 9)
    life.now += 10.1
    assert life.case.wants_probe(life.now)
    life.case.probe(None, life.now)
    life.now += 1
    assert life.case.wants_probe(life.now)
    life.case.probe(None, life.now)
    assert not life.case.at(life.now).is_out  # type: ignore[union-attr]


def test_a_free_signal_lets_somebody_try_and_no_more() -> None:
    life = Life()
    life.call(Fault.AUTH, Fault.AUTH)
    for _ in range(5):
        life.case.probe(None, life.now, free=True)
    life.out()
    life.now += 1
    life.trial(None, None)
    assert not life.case.at(life.now).is_out  # type: ignore[union-attr]


def test_a_failed_free_signal_spares_a_request_the_trial() -> None:
    life = Life()
    life.call(*[Fault.CONNECT] * 3)
    life.wait_until_over()
    life.case.probe(fault(Fault.CONNECT), life.now, free=True)
    assert not life.case.may_try(life.now, last=False)
    assert life.out().strikes == 1


# -- somebody's word


def test_nobody_tries_what_an_operator_took_out() -> None:
    life = Life()
    life.case.close("drained", "disks", life.now, by="operator", for_s=3600)
    life.call(None, None, Fault.SERVER)
    assert life.out().reason == "disks"
    assert not life.case.may_try(life.now + 1800, last=True)
    assert not life.case.wants_probe(life.now + 1800)
    life.now += 3600
    assert life.case.at(life.now).kind == "returning"  # type: ignore[union-attr]


def test_a_quarantine_outranks_an_operator_s_pause_and_ends_by_word_only() -> None:
    life = Life()
    life.case.close("quarantined", "parity: cosine 0.41", life.now, by="parity")
    life.case.close("drained", "disks", life.now + 1, by="operator", for_s=5)
    life.now += 10**6
    assert life.out().kind == "quarantined"
    life.case.clear(life.now, by="parity")
    assert not life.case.at(life.now).is_out  # type: ignore[union-attr]


def test_parity_lifts_nothing_but_its_own() -> None:
    life = Life()
    life.case.close("drained", "disks", life.now, by="operator", for_s=3600)
    life.case.clear(life.now, by="parity")
    life.out()
    life.case.clear(life.now, by="operator")
    assert not life.case.at(life.now).is_out  # type: ignore[union-attr]


# -- what other processes say


def said(kind: str = "ejected", *, since: float, **more: object) -> Said:
    values = {"reason": "server", "until": since + 10, "strikes": 1, "by": "other", **more}
    return Said.of(Standing(key="k", kind=kind, since=since, **values))  # type: ignore[arg-type]


def test_the_newer_word_rules_and_is_taken_once() -> None:
    life = Life()
    life.case.merge(said(since=life.now - 1), life.now)
    assert life.out().by == "other"
    life.case.merge(said(since=life.now - 5, reason="auth"), life.now)
    assert life.out().reason == "server"
    life.case.merge(said("returning", since=life.now), life.now)
    assert not life.case.at(life.now).is_out  # type: ignore[union-attr]
    life.now += 11
    assert life.is_fine
    life.case.merge(said(since=life.now - 12), life.now)  # heard late, or again
    assert life.is_fine


def test_others_knowing_of_nothing_does_not_lift_what_was_found_here() -> None:
    life = Life()
    life.call(*[Fault.SERVER] * 3)
    life.case.merge(Said(), life.now)
    life.out()


def test_another_process_does_not_lift_a_quarantine() -> None:
    life = Life()
    life.case.close("quarantined", "parity", life.now, by="parity")
    life.case.merge(said("returning", since=life.now + 1), life.now)
    life.case.merge(said(since=life.now + 1), life.now)
    life.case.merge(said("drained", since=life.now + 1, by="operator"), life.now)
    assert life.out().kind == "quarantined"


def test_a_clock_that_is_wrong_elsewhere_does_not_keep_it_out_for_long() -> None:
    life = Life()
    life.case.merge(said(since=life.now + 10**6, until=life.now + 10**7), life.now)
    assert life.out().until == life.now + RULES.max_s


def test_what_is_written_is_read_again_and_nothing_else_is() -> None:
    told = said(since=START, until=None).join(said("drained", since=START, by="operator"))
    assert Said.from_json(told.to_json()) == told
    assert Said.from_json(b"{}") == Said()
    whole = told.to_json()
    odd = (b"", b"[]", b'{"calls": 1}', b'{"key": 1}', whole.replace(b'"ejected', b'"odd'))
    moved = (whole.replace(b'"calls"', b'"parity"'), whole.replace(b'"k"', b"7"))
    for text in (*odd, *moved, whole.replace(b'"stamp":', b'"stamp":9999')):
        with pytest.raises(ValueError, match=r"not |a word in the place"):
            Said.from_json(text)


# -- what holds in any life

KINDS = st.sampled_from([None, None, None, *Fault])
STEPS = st.lists(
    st.tuples(
        st.floats(0, 400),  # seconds pass; most of the time few
        KINDS,
        st.floats(0, 50),  # how long the call took
        st.one_of(st.none(), st.floats(0, 1e6)),  # what a 429 says
    ),
    max_size=80,
)


@settings(max_examples=size(150, 3000), deadline=None)
@given(steps=STEPS, drawn=st.floats(0, 1, exclude_max=True))
def test_an_ejection_is_bounded_and_a_return_always_possible(
    steps: Sequence[tuple[float, Fault | None, float, float | None]], drawn: float
) -> None:
    case = Case("k", RULES, lambda: drawn, "me")
    now = START
    for passed, kind, took, told in steps:
        now += passed
        if case.may_try(now, last=False):
            case.take_trial(now, 2.0)
            case.note(fault(kind, told), began=now - took, now=now, trial=True)
        standing = case.at(now)
        if standing is not None and standing.until is not None:
            most = RULES.longest_rest_s if standing.kind == "resting" else RULES.max_s
            assert standing.until - now <= most
        if standing is not None and standing.until is None:
            assert standing.reason in LASTING
    # From wherever it is: good calls, wherever one is allowed, bring it back within two hours.
    ends = now + 7200
    while now < ends and (standing := case.at(now)) is not None and standing.is_out:
        now += 1
        if case.may_try(now, last=False):
            case.take_trial(now, 2.0)
            case.note(None, began=now, now=now, trial=True)
    standing = case.at(now)
    assert standing is None or not standing.is_out


@settings(max_examples=size(150, 3000), deadline=None)
@given(
    lives=st.lists(
        st.lists(st.tuples(st.floats(0, 20), KINDS), max_size=30), min_size=1, max_size=8
    ),
    share=st.floats(0, 1),
)
def test_never_is_everybody_out_for_overload(
    lives: Sequence[Sequence[tuple[float, Fault | None]]], share: float
) -> None:
    cases, now = [], START
    for number, steps in enumerate(lives):
        case, now = Case(str(number), RULES, lambda: 0.5, "me"), START
        for passed, kind in steps:
            now += passed
            case.note(fault(kind), began=now, now=now)
        cases.append(case)
    now = START + 700
    used = let_in(cases, len(cases), share, now)
    busy = [one for one in cases if one.is_overloaded(now)]
    assert len(busy) - len(used) <= share * len(cases)
    assert set(map(id, used)) <= set(map(id, busy))  # never one that is dead
    for one in used:
        standing = one.at(now)
        assert standing is not None
        assert standing.reason in ("rate", "overload", "timeout")
    if busy and len(busy) == len(cases) and share < 1:
        assert used
