"""Who asks: LiteLLM's identity of a request as a `Consumer`.

Keys of our own file carry their alias; LiteLLM's database keys have been checked by LiteLLM.
"""

from __future__ import annotations

from typing import Any

from plugins import _runtime
from plugins._admission import Consumer

__all__ = ["ALIAS_KEY", "consumer_of"]

# Set by `plugins.keys` on the identity it returns; the identity is never read from a request body.
ALIAS_KEY = "qwen3_router_key"


def consumer_of(identity: Any) -> Consumer:
    """Return the rights of LiteLLM's `UserAPIKeyAuth` *identity*."""
    alias = (getattr(identity, "metadata", None) or {}).get(ALIAS_KEY)
    key = _runtime.current().config.keys.get(alias) if isinstance(alias, str) else None
    if key is None:
        name = getattr(identity, "key_alias", None)
        return Consumer(name=f"key:{name}" if name else None)
    return Consumer(name=f"key:{key.alias}", groups=key.groups, region=key.region)
