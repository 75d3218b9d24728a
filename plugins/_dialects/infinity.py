"""Infinity: `/embeddings` without a prefix by default, 429 for a full queue, usage in characters.

Source: michaelfeil/infinity env.py, errors.py, batch_handler.py (2025-10). If the server was
started with `INFINITY_URL_PREFIX`, the prefix belongs to `api_base`.
"""

from __future__ import annotations

from plugins._dialects.faults import rule
from plugins._dialects.openai import OpenAI
from plugins._errors import Fault

__all__ = ["Infinity"]


class Infinity(OpenAI):
    """Its counts become tokens only when the deployment says so (`lengths_via_tokenize`)."""

    name = "infinity"
    table = (
        rule("429", r"overload", Fault.OVERLOAD, "queue is full"),
        rule("400 422", r"string_too_long|(?<![a-z])too_long", Fault.TOO_LONG, "input too long"),
    )
