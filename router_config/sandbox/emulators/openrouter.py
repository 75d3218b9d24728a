"""OpenRouter: a reseller with a `provider` block, optional members and errors inside 200.

Sources: openrouter.ai/docs create-embeddings, errors-and-debugging, limits, provider routing.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar

import orjson

from ..http1 import Request
from .base import Answer, Asked, Complaint, Emulator, Refusal, Refused, Reply, Wording

__all__ = ["OpenRouter"]

_ROUTING = {
    "allow_fallbacks",
    "data_collection",
    "ignore",
    "max_price",
    "only",
    "order",
    "quantizations",
    "require_parameters",
    "sort",
    "zdr",
}
_UPSTREAMS = ("nebius", "deepinfra", "siliconflow")


class OpenRouter(Emulator):
    """Leaves `index` out, as its schema allows, and adds `id` and `usage.cost`."""

    name = "openrouter"
    prefix = "/api/v1"
    paths = ("/api/v1/embeddings",)
    key_env = "OPENROUTER_API_KEY"
    models = ("qwen/qwen3-embedding-8b",)
    fields = (
        "input",
        "model",
        "encoding_format",
        "dimensions",
        "input_type",
        "provider",
        "user",
    )
    token_arrays = True
    written = "float64"
    wording: ClassVar[Wording] = {
        Refusal.NO_KEY: "No auth credentials found",
        Refusal.WRONG_KEY: "User not found.",
        Refusal.PAYMENT: "Insufficient credits",
        Refusal.MODEL: "No endpoints found for {detail}",
        Refusal.RATE: "Provider returned error",
        Refusal.OVERLOAD: "Provider returned error",
    }

    def check_fields(self, body: Mapping[str, Any]) -> None:
        super().check_fields(body)
        routing = body.get("provider") or {}
        if not isinstance(routing, dict) or set(routing) - _ROUTING:
            raise Refused(Refusal.FIELD, "provider")
        only = routing.get("only")
        if only is not None and not any(name in _UPSTREAMS for name in _list(only)):
            raise Refused(Refusal.MODEL, str(body.get("model")))

    def usage(self, asked: Asked, count: int, cost_usd: Decimal) -> dict[str, Any]:
        del asked
        return {"prompt_tokens": count, "total_tokens": count, "cost": float(cost_usd)}

    def render(self, answer: Answer) -> bytes:
        if answer.indexes == list(range(len(answer.pieces))):
            answer.indexes = [None] * len(answer.pieces)
        last: dict[str, Any] = {"model": answer.asked.body["model"], "id": "gen-emb-sandbox"}
        if answer.usage is not None:
            last["usage"] = answer.usage
        return self.openai(answer, {"object": "list"}, last)

    def error(self, no: Complaint) -> Any:
        return {"error": {"code": no.status, "message": no.message}}

    def rate_limited(self, status: int, wait_s: float, form: str | None) -> Reply:
        return super().rate_limited(status, wait_s, form or "metadata")

    def probe(self, request: Request) -> Reply | None:
        if request.path == "/api/v1/key":
            data = {"label": "sandbox", "usage": 0, "limit": None, "limit_remaining": None}
            return Reply(200, orjson.dumps({"data": data}))
        return super().probe(request)


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]
