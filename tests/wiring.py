"""How our plugins stand in a LiteLLM config: what the configs of the tests have in common."""

from __future__ import annotations

from typing import Any

__all__ = ["PLUGINS", "wiring"]

PLUGINS = ("gateway", "budget", "matryoshka")


def wiring(*plugins: str) -> dict[str, Any]:
    """Return LiteLLM's own sections with the callbacks of *plugins*, in that order."""
    return {
        "litellm_settings": {
            "callbacks": [f"plugins.{one}.handler" for one in plugins or PLUGINS],
            "custom_provider_map": [
                {"provider": "qwen3", "custom_handler": "plugins.provider.handler"}
            ],
        },
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
        "general_settings": {
            "master_key": "os.environ/LITELLM_MASTER_KEY",
            "custom_auth": "plugins.keys.handler",
        },
    }
