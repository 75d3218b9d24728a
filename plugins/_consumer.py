"""Who asks: LiteLLM's identity of a request as a `Consumer`.

Keys of our own file carry their alias; LiteLLM's database keys have been checked by LiteLLM.
"""

from __future__ import annotations

from typing import Any

from plugins import _runtime
from plugins._admission import Consumer
from plugins._budgets import quota_of_key

__all__ = ["ALIAS_KEY", "consumer_of"]

# Set by `plugins.keys` on the identity it returns; the identity is never read from a request body.
ALIAS_KEY = "qwen3_router_key"


def consumer_of(identity: Any) -> Consumer:
    """Return the rights of LiteLLM's `UserAPIKeyAuth` *identity*."""
    alias = (getattr(identity, "metadata", None) or {}).get(ALIAS_KEY)
    key = _runtime.current().config.keys.get(alias) if isinstance(alias, str) else None
    team = getattr(identity, "team_id", None)
    user = getattr(identity, "user_id", None)
    if key is None:
        return Consumer(key=getattr(identity, "key_alias", None), team=team, user=user)
    return Consumer(
        key=key.alias,
        team=key.team,
        user=user,
        groups=key.groups,
        region=key.region,
        quotas=quota_of_key(key),
    )
