"""A provider's count is booked as far as it can be true; an absurd one is ours."""

from __future__ import annotations

import pytest

from plugins._attempt import Attempt, billed_tokens
from tests.plugins.plans import candidate, plan


@pytest.mark.parametrize(
    ("reported", "booked"),
    [
        (None, 1000),
        (1000, 1000),
        (1010, 1010),
        (500, 500),
        (1, 1000),
        (10**9, 1000),
        (10**15, 1000),
    ],
)
def test_a_count_that_cannot_be_true_is_not_booked(reported: int | None, booked: int) -> None:
    assert billed_tokens(Attempt("r", candidate("a"), None, (), 1, 1000), reported) == booked


def test_what_is_asked_for_after_all_has_no_more_attempts_than_any_other_request() -> None:
    one = plan([[candidate("a")]], texts=("text",))
    allowed = one.attempts
    one.leave([0])
    one.take_back([0])
    assert one.attempts == allowed
    assert one.missing() == [0]
