"""A provider's count is booked as far as it can be true; an absurd one is ours."""

from __future__ import annotations

import logging
from decimal import Decimal

import pytest

from plugins._attempt import Attempt, bill, billed_tokens
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


@pytest.mark.parametrize(
    ("reported", "booked"),
    [
        (None, 10_000_000),
        ("0", 10_000_000),
        ("0.0123456789", 12_345_679),
        ("0.000001", 1_000),
        ("0.1", 100_000_000),
        ("0.1001", 100_000_000),
        ("1000", 100_000_000),
    ],
)
def test_an_invoice_is_believed_up_to_ten_times_the_price(
    reported: str | None, booked: int, caplog: pytest.LogCaptureFixture
) -> None:
    what = Attempt("r", candidate("a"), None, (), 1, 1_000_000)
    with caplog.at_level(logging.WARNING, "qwen3_router.attempt"):
        billed = bill(what, 1_000_000, None if reported is None else Decimal(reported))
    assert billed == (1_000_000, booked)
    assert ("cost ignored" in caplog.text) == (reported in ("0.1001", "1000"))


def test_a_least_charge_is_believed_where_the_price_is_next_to_nothing() -> None:
    what = Attempt("r", candidate("a"), None, (), 1, 1)
    assert bill(what, 1, Decimal("0.009")) == (1, 9_000_000)
    assert bill(what, 1, Decimal("999")) == (1, 10_000_000)


def test_what_is_asked_for_after_all_has_no_more_attempts_than_any_other_request() -> None:
    one = plan([[candidate("a")]], texts=("text",))
    allowed = one.attempts
    one.leave([0])
    one.take_back([0])
    assert one.attempts == allowed
    assert one.missing() == [0]
