"""Text Embeddings Inference: 32 inputs, and long texts cut in silence by default.

Source: huggingface/text-embeddings-inference at 0d124dc9 (2026-07-24): router, core/infer.rs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import orjson

from ..http1 import Request
from ..texts import Form
from .base import (
    Answer,
    Asked,
    Complaint,
    Emulator,
    Refusal,
    Refused,
    Reply,
    Statuses,
    Switches,
    Wording,
)

__all__ = ["TEI"]

_KINDS: Mapping[Refusal, str] = {
    Refusal.EMPTY: "empty",
    Refusal.RATE: "overloaded",
    Refusal.OVERLOAD: "overloaded",
    Refusal.SERVER: "backend",
}


class TEI(Emulator):
    """`/v1/embeddings` and the native `/embed`; the model's name is never checked."""

    name = "tei"
    paths = ("/v1/embeddings", "/embed")
    price = "0"
    model_default = "Qwen/Qwen3-Embedding-8B"
    max_inputs = 32
    token_arrays = True
    empty_strings = False
    # Its defaults: --auto-truncate true, --max-batch-tokens 16384. With the first off, the second
    # must cover the model's 40,960.
    switches: ClassVar[Switches] = {"auto_truncate": True, "max_batch_tokens": 16_384}
    statuses: ClassVar[Statuses] = {
        Refusal.BATCH: 422,
        Refusal.TOO_LONG: 422,
        Refusal.DIMENSIONS: 422,
        Refusal.FIELD: 422,
        Refusal.INPUT: 422,
        Refusal.OVERLOAD: 429,
        Refusal.SERVER: 424,
    }
    wording: ClassVar[Wording] = {
        Refusal.EMPTY: "`inputs` cannot be empty",
        Refusal.BATCH: "batch size {detail} maximum allowed batch size",
        Refusal.TOO_LONG: "`inputs` must have less than that many tokens. Given: {detail}",
        Refusal.RATE: "Model is overloaded",
        Refusal.OVERLOAD: "Model is overloaded",
    }

    def read(self, path: str, body: Mapping[str, Any]) -> Asked:
        if path == "/embed":
            unit = body.get("normalize", True) is not False
            length = self.length(body.get("dimensions"))
            form = Form("float32", length, renormalise=unit, scaled=not unit)
            return Asked(self.texts(body.get("inputs")), form, body, shape="native")
        return super().read(path, body)

    def check_model(self, model: object) -> None:
        del model

    def fit(self, asked: Asked, counts: Sequence[int]) -> None:
        limit = int(self.set["max_batch_tokens"])
        if not counts or max(counts) <= limit:
            return
        cut = asked.body.get("truncate") if asked.shape == "native" else None
        if not (self.set["auto_truncate"] if cut is None else cut):
            raise Refused(Refusal.TOO_LONG, str(max(counts)))
        asked.cut_at = limit

    def render(self, answer: Answer) -> bytes:
        if answer.asked.shape == "native":
            return b"[" + b",".join(answer.pieces) + b"]"
        return super().render(answer)

    def headers(self, left: Mapping[str, int]) -> dict[str, str]:
        return {
            "x-compute-tokens": str(left["tokens"]),
            "x-queue-time": "1",
            "x-inference-time": "12",
        }

    def error(self, no: Complaint) -> Any:
        if no.status == 401:
            return ""
        kind = _KINDS.get(no.why, "validation")
        if no.path == "/embed":
            return {"error": no.message, "error_type": kind}
        return {"message": no.message, "code": no.status, "type": kind}

    def probe(self, request: Request) -> Reply | None:
        if request.method == "GET" and request.path in ("/health", "/", "/ping"):
            return Reply(200, b"")
        if request.method == "GET" and request.path == "/info":
            info = {
                "model_id": self.model_default,
                "max_client_batch_size": self.max_inputs,
                "max_batch_tokens": self.set["max_batch_tokens"],
                "auto_truncate": self.set["auto_truncate"],
            }
            return Reply(200, orjson.dumps(info))
        return None
