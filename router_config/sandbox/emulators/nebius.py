"""Nebius Token Factory: OpenAI's shape, validation errors as FastAPI writes them.

Sources: docs.tokenfactory.nebius.com create-embeddings, rate-limits. The shapes of 401 and 429 are
not documented; FastAPI's is taken for them too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from .base import Complaint, Emulator, Refusal, Statuses

__all__ = ["Nebius"]


class Nebius(Emulator):
    name = "nebius"
    key_env = "NEBIUS_API_KEY"
    token_arrays = True
    statuses: ClassVar[Statuses] = {
        Refusal.DIMENSIONS: 422,
        Refusal.FIELD: 422,
        Refusal.INPUT: 422,
        Refusal.EMPTY: 422,
    }

    def error(self, no: Complaint) -> Any:
        if no.status == 422:
            return {"detail": [{"loc": ["body", no.why], "msg": no.message, "type": "value_error"}]}
        return {"detail": no.message}

    def headers(self, left: Mapping[str, int]) -> dict[str, str]:
        return {
            "x-ratelimit-limit-requests": str(left["limit_requests"]),
            "x-ratelimit-limit-tokens": str(left["limit_tokens"]),
            "x-ratelimit-remaining-requests": str(left["remaining_requests"]),
            "x-ratelimit-remaining-tokens": str(left["remaining_tokens"]),
        }
