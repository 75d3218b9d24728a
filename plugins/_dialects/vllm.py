"""vLLM: `/v1/embeddings`, errors as `{"error": {…}}` (new) or `{"object": "error", …}` (old).

Source: vllm-project/vllm docs/models/pooling_models. A base may be given with or without `/v1`.
"""

from __future__ import annotations

from plugins._dialects.openai import OpenAI

__all__ = ["Vllm"]


class Vllm(OpenAI):
    """Plain OpenAI on one's own machine."""

    name = "vllm"
    version = "/v1"
