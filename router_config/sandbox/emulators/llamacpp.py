"""llama.cpp's server: HTTP 500 for an input that does not fit its physical batch.

Source: ggml-org/llama.cpp tools/server/README.md (00dc8057); several public logs for the 500.
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

__all__ = ["LlamaCpp"]


class LlamaCpp(Emulator):
    """`/v1/embeddings` is OpenAI's; `/embedding` has a shape of its own and no unit length."""

    name = "llamacpp"
    paths = ("/v1/embeddings", "/embedding", "/embeddings")
    price = "0"
    model_default = "Qwen3-Embedding-8B-Q8_0.gguf"
    token_arrays = True
    # ubatch: -ub 8192, as in the documented start line. loading: still reading weights.
    switches: ClassVar[Switches] = {"ubatch": 8192, "loading": False}
    statuses: ClassVar[Statuses] = {Refusal.TOO_LONG: 500}
    wording: ClassVar[Wording] = {
        Refusal.WRONG_KEY: "Invalid API Key",
        Refusal.NO_KEY: "Invalid API Key",
        Refusal.TOO_LONG: "input is too large to process. increase the physical batch size",
        Refusal.OVERLOAD: "Loading model",
    }

    def read(self, path: str, body: Mapping[str, Any]) -> Asked:
        if self.set["loading"]:
            raise Refused(Refusal.OVERLOAD)
        if path != "/v1/embeddings":
            given = body.get("content", body.get("input"))
            form = Form(renormalise=False, scaled=True)
            return Asked(self.texts(given), form, body, shape="native")
        return super().read(path, body)

    def check_model(self, model: object) -> None:
        del model

    def length(self, dimensions: object) -> int:
        del dimensions
        return 4096

    def fit(self, asked: Asked, counts: Sequence[int]) -> None:
        if counts and max(counts) > self.set["ubatch"]:
            raise Refused(Refusal.TOO_LONG)

    def render(self, answer: Answer) -> bytes:
        if answer.asked.shape == "native":
            rows = [
                b'{"index":%d,"embedding":[' % at + piece + b"]}"
                for at, piece in enumerate(answer.pieces)
            ]
            return b"[" + b",".join(rows) + b"]"
        return super().render(answer)

    def error(self, no: Complaint) -> Any:
        kinds = {401: "authentication_error", 500: "server_error", 503: "unavailable_error"}
        kind = kinds.get(no.status, "invalid_request_error")
        return {"error": {"code": no.status, "message": no.message, "type": kind}}

    def probe(self, request: Request) -> Reply | None:
        if request.method == "GET" and request.path in ("/health", "/v1/health"):
            if self.set["loading"]:
                return self.refusal(Refusal.OVERLOAD)
            return Reply(200, orjson.dumps({"status": "ok"}))
        return super().probe(request)
