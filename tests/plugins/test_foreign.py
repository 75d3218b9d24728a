"""LiteLLM's refusals in our words: every status it knows, and none of its text."""

from __future__ import annotations

import json

import pytest

from plugins._errors import ClientError, Unavailable
from plugins._foreign import translate

TEXT = "litellm.SecretError: provider https://secret said sk-secret"


def answer(
    status: int, *, kind: str = "x", entered: bool = True, retry_after: str | None = None
) -> ClientError | Unavailable:
    body = json.dumps({"error": {"message": TEXT, "type": kind, "code": str(status)}})
    headers = {} if retry_after is None else {"retry-after": retry_after}
    return translate(status, headers, body.encode(), decided=entered)


@pytest.mark.parametrize(
    ("status", "entered", "expected"),
    [
        (401, True, (401, "unauthorized", None)),
        (401, False, (401, "unauthorized", None)),
        (400, False, (401, "unauthorized", None)),  # "No connected db."
        (500, False, (401, "unauthorized", None)),  # its database package is missing
        (400, True, (400, "invalid_input", None)),
        (422, True, (400, "invalid_input", None)),
        (403, True, (404, "model_not_found", None)),
        (404, True, (404, "model_not_found", None)),
        (413, True, (413, "request_too_large", None)),
        (429, True, (429, "rate_limited", 60)),
        (429, False, (429, "rate_limited", 60)),
        (500, True, (503, "no_deployment_available", 1)),
        (502, True, (503, "no_deployment_available", 1)),
        (503, False, (503, "no_deployment_available", 1)),
        (200, True, (503, "no_deployment_available", 1)),  # a good answer that nobody checked
        (307, True, (503, "no_deployment_available", 1)),
    ],
)
def test_every_status_has_one_answer(
    status: int, entered: bool, expected: tuple[int, str, int | None]
) -> None:
    error = answer(status, entered=entered)
    assert (error.status, error.code, error.retry_after_s) == expected
    assert "secret" not in error.message


@pytest.mark.parametrize("status", [400, 429, 403])
def test_an_empty_budget_is_told_from_a_rate_limit(status: int) -> None:
    error = answer(status, kind="budget_exceeded")
    assert (error.status, error.code, error.retry_after_s) == (429, "budget_exceeded", None)


@pytest.mark.parametrize(
    "kind", ["key_model_access_denied", "team_model_access_denied", "user_model_access_denied"]
)
def test_a_denied_model_is_one_that_does_not_exist(kind: str) -> None:
    assert answer(401, kind=kind).code == "model_not_found"


@pytest.mark.parametrize(
    ("said", "expected"),
    [("7", 7), ("0", 1), ("86400", 3600), ("soon", 60), ("-1", 60), ("1.5", 60)],
)
def test_a_wait_is_passed_on_within_reason(said: str, expected: int) -> None:
    assert answer(429, retry_after=said).retry_after_s == expected


@pytest.mark.parametrize("body", [b"", b"Internal Server Error", b"[]", b'{"error":"x"}', b"null"])
def test_a_body_of_any_shape_is_understood(body: bytes) -> None:
    assert translate(500, {}, body, decided=True).code == "no_deployment_available"
