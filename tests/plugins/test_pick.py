"""Who is next: orders, weights, groups, and never the same endpoint twice."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from plugins._pick import Admits, pick, rank
from plugins._pool import Candidate
from tests.plugins.plans import candidate, plan


def nobody_refused(_: Candidate) -> None:
    return None


def test_the_lowest_order_that_admits_somebody_wins() -> None:
    pool = [candidate("c", order=3), candidate("a", order=1), candidate("b", order=2)]
    assert pick([pool], nobody_refused, random.random).id == "a"  # type: ignore[union-attr]
    refused = {"a": "sick"}
    assert pick([pool], lambda one: refused.get(one.id), random.random).id == "b"  # type: ignore[union-attr]


def test_the_fallback_group_comes_after_the_last_order() -> None:
    groups = [[candidate("a", order=9)], [candidate("b", order=1)]]
    assert pick(groups, nobody_refused, random.random).id == "a"  # type: ignore[union-attr]
    assert pick(groups, lambda one: "sick" if one.id == "a" else None, random.random).id == "b"  # type: ignore[union-attr]


def test_siblings_share_the_traffic_by_weight() -> None:
    pool = [candidate("a", weight=3), candidate("b", weight=1)]
    dice = random.Random(1)
    seen = Counter(pick([pool], nobody_refused, dice.random).id for _ in range(4000))  # type: ignore[union-attr]
    assert 2850 < seen["a"] < 3150


def test_a_weight_of_zero_is_never_drawn() -> None:
    pool = [candidate("a", weight=0), candidate("b", weight=1)]
    assert {pick([pool], nobody_refused, lambda x=x: x / 100).id for x in range(100)} == {"b"}  # type: ignore[union-attr]
    assert pick([pool[:1]], nobody_refused, random.random) is None


def test_nobody_left_is_none() -> None:
    assert pick([[candidate("a")]], lambda _: "sick", random.random) is None
    assert pick([], nobody_refused, random.random) is None


pools = st.lists(
    st.lists(
        st.tuples(st.integers(1, 3), st.sampled_from([0, 0.5, 1, 7]), st.booleans()), max_size=5
    ),
    max_size=3,
)


@given(pools, st.floats(0, 1, exclude_max=True))
def test_the_pick_is_the_best_admitted_candidate_by_group_and_order(
    shape: list[list[tuple[int, float, bool]]], drawn: float
) -> None:
    groups = [
        [
            candidate(
                f"{g}-{i}", group=str(g), order=order, weight=weight, off=None if on else "off"
            )
            for i, (order, weight, on) in enumerate(group)
        ]
        for g, group in enumerate(shape)
    ]
    chosen = pick(groups, lambda one: one.off, lambda: drawn)
    able = [
        (g, one.order, one)
        for g, group in enumerate(groups)
        for one in group
        if one.off is None and one.weight > 0
    ]
    if chosen is None:
        assert not able
        return
    best = min((g, order) for g, order, _ in able)
    assert chosen in [one for g, order, one in able if (g, order) == best]


@given(pools)
def test_the_first_admitted_rank_has_what_the_pick_can_choose(
    shape: list[list[tuple[int, float, bool]]],
) -> None:
    groups = [
        [
            candidate(
                f"{g}-{i}", group=str(g), order=order, weight=weight, off=None if on else "off"
            )
            for i, (order, weight, on) in enumerate(group)
        ]
        for g, group in enumerate(shape)
    ]
    ranks = rank(groups, lambda one: one.off)
    assert len(ranks) == sum(map(len, groups))
    first = next((one for one in ranks if one.refused is None), None)
    chosen = pick(groups, lambda one: one.off, lambda: 0.0)
    assert (first is None) == (chosen is None)
    if first is not None and chosen is not None:
        assert (first.candidate.group, first.candidate.order) == (chosen.group, chosen.order)


def test_an_endpoint_is_tried_once_even_behind_two_deployments() -> None:
    request = plan([[candidate("free", endpoint="e1"), candidate("paid", endpoint="e1", order=2)]])
    first = request.next(lambda: 0.0, 0.0)
    assert first is not None
    request.begin(first)
    assert request.next(lambda: 0.0, 0.0) is None


def test_attempts_and_the_deadline_end_a_request() -> None:
    request = plan([[candidate(str(i)) for i in range(5)]], attempts=2, deadline=10.0)
    for _ in range(2):
        chosen = request.next(lambda: 0.0, 9.9)
        assert chosen is not None
        request.begin(chosen)
    assert request.next(lambda: 0.0, 9.9) is None
    assert plan([[candidate("a")]], deadline=10.0).next(lambda: 0.0, 10.0) is None


def test_a_region_admits_only_its_own_deployments() -> None:
    request = plan([[candidate("us", region="us"), candidate("eu", region="eu")]], region="eu")
    chosen = request.next(lambda: 0.0, 0.0)
    assert chosen is not None
    assert chosen.id == "eu"
    request.begin(chosen)
    assert request.next(lambda: 0.0, 0.0) is None


def test_a_deployment_too_small_for_the_longest_input_is_passed_over() -> None:
    request = plan(
        [[candidate("small", max_tokens=10), candidate("large", order=2)]], counts=(3, 11)
    )
    chosen = request.next(lambda: 0.0, 0.0)
    assert chosen is not None
    assert chosen.id == "large"


def test_a_deployment_too_small_for_what_is_done_already_may_take_the_rest() -> None:
    request = plan(
        [[candidate("large", max_tokens=11), candidate("small", order=2, max_tokens=10)]],
        counts=(11, 3),
    )
    large, small = request.groups[0]
    assert request.admits(small) is not None
    request.begin(large)
    rows = np.eye(1, 4096, dtype=np.float32)
    request.accept([0], rows, large, tokens=11, cost_nano_usd=0)
    assert request.next(lambda: 0.0, 0.0) is small


# -- slow start: a part of the weight


def test_a_sibling_takes_what_one_that_came_back_does_not_get_yet() -> None:
    group = [candidate("back", weight=1), candidate("well", weight=1)]
    share = {"back": 0.25, "well": 1.0}
    drawn = [
        pick([group], lambda _: None, lambda point=i / 1000: point, lambda one: share[one.id])
        for i in range(1000)
    ]
    assert sum(one is group[0] for one in drawn) == 200


def test_an_order_that_came_back_leaves_the_rest_to_the_next() -> None:
    back, behind = candidate("back"), candidate("behind", order=2)
    share = {"back": 0.25, "behind": 1.0}

    def chosen(drawn: float, admits: Admits = nobody_refused) -> Candidate | None:
        return pick([[back, behind]], admits, lambda: drawn, lambda one: share[one.id])

    assert [chosen(i / 1000) for i in range(1000)].count(back) == 250
    # Nobody behind is admitted: whoever came back serves all.
    assert chosen(0.99, lambda one: None if one is back else "no") is back
