"""DeepInfra: FastAPI's `detail` errors, vectors longer than the model's padded with zeros.

Sources: docs.deepinfra.com openai-embeddings, get-checklist; deepinfra.com/docs rate-limits.
"""

from __future__ import annotations

from typing import Any, ClassVar

import orjson

from ..http1 import Request
from .base import Complaint, Emulator, Refusal, Refused, Reply, Statuses, Wording

__all__ = ["DeepInfra"]


class DeepInfra(Emulator):
    name = "deepinfra"
    prefix = "/v1/openai"
    paths = ("/v1/openai/embeddings",)
    key_env = "DEEPINFRA_API_KEY"
    max_inputs = 1024
    max_concurrent = 200
    index_last = True
    statuses: ClassVar[Statuses] = {
        Refusal.FIELD: 422,
        Refusal.DIMENSIONS: 422,
        Refusal.INPUT: 422,
        Refusal.EMPTY: 422,
        Refusal.BATCH: 422,
    }
    wording: ClassVar[Wording] = {
        Refusal.NO_KEY: "User is not authenticated",
        Refusal.WRONG_KEY: "User is not authenticated",
        Refusal.PAYMENT: "inference prohibited, please enter a payment method or add balance",
        Refusal.MODEL: "Model is not available",
        Refusal.DIMENSIONS: "ensure this value is >= 32",
        Refusal.RATE: "Rate limited",
        Refusal.TOO_LONG: "input has too many tokens: {detail}",
        Refusal.SERVER: "inference exception",
    }

    def length(self, dimensions: object) -> int:
        if type(dimensions) is int and 4096 < dimensions <= 32_768:
            return dimensions
        if type(dimensions) is int and dimensions < 32:
            raise Refused(Refusal.DIMENSIONS, str(dimensions))
        return super().length(dimensions)

    def error(self, no: Complaint) -> Any:
        if no.why is Refusal.TOO_LONG:
            return {"error": {"message": no.message}}
        if no.why is Refusal.RATE:
            return {"detail": no.message}
        if no.status == 422:
            where = "dimensions" if no.why is Refusal.DIMENSIONS else "input"
            return {"detail": [{"loc": ["body", where], "msg": no.message, "type": "value_error"}]}
        return {"detail": {"error": no.message}}

    def probe(self, request: Request) -> Reply | None:
        if request.path == "/payment/checklist":
            body = {"stripe_balance": -12.5, "suspended": False, "suspend_reason": None}
            return Reply(200, orjson.dumps(body))
        return super().probe(request)
