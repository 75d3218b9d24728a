"""Text Embeddings Inference: a full queue is 429, a failed backend 424, a big batch 413 or 422.

Errors are `{"message", "code", "type"}` on `/v1/embeddings`. Its OpenAPI and its code disagree on
the status of a batch over 32 inputs, so both are read as too long. `model` is not checked by it.
Source: huggingface/text-embeddings-inference router/src/http/server.rs (2026-07).
"""

from __future__ import annotations

from plugins._dialects.faults import LENGTH, rule
from plugins._dialects.openai import OpenAI
from plugins._errors import Fault

__all__ = ["Tei"]


class Tei(OpenAI):
    """NaN arrives as `null` with status 200 and is caught with the numbers."""

    name = "tei"
    version = "/v1"
    table = (
        rule("413 422", LENGTH, Fault.TOO_LONG, "input or batch over the server's limit"),
        rule("424", None, Fault.SERVER, "backend failed"),
        rule("429", r"overload", Fault.OVERLOAD, "queue is full"),
    )
