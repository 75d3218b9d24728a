"""Fireworks: a closed body schema without `encoding_format`, and vectors that are not unit length.

Sources: docs.fireworks.ai create-embeddings OpenAPI, querying-embeddings-models,
inference-error-codes, serverless/rate-limits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..texts import Form
from .base import Complaint, Emulator, Refusal, Wording

__all__ = ["Fireworks"]


class Fireworks(Emulator):
    name = "fireworks"
    prefix = "/inference/v1"
    paths = ("/inference/v1/embeddings",)
    key_env = "FIREWORKS_API_KEY"
    models = ("fireworks/qwen3-embedding-8b", "accounts/fireworks/models/qwen3-embedding-8b")
    # additionalProperties: false
    fields = ("input", "model", "dimensions", "prompt_template", "return_logits", "normalize")
    max_inputs = 2048
    max_tokens = 40_960
    wording: ClassVar[Wording] = {
        Refusal.FIELD: "Extra inputs are not permitted, field: '{detail}'"
    }

    def form(self, body: Mapping[str, Any]) -> Form:
        unit = body.get("normalize") is True
        return Form(
            "float32", self.length(body.get("dimensions")), renormalise=unit, scaled=not unit
        )

    def headers(self, left: Mapping[str, int]) -> dict[str, str]:
        return {
            "x-ratelimit-limit-tokens-prompt": str(left["limit_tokens"]),
            "x-ratelimit-limit-tokens-generated": "36000",
        }

    def error(self, no: Complaint) -> Any:
        if no.status >= 500:
            return {"error": {"message": no.message}}
        error = {"object": "error", "type": "invalid_request_error", "message": no.message}
        return {"error": error}
