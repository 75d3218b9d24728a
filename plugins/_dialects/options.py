"""Which `options` a deployment may set for each dialect, as plain data for whoever checks a file.

A kind is one of: "integer" (1 or more), "boolean", "string", "strings" (a list, not empty),
"duration" (a string like "5m", or seconds as an integer, -1 for ever), "numbers" (a mapping from
name to number), or a tuple of the allowed strings.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["OPTIONS"]

OPTIONS: Mapping[str, Mapping[str, str | tuple[str, ...]]] = {
    # https://github.com/ollama/ollama/blob/main/docs/api.md (2026-08)
    "ollama": {
        "num_ctx": "integer",
        "num_batch": "integer",
        "keep_alive": "duration",
    },
    # https://openrouter.ai/docs/guides/routing/provider-selection (2026)
    "openrouter": {
        "allow_fallbacks": "boolean",
        "data_collection": ("allow", "deny"),
        "ignore": "strings",
        "max_price": "numbers",
        "only": "strings",
        "order": "strings",
        "quantizations": "strings",
        "require_parameters": "boolean",
        "sort": ("price", "throughput", "latency"),
        "zdr": "boolean",
    },
}
