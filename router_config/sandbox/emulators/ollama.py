"""Ollama: its own `/api/embed`, which cuts long texts in silence unless told not to.

Source: ollama/ollama at fb307609 (2026-08-21): server/routes.go, middleware/openai.go; docs/api.md,
docs/context-length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar

import orjson

from ..http1 import Request
from ..texts import Form
from .base import Answer, Asked, Complaint, Emulator, Refusal, Refused, Reply, Switches, Wording

__all__ = ["Ollama"]

_MODEL_LIMIT = 40_960


class Ollama(Emulator):
    """Three paths: native, OpenAI's (which loses `truncate` and `options`) and the legacy one."""

    name = "ollama"
    prefix = ""
    paths = ("/api/embed", "/v1/embeddings", "/api/embeddings")
    models = ("qwen3-embedding:8b",)
    price = "0"
    max_concurrent = 512  # OLLAMA_MAX_QUEUE
    overflow = Refusal.OVERLOAD
    indexed = False
    # Documented for graphics cards under 24 GiB; OLLAMA_CONTEXT_LENGTH.
    switches: ClassVar[Switches] = {"num_ctx": 4096}
    wording: ClassVar[Wording] = {
        Refusal.MODEL: "model '{detail}' not found",
        Refusal.INPUT: "invalid input type",
        Refusal.TOO_LONG: "the input length exceeds the context length",
        Refusal.OVERLOAD: "server busy, please try again.  maximum pending requests exceeded",
        Refusal.FIELD: "invalid value for {detail}",
    }

    def read(self, path: str, body: Mapping[str, Any]) -> Asked:
        self.check_model(body.get("model"))
        if path == "/api/embeddings":
            prompt = body.get("prompt", "")
            return Asked(
                self.texts(prompt), Form(renormalise=False, scaled=True), body, shape="legacy"
            )
        given = body.get("input")
        texts = [] if given in ("", []) else self.texts(given)
        native = path == "/api/embed"
        written = "float32" if native else self.encoding(body)
        form = Form(written, self.length(body.get("dimensions")))
        return Asked(texts, form, body, shape="native" if native else "openai")

    def length(self, dimensions: object) -> int:
        if type(dimensions) is not int or not 0 < dimensions < 4096:
            return 4096
        return dimensions

    def fit(self, asked: Asked, counts: Sequence[int]) -> None:
        native = asked.shape == "native"
        options = asked.body.get("options") if native else None
        if options is not None and not isinstance(options, dict):
            raise Refused(Refusal.FIELD, "options")
        context = (options or {}).get("num_ctx") or self.set["num_ctx"]
        if type(context) is not int or context < 1:
            raise Refused(Refusal.FIELD, "num_ctx")
        limit = min(context, _MODEL_LIMIT)
        if not counts or max(counts) <= limit:
            return
        if native and asked.body.get("truncate") is False:
            raise Refused(Refusal.TOO_LONG)
        asked.cut_at = limit

    def usage(self, asked: Asked, count: int, cost_usd: Decimal) -> dict[str, Any] | None:
        if asked.shape == "openai":
            return super().usage(asked, count, cost_usd)
        return {"prompt_tokens": count}

    def render(self, answer: Answer) -> bytes:
        if answer.asked.shape == "openai":
            return super().render(answer)
        if answer.asked.shape == "legacy":
            return b'{"embedding":' + (answer.pieces or [b"[]"])[0] + b"}"
        last = {"total_duration": 14_143_917, "load_duration": 1_019_500}
        if answer.usage is not None:
            last["prompt_eval_count"] = answer.usage["prompt_tokens"]
        first = orjson.dumps({"model": answer.asked.body["model"]})[1:-1]
        vectors = b'"embeddings":[' + b",".join(answer.pieces) + b"]"
        return b"{" + b",".join([first, vectors, orjson.dumps(last)[1:]])

    def error(self, no: Complaint) -> Any:
        if no.path.startswith("/v1"):
            error = {"message": no.message, "type": "api_error", "param": None, "code": None}
            return {"error": error}
        return {"error": no.message}

    def probe(self, request: Request) -> Reply | None:
        model = {"name": self.models[0], "model": self.models[0], "size": 4_700_000_000}
        answers: dict[str, Any] = {
            "/api/version": {"version": "0.24.0"},
            "/api/tags": {"models": [model]},
            "/api/ps": {"models": [{**model, "context_length": self.set["num_ctx"]}]},
            "/v1/models": {"object": "list", "data": [{"id": self.models[0], "object": "model"}]},
        }
        if request.method == "GET" and request.path in answers:
            return Reply(200, orjson.dumps(answers[request.path]))
        if request.method == "GET" and request.path == "/":
            return Reply(200, b"Ollama is running", content_type="text/plain; charset=utf-8")
        return None
