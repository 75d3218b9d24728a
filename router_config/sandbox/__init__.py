"""Emulated providers over real HTTP, with faults on demand: no keys, no model, no network.

`Sandbox` starts them from Python; `python -m router_config.sandbox` does so from a shell. Their
vectors come from a stand-in model, never from Qwen3.
"""

from __future__ import annotations

from .box import Sandbox, SandboxError
from .standin import vectors

__all__ = ["Sandbox", "SandboxError", "vectors"]
