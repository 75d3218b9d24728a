"""What is said of an endpoint is joined: in any order, any number of times; nothing gets lost."""

from __future__ import annotations

import random
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from plugins._ejections import Case
from plugins._errors import Fault, ProviderFault
from plugins._health_rules import Rules
from plugins._said import Said
from plugins._standing import Standing
from tests.sizes import size

START = 1_800_000_000.0
RULES = Rules()
# Few different times and stamps, so that words meet each other.
TIMES = st.integers(0, 6).map(lambda passed: START + passed)
WORDS = st.builds(
    Standing,
    key=st.just("k"),
    kind=st.sampled_from(["ejected", "resting", "quarantined", "drained", "returning"]),
    reason=st.sampled_from(["server", "auth", "parity: wrong space"]),
    since=TIMES,
    until=st.one_of(st.none(), TIMES),
    strikes=st.integers(0, 2),
    by=st.sampled_from(["one", "other", "parity", "operator"]),
    stamp=st.integers(1, 5),
)


@st.composite
def _said(draw: st.DrawFn) -> Said:
    found = Said()
    for word in draw(st.lists(WORDS, max_size=4)):
        found = found.join(Said.of(word))
    return found


SAID = _said()
LAWS = settings(max_examples=size(80, 5000), deadline=None)


@LAWS
@given(a=SAID, b=SAID, c=SAID)
def test_joining_is_commutative_associative_and_idempotent(a: Said, b: Said, c: Said) -> None:
    assert a.join(b) == b.join(a)
    assert a.join(b).join(c) == a.join(b.join(c))
    assert a.join(a) is a
    assert a.join(b).join(b) == a.join(b)
    assert a.join(Said()) is a
    assert Said().join(a) == a
    assert Said.from_json(a.to_json()) == a


@LAWS
@given(said=SAID, more=st.lists(WORDS, max_size=5), now=TIMES)
def test_only_a_later_word_of_parity_or_an_operator_ends_what_they_said(
    said: Said, more: Sequence[Standing], now: float
) -> None:
    before = said.standing(now, 30.0)
    if before is None or not before.is_closed:
        return
    for word in more:
        if Said.of(word).calls is not None:
            said = said.join(Said.of(word))
    after = said.standing(now, 30.0)
    assert after is not None
    assert after == before


@LAWS
@given(said=SAID, now=TIMES)
def test_an_operator_s_pause_is_no_end_of_a_quarantine(said: Said, now: float) -> None:
    before = said.standing(now, 30.0)
    if before is not None and before.kind == "quarantined":
        for kind in ("drained", "ejected"):
            pause = Standing("k", kind, "disks", now, now + 1, 0, "operator", said.stamp + 1)
            assert said.join(Said.of(pause)).standing(now, 30.0) == before
        back = Standing("k", "returning", "why", now, now + 30, 0, "operator", said.stamp + 1)
        after = said.join(Said.of(back)).standing(now, 30.0)
        assert after == back


# -- several processes

ACTS = st.lists(
    st.tuples(
        st.integers(0, 3),  # which process
        st.sampled_from(["fail", "auth", "rest", "good", "quarantine", "prove", "drain", "lift"]),
        st.floats(0, 15),  # seconds pass before
        st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=4),  # who hears whom
    ),
    max_size=25,
)


def act(case: Case, what: str, now: float) -> None:
    kinds = {"fail": Fault.SERVER, "auth": Fault.AUTH, "rest": Fault.RATE}
    if what in kinds:
        for _ in range(3):
            case.note(ProviderFault(kinds[what], "test"), began=now, now=now)
    elif what == "good":
        for _ in range(2):
            case.note(None, began=now, now=now, trial=True)
    elif what == "quarantine":
        case.close("quarantined", "parity: wrong space", now, by="parity")
    elif what == "prove":
        case.clear(now, by="parity")
    elif what == "drain":
        case.close("drained", "disks", now, by="operator", for_s=60)
    else:
        case.clear(now, by="operator")


@settings(max_examples=size(80, 5000), deadline=None)
@given(
    acts=ACTS,
    ahead=st.lists(st.sampled_from([0.0, -3600.0, 7.5]), min_size=4, max_size=4),
    seed=st.integers(0, 2**32),
)
def test_processes_that_have_heard_each_other_agree_whatever_was_lost_or_came_twice(
    acts: Sequence[tuple[int, str, float, list[tuple[int, int]]]],
    ahead: list[float],
    seed: int,
) -> None:
    chance = random.Random(seed)
    cases = [
        Case("k", RULES, lambda: 0.5, f"p{number}", lambda number=number: ahead[number])  # type: ignore[misc]
        for number in range(4)
    ]
    sent: list[Said] = []
    now = START
    for who, what, passed, heard in acts:
        now += passed
        act(cases[who], what, now - ahead[who])
        sent.append(cases[who].voice.said)
        for hears, says in heard:
            cases[hears].merge(cases[says].voice.said, now - ahead[hears])
    # What was sent arrives late, twice, in any order, or not at all; at last all have met.
    arrivals = [(chance.randrange(4), one) for one in sent * 2 if chance.random() < 0.7]
    chance.shuffle(arrivals)
    for hears, one in arrivals:
        cases[hears].merge(one, now - ahead[hears])
    for hears in range(4):
        for says in range(4):
            cases[hears].merge(cases[says].voice.said, now - ahead[hears])
    for hears in range(4):
        for says in range(4):
            cases[hears].merge(cases[says].voice.said, now - ahead[hears])
    assert len({case.voice.said for case in cases}) == 1
    now += 1
    found = [case.at(now - of) for case, of in zip(cases, ahead, strict=True)]
    assert len({None if one is None else (one.kind, one.reason, one.by) for one in found}) == 1
    # A quarantine that any of them said, and that nobody lifted later, holds in all.
    said = cases[0].voice.said
    every = [one for one in sent if one.parity is not None and one.parity.kind == "quarantined"]
    newest = max((one.parity.stamp for one in every if one.parity is not None), default=0)
    lifts = [said.parity] if said.parity is not None and said.parity.kind == "returning" else []
    lifts += [said.lifted] if said.lifted is not None else []
    if newest and all(one.stamp < newest for one in lifts):
        assert {one.kind for one in found if one is not None} == {"quarantined"}


def test_a_word_said_after_another_wins_though_a_clock_was_set_back() -> None:
    one, other = (Case("k", RULES, lambda: 0.5, name) for name in ("one", "other"))
    one.close("quarantined", "parity: wrong space", START, by="parity")
    other.merge(one.voice.said, START - 3600)
    other.clear(START - 3600, by="operator")
    one.merge(other.voice.said, START - 3599)
    assert one.standing is not None
    assert one.standing.kind == "returning"
    other.close("quarantined", "parity: wrong space", START - 3598, by="parity")
    one.merge(other.voice.said, START - 3598)
    assert one.standing.kind == "quarantined"


def test_a_lift_holds_although_the_operator_takes_it_out_for_a_while_after_it() -> None:
    case = Case("k", RULES, lambda: 0.5, "me")
    case.close("quarantined", "parity: wrong space", START, by="parity")
    case.clear(START + 1, by="operator")
    case.close("drained", "disks", START + 2, by="operator", for_s=60)
    assert case.at(START + 3).kind == "drained"  # type: ignore[union-attr]
    assert case.at(START + 63).kind == "returning"  # type: ignore[union-attr]
    assert case.at(START + 100) is None


def test_what_time_has_ended_stays_ended_though_the_clock_is_set_back() -> None:
    case = Case("k", RULES, lambda: 0.5, "me")
    case.note(ProviderFault(Fault.RATE, "test", retry_after_s=3600.0), began=START, now=START)
    now = START - 7200  # the clock is set back
    assert case.at(now) is not None
    assert case.at(now + RULES.longest_rest_s) is None
    assert case.at(now + RULES.longest_rest_s + 1) is None
