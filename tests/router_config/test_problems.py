"""Problems as values: their text, their order, their suggestions."""

from __future__ import annotations

import pytest

from router_config import Problem
from router_config.problems import (
    contains_a_secret,
    did_you_mean,
    in_file_order,
    looks_like_a_secret,
    render_path,
)


def test_a_problem_says_where_what_and_how_to_fix_it() -> None:
    problem = Problem("c.yaml", 41, 7, "a.usdd", "unknown key", 'did you mean "usd"?')
    assert str(problem) == 'c.yaml:41:7: a.usdd: unknown key; did you mean "usd"?'


def test_problems_come_in_file_order_and_once() -> None:
    late, early = Problem("f", 9, 1, "", "x", ""), Problem("f", 2, 5, "", "y", "")
    assert in_file_order([late, early, late]) == [early, late]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), ""),
        (("model_list", 3, "model_info", "id"), "model_list[3].model_info.id"),
        (("budgets", "key:*", "usd"), "budgets.key:*.usd"),
        (("groups", "a.b c"), 'groups["a.b c"]'),
        (("a", 'q"\n'), 'a["q\\"\\n"]'),
        (("keys", "sk-0123456789abcdefghij"), "keys.***"),
    ],
)
def test_a_path_reads_like_code_and_hides_what_may_be_secret(
    path: tuple[str | int, ...], text: str
) -> None:
    assert render_path(path) == text


@pytest.mark.parametrize(
    ("word", "guess"),
    [
        ("usdd", "usd"),
        ("num-retries", "num_retries"),
        ("NumRetries", "num_retries"),
        ("fallback", "fallbacks"),
        ("weather", None),
        ("", None),
        ("uds", "usd"),
    ],
)
def test_a_near_miss_gets_a_suggestion(word: str, guess: str | None) -> None:
    assert did_you_mean(word, ["usd", "num_retries", "fallbacks", "tokens"]) == guess


@pytest.mark.parametrize(
    "text",
    [
        "sk-0123456789abcdefghij",
        "hf_0123456789abcdefghij",
        "0b1e8b5c-aaaa-4bbb-8ccc-1234567890ab",
        "0123456789abcdef0123456789abcdef",
    ],
)
def test_a_key_is_taken_for_one(text: str) -> None:
    assert looks_like_a_secret(text)


@pytest.mark.parametrize(
    "text", ["qwen3-embedding-8b-eu", "input_cost_per_token_above_200k_tokens"]
)
def test_a_name_is_not_taken_for_a_key(text: str) -> None:
    assert not looks_like_a_secret(text)


@pytest.mark.parametrize(
    "text",
    [
        "see https://me:pw@example.com/",
        "redis://:pw@localhost:6379",
        "https://example.com/v1?api_key=abc",
        "Bearer sk-0123456789abcdefghij",
    ],
)
def test_credentials_inside_a_text_are_seen(text: str) -> None:
    assert contains_a_secret(text)


@pytest.mark.parametrize(
    "text",
    [
        "https://example.com/v1",
        "mail me@example.com",
        "risk-management-of-embeddings",
        "http://[::1]/",
    ],
)
def test_plain_text_has_no_credentials(text: str) -> None:
    assert not contains_a_secret(text)
