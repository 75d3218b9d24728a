"""The llama.cpp server: `/v1/embeddings`, an input over the physical batch is HTTP 500.

Source: ggml-org/llama.cpp tools/server; the 500's text is quoted in many public reports. The paths
without `/v1` answer another shape, so a base gets it. 503 "Loading model" passes by itself, 501
says that the server was started without `--embeddings`.
"""

from __future__ import annotations

from plugins._dialects.faults import rule
from plugins._dialects.openai import OpenAI
from plugins._errors import Fault

__all__ = ["LlamaCpp"]

TOO_LARGE = r"too large to process|physical batch size|exceeds the available context|context size"


class LlamaCpp(OpenAI):
    """The 500 for length must not count against the server's health."""

    name = "llamacpp"
    version = "/v1"
    table = (
        rule("400 500", TOO_LARGE, Fault.TOO_LONG, "input over the server's batch or context"),
        rule("501", None, Fault.MODEL, "server not started for embeddings"),
        rule("400", r"pooling type", Fault.MODEL, "server not started with a pooling for vectors"),
    )
