"""DeepInfra: FastAPI's `detail` as list, object or string, and 429 also for a busy model.

Source: docs.deepinfra.com openai-embeddings, rate limits (200 concurrent requests per model).
"""

from __future__ import annotations

from plugins._dialects.faults import rule
from plugins._dialects.openai import OpenAI
from plugins._errors import Fault

__all__ = ["DeepInfra"]


class DeepInfra(OpenAI):
    """A busy model is load and not our rate, unless it says when to come back."""

    name = "deepinfra"
    table = (rule("429", r"busy|overloaded|capacity", Fault.OVERLOAD, "model is busy"),)
