"""Ollama's native `POST /api/embed`, the only one of its paths that can refuse to cut an input.

`/v1/embeddings` forwards neither `truncate` nor `num_ctx`; `/api/embeddings` does not normalise.
With `truncate: false` an input that does not fit is a 400; without it, it is cut silently, or cut
again to `num_batch` after a 400 of the runner. Source: ollama/ollama server/routes.go and
docs/api.md (2026-08).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from plugins._dialects import base, envelope
from plugins._dialects.base import Target, WireReply, WireRequest
from plugins._dialects.faults import LENGTH, rule
from plugins._dialects.openai import OpenAI
from plugins._errors import Fault
from plugins._floats import Document

__all__ = ["DEFAULT_NUM_CTX", "Ollama"]

DEFAULT_NUM_CTX = 33_024
"""Tokens of context to ask for: 32,768 and room for the two that Ollama keeps back for the begin
and end tokens, rounded up to llama.cpp's step of 256. Without it the context follows the machine
(4,096 below 24 GiB of video memory). Always the same number: another one reloads the model."""

_TOO_LARGE = r"input length exceeds|cannot be truncated|too large to process|available context"


class Ollama(OpenAI):
    """Needs no key by default; a key in the deployment is sent for a proxy in front of it."""

    name = "ollama"
    vectors_key = "embeddings"
    table = (
        rule("400 424 500", r"\bnan\b|\binf\b", Fault.CORRUPT, "server computed NaN"),
        rule("400 500", _TOO_LARGE, Fault.TOO_LONG, "input over the server's context"),
        rule("400", LENGTH, Fault.TOO_LONG, "input over the server's context"),
        rule("400 500 501", r"not support embeddings?", Fault.MODEL, "model cannot embed"),
    )

    def request(
        self, target: Target, texts: Sequence[str], token_counts: Sequence[int]
    ) -> WireRequest:
        """Return the POST for *texts*; see `base.Dialect`."""
        options = {"num_ctx": target.options.get("num_ctx", DEFAULT_NUM_CTX)}
        if "num_batch" in target.options:
            options["num_batch"] = target.options["num_batch"]
        body: dict[str, Any] = {
            "model": target.wire_model,
            "input": list(texts),
            "truncate": False,
            "options": options,
        }
        if "keep_alive" in target.options:
            body["keep_alive"] = target.options["keep_alive"]
        url = base.join_url(target.api_base, "/api/embed", drop=("/v1", "/api"))
        return WireRequest(url, base.headers_for(target), orjson.dumps(body))

    def read(
        self, document: Document, tree: Mapping[str, Any], n: int, target: Target
    ) -> WireReply:
        """Return the vectors in the order of the request: there is no index here."""
        vectors = document.matrix(envelope.vectors_of(tree.get(self.vectors_key), n))
        tokens = envelope.token_count(tree.get("prompt_eval_count"))
        return WireReply(vectors, tokens if target.usage_counts == "tokens" else None)
