"""vLLM: `dimensions` only with the Matryoshka override, long inputs refused, open body schema.

Source: vllm-project/vllm docs/models/pooling_models/embed.md, entrypoints/pooling/base/protocol.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import orjson

from ..http1 import Request
from ..texts import Form
from .base import Asked, Complaint, Emulator, Refusal, Refused, Reply, Switches, Wording

__all__ = ["VLLM"]


class VLLM(Emulator):
    name = "vllm"
    price = "0"
    model_default = "Qwen/Qwen3-Embedding-8B"
    refused_fields = ("normalize",)  # renamed to use_activation
    token_arrays = True
    written = "float64"
    # matryoshka: started with --hf-overrides '{"is_matryoshka":true}'
    switches: ClassVar[Switches] = {"matryoshka": False}
    wording: ClassVar[Wording] = {
        Refusal.NO_KEY: "Unauthorized",
        Refusal.WRONG_KEY: "Unauthorized",
        Refusal.DIMENSIONS: 'Model "Qwen/Qwen3-Embedding-8B" does not support matryoshka '
        "representation, changing output dimensions will lead to poor results.",
        Refusal.TOO_LONG: "This model's maximum context length is 32768 tokens. However, you "
        "requested {detail} in the input for embedding generation.",
    }

    def form(self, body: Mapping[str, Any]) -> Form:
        endianness = body.get("endianness", "native")
        if body.get("embed_dtype", "float32") != "float32" or endianness not in (
            "native",
            "little",
        ):
            raise Refused(Refusal.FIELD, "embed_dtype or endianness")
        return super().form(body)

    def length(self, dimensions: object) -> int:
        if dimensions is not None and not self.set["matryoshka"]:
            raise Refused(Refusal.DIMENSIONS, str(dimensions))
        return super().length(dimensions)

    def fit(self, asked: Asked, counts: Sequence[int]) -> None:
        cut = asked.body.get("truncate_prompt_tokens")
        if cut is not None:
            if type(cut) is not int or not -1 <= cut <= 32_768 or cut == 0:
                raise Refused(Refusal.FIELD, f"truncate_prompt_tokens {cut!r}")
            asked.cut_at = 32_768 if cut == -1 else cut
        else:
            super().fit(asked, counts)

    def error(self, no: Complaint) -> Any:
        kinds = {401: "Unauthorized", 404: "NotFoundError", 500: "InternalServerError"}
        kind = kinds.get(no.status, "BadRequestError")
        return {"error": {"message": no.message, "type": kind, "param": None, "code": no.status}}

    def probe(self, request: Request) -> Reply | None:
        if request.method == "GET" and request.path == "/health":
            return Reply(200, b"")
        if request.method == "GET" and request.path == "/version":
            return Reply(200, orjson.dumps({"version": "0.21.0"}))
        return super().probe(request)
