"""The dialects: one table from the catalogue's name to how that provider is spoken to."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from plugins._dialects.base import Dialect, Target, WireReply, WireRequest, headers_for
from plugins._dialects.deepinfra import DeepInfra
from plugins._dialects.fireworks import Fireworks
from plugins._dialects.infinity import Infinity
from plugins._dialects.llamacpp import LlamaCpp
from plugins._dialects.novita import Novita
from plugins._dialects.ollama import Ollama
from plugins._dialects.openai import OpenAI
from plugins._dialects.openrouter import OpenRouter
from plugins._dialects.options import OPTIONS
from plugins._dialects.scaleway import Scaleway
from plugins._dialects.siliconflow import SiliconFlow
from plugins._dialects.tei import Tei
from plugins._dialects.vllm import Vllm

__all__ = [
    "DIALECTS",
    "OPTIONS",
    "Dialect",
    "Target",
    "WireReply",
    "WireRequest",
    "dialect",
    "headers_for",
]

DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {
        "deepinfra": DeepInfra(),
        "fireworks": Fireworks(),
        "infinity": Infinity(),
        "llamacpp": LlamaCpp(),
        "nebius": OpenAI("nebius"),  # plain OpenAI with FastAPI's errors: nothing differs
        "novita": Novita(),
        "ollama": Ollama(),
        "openai": OpenAI(),
        "openrouter": OpenRouter(),
        "scaleway": Scaleway(),
        "siliconflow": SiliconFlow(),
        "tei": Tei(),
        "vllm": Vllm(),
    }
)


def dialect(name: str) -> Dialect:
    """Return the dialect called *name* in the catalogue. Raises: KeyError for an unknown name."""
    return DIALECTS[name]
