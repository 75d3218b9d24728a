"""Infinity: no path prefix, `usage` in characters, a prefix of the vector left unnormalised.

Source: michaelfeil/infinity at fcb951cb (2025-10): env.py, pymodels.py,
batch_handler.py, errors.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar

import orjson

from ..http1 import Request
from ..texts import Form
from .base import Answer, Asked, Complaint, Emulator, Refusal, Refused, Reply, Statuses, Switches

__all__ = ["Infinity"]

_MAX_CHARACTERS = 122_880


class Infinity(Emulator):
    name = "infinity"
    prefix = ""
    paths = ("/embeddings",)
    price = "0"
    model_default = "Qwen/Qwen3-Embedding-8B"
    max_inputs = 2048
    # The tokenizer cuts at the model's length without a word.
    max_tokens = 32_768
    switches: ClassVar[Switches] = {"lengths_via_tokenize": False}
    statuses: ClassVar[Statuses] = {
        Refusal.MODEL: 400,
        Refusal.BATCH: 422,
        Refusal.TOO_LONG: 422,
        Refusal.INPUT: 422,
        Refusal.EMPTY: 422,
        Refusal.OVERLOAD: 429,
    }

    def texts(self, given: object) -> list[str]:
        texts = super().texts(given)
        longest = max(map(len, texts))
        if longest > _MAX_CHARACTERS:
            raise Refused(Refusal.TOO_LONG, f"{longest} characters")
        return texts

    def form(self, body: Mapping[str, Any]) -> Form:
        return Form(self.encoding(body), self.length(body.get("dimensions")), renormalise=False)

    def fit(self, asked: Asked, counts: Sequence[int]) -> None:
        if counts and max(counts) > 32_768:
            asked.cut_at = 32_768

    def usage(self, asked: Asked, count: int, cost_usd: Decimal) -> dict[str, Any] | None:
        if not self.set["lengths_via_tokenize"]:
            count = sum(map(len, asked.texts))
        return super().usage(asked, count, cost_usd)

    def render(self, answer: Answer) -> bytes:
        last: dict[str, Any] = {"model": answer.asked.body.get("model") or self.model_default}
        if answer.usage is not None:
            last["usage"] = answer.usage
        last |= {"id": "infinity-sandbox", "created": 1_790_000_000}
        return self.openai(answer, {"object": "list"}, last)

    def error(self, no: Complaint) -> Any:
        return {"error": {"message": no.message, "type": no.why, "param": None, "code": no.status}}

    def probe(self, request: Request) -> Reply | None:
        if request.method == "GET" and request.path == "/health":
            return Reply(200, orjson.dumps({"unix": 1_790_000_000.0}))
        return super().probe(request)
