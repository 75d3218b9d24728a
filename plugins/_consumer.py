"""Who asks: LiteLLM's identity of a request as a `Consumer`.

Keys of our own file carry their alias; LiteLLM's database keys have been checked by LiteLLM.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from plugins._admission import Consumer
from plugins._budgets import quota_of_key
from plugins._foreign import unauthorized
from plugins._runtime import Runtime

__all__ = ["ALIAS_KEY", "consumer_of"]

# Set by `plugins.keys` on the identity it returns; the identity is never read from a request body.
ALIAS_KEY = "qwen3_router_key"
_HASH = re.compile(r"[0-9a-f]{64}")


def consumer_of(identity: Any, runtime: Runtime) -> Consumer:
    """Return the rights of LiteLLM's `UserAPIKeyAuth` *identity*.

    Raises:
        ClientError: 401, its key was taken out of the file since it was checked.
    """
    team = getattr(identity, "team_id", None)
    user = getattr(identity, "user_id", None)
    if not runtime.has_own_keys:
        # Whoever may write a key's metadata in LiteLLM is not to choose his rights here.
        return Consumer(key=_name(identity), team=team, user=user)
    alias = (getattr(identity, "metadata", None) or {}).get(ALIAS_KEY)
    if alias is None:  # the admin
        return Consumer(team=team, user=user)
    config = runtime.config
    key = config.keys.get(alias)
    if key is None:
        raise unauthorized()
    return Consumer(
        key=key.alias,
        team=key.team,
        user=user,
        groups=key.groups,
        region=key.region,
        quotas=quota_of_key(key, config.since),
    )


def _name(identity: Any) -> str | None:
    """Return what tells LiteLLM's key from all others: its alias, else its hash, never the key."""
    alias: str | None = getattr(identity, "key_alias", None)
    token: str | None = getattr(identity, "token", None)
    if alias or not token:
        return alias or None
    if _HASH.fullmatch(token):
        return token
    if getattr(identity, "user_role", None) == "proxy_admin":  # the master key
        return None
    return hashlib.sha256(token.encode()).hexdigest()  # a foreign `custom_auth` may give the key
