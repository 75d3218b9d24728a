"""Admission counts within the request's deadline, and what it counted stands in the plan."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from itertools import count as ticks

import pytest

from plugins._admission import TRUNCATE_TOKENS, Consumer, admit
from plugins._errors import ClientError, Unavailable
from plugins._plan import Plan
from router_config import SHIPPED_CONFIG, load
from tests.plugins.plans import asked, candidate

GROUP = next(iter(load(SHIPPED_CONFIG).groups.values()))


def admitted(texts: list[str], clock: Callable[[], float], *, truncate: bool = False) -> Plan:
    """Return the plan for *texts*, received when the clock stood at 0."""
    pool = {GROUP.name: (candidate("one"),)}
    request = replace(asked(texts), truncate=truncate)
    return asyncio.run(
        admit(
            request,
            GROUP,
            pool,
            Consumer(),
            request_id="req_test",
            received_at=0.0,
            clock=clock,
        )
    )


@pytest.mark.parametrize("truncate", [False, True])
@pytest.mark.parametrize("chars", [10, 1000])
def test_counting_ends_at_half_of_the_deadline(chars: int, truncate: bool) -> None:
    seconds = ticks()  # a second passes at every look at the clock
    with pytest.raises(Unavailable) as caught:
        admitted(["/" * chars] * 2048, lambda: float(next(seconds)), truncate=truncate)
    assert (caught.value.status, caught.value.code) == (504, "deadline_exceeded")
    assert GROUP.deadline_s == 30
    assert next(seconds) == 17  # one look at 0, and one before each text until 15 has passed


def test_nothing_is_counted_after_the_deadline() -> None:
    with pytest.raises(Unavailable):
        admitted(["text"], lambda: 30.1)


def test_a_late_request_that_is_counted_at_once_is_admitted() -> None:
    assert admitted(["text"], lambda: 29.0).counts == (2,)


@pytest.mark.parametrize("texts", [["a b c", "d"], ["word " * 20_000, "d"]])
def test_texts_and_counts_keep_their_order(texts: list[str]) -> None:
    plan = admitted(texts, lambda: 0.0)
    assert plan.texts == tuple(texts)
    assert plan.counts == (4 if texts[0] == "a b c" else 20_002, 2)


def test_a_truncated_text_has_the_count_of_what_was_kept() -> None:
    plan = admitted(["字 " * 100_000, "d"], lambda: 0.0, truncate=True)
    assert plan.counts == (TRUNCATE_TOKENS, 2)
    assert len(plan.texts[0]) < 200_000


def test_a_text_not_counted_to_its_end_has_at_least_so_many_tokens() -> None:
    with pytest.raises(ClientError, match=r"at least \d+ tokens") as caught:
        admitted(["字 " * 200_000], lambda: 0.0)
    assert caught.value.code == "context_length_exceeded"


def in_space(pinned: str | None, dimensions: int | None, name: str) -> Plan:
    request = replace(asked(["text"]), space=pinned, dimensions=dimensions)
    group = GROUP.model_copy(update={"fallbacks": ("same", "other")})
    pool = {name: (candidate(name, group=name),) for name in (GROUP.name, "same", "other")}
    return asyncio.run(
        admit(
            request,
            group,
            pool,
            Consumer(),
            request_id="req_test",
            received_at=0.0,
            clock=lambda: 0.0,
            recorded={GROUP.name: name, "same": name, "other": "r2-00000001"},
        )
    )


RECORDED = "r2-5b0c21fe"
SPACE = f"qwen3-8b:last:l2:{RECORDED}:1024"


@pytest.mark.parametrize(
    ("pinned", "named"),
    [
        (None, RECORDED),
        ("", RECORDED),
        (SPACE, RECORDED),
        (f" {SPACE}", RECORDED),
        # What was pinned before anything was recorded.
        ("qwen3-8b:last:l2:r2:1024", RECORDED),
        ("qwen3-8b:last:l2:r1:1024", "r1"),
    ],
)
def test_a_plan_names_its_space_and_stays_in_it(pinned: str | None, named: str) -> None:
    plan = in_space(pinned, 1024, named)
    assert plan.space == f"qwen3-8b:last:l2:{named}:1024"
    assert plan.group_names == (GROUP.name, "same")


@pytest.mark.parametrize(
    ("pinned", "shown"),
    [
        ("qwen3-8b:last:l2:r1:1024", "asks for qwen3-8b:last:l2:r1:1024"),
        ("qwen3-8b:last:l2:r2-00000001:1024", "asks for qwen3-8b:last:l2:r2-00000001:1024"),
        ("qwen3-8b:last:l2:r2:4096", "asks for qwen3-8b:last:l2:r2:4096"),
        ("пространство", "asks for another"),
        ("x" * 65, "asks for another"),
    ],
)
def test_another_space_than_the_pinned_one_is_refused(pinned: str, shown: str) -> None:
    with pytest.raises(ClientError, match=shown) as caught:
        in_space(pinned, 1024, RECORDED)
    assert (caught.value.status, caught.value.code) == (409, "space_mismatch")
    assert SPACE in caught.value.message


def test_a_recorded_name_is_not_the_one_that_nothing_is_recorded_for() -> None:
    with pytest.raises(ClientError, match="asks for"):
        in_space(SPACE, 1024, "r2")
