"""LiteLLM's own refusals in our words: a status and a body in, one of our errors out.

No text of LiteLLM reaches a client on our path: it names settings, deployments and providers that
a client cannot know, and its `code` is only the status as a string.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from plugins._errors import ClientError, Unavailable

__all__ = ["translate", "unauthorized"]


def unauthorized() -> ClientError:
    """Return the answer for a missing or wrong key."""
    return ClientError(
        401,
        "unauthorized",
        "Missing or wrong API key; send a key of this router as `Authorization: Bearer …`.",
    )


def translate(
    status: int, headers: Mapping[str, str], body: bytes, *, decided: bool
) -> ClientError | Unavailable:
    """Return what the client is told when LiteLLM answered *status*.

    *decided* tells that a wrong key would have been told as one: our first hook ran, or our own
    handler checks the keys. Else LiteLLM without a database answers 400 or 500 to a wrong key.
    """
    kind = _kind(body)
    if "budget_exceeded" in kind:
        return Unavailable(429, "budget_exceeded", "The budget of this key or team is used up.")
    if "model_access_denied" in kind or status in (403, 404):
        return ClientError(
            404,
            "model_not_found",
            "The model does not exist or you do not have access to it.",
            param="model",
        )
    if status == 401 or (not decided and status in (400, 500)):
        return unauthorized()
    if status == 429:
        return Unavailable(
            429,
            "rate_limited",
            "The rate limit of this key or team is reached.",
            retry_after_s=_retry_after(headers),
        )
    if status == 413:
        return ClientError(413, "request_too_large", "The request is too large.")
    if 400 <= status < 500:
        return ClientError(400, "invalid_input", "The request was refused.")
    return Unavailable(
        503, "no_deployment_available", "The request could not be served now.", retry_after_s=1
    )


def _kind(body: bytes) -> str:
    try:
        value: Any = orjson.loads(body)
        kind = value["error"]["type"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ""
    return kind if isinstance(kind, str) else ""


def _retry_after(headers: Mapping[str, str]) -> int:
    value = headers.get("retry-after", "")
    return min(max(int(value), 1), 3600) if value.isdigit() else 60
