"""One emulator per provider, found by its catalogue name."""

from __future__ import annotations

from collections.abc import Mapping

from .base import Emulator
from .deepinfra import DeepInfra
from .fireworks import Fireworks
from .infinity import Infinity
from .llamacpp import LlamaCpp
from .nebius import Nebius
from .novita import Novita
from .ollama import Ollama
from .openai import Elsewhere, OpenAI
from .openrouter import OpenRouter
from .scaleway import Scaleway
from .siliconflow import SiliconFlow, SiliconFlowCn
from .tei import TEI
from .vllm import VLLM

__all__ = ["ELSEWHERE", "EMULATORS", "Emulator"]

EMULATORS: Mapping[str, type[Emulator]] = {
    emulator.name: emulator
    for emulator in (
        Scaleway,
        SiliconFlow,
        SiliconFlowCn,
        DeepInfra,
        Fireworks,
        OpenRouter,
        Nebius,
        Novita,
        Ollama,
        VLLM,
        TEI,
        Infinity,
        LlamaCpp,
        OpenAI,
    )
}
# Where a redirect leads; started with every sandbox.
ELSEWHERE = Elsewhere
