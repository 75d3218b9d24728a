"""LiteLLM `custom_auth`: keys declared in YAML as SHA-256 hashes, for use without a database.

LiteLLM's own virtual keys need PostgreSQL; without it, it answers a wrong key with 400 or 500.
With a database configured the handler is None and LiteLLM's keys rule.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import os
import re
from datetime import UTC, datetime
from typing import Any

from fastapi import Request
from litellm.proxy._types import LitellmUserRoles, UserAPIKeyAuth

from plugins import _litellm, _runtime
from plugins._consumer import ALIAS_KEY
from plugins._errors import ClientError
from plugins._foreign import unauthorized
from plugins._keyring import database_configured
from plugins._lead import proxy_exception
from router_config import Key

__all__ = ["authenticate", "handler"]

# What a key of the file may call; everything else of LiteLLM needs the master key. Exact methods
# and paths: `POST /models/{model}:generateContent` is one of LiteLLM's chat routes.
_ALLOWED = (
    ("POST", re.compile(r"(/v1)?/embeddings")),
    ("GET", re.compile(r"(/v1)?/models(/[^/]+)?")),
)


async def authenticate(request: Request, api_key: str | None) -> UserAPIKeyAuth:
    """Return the identity behind *api_key*.

    Raises:
        ProxyException: 401 for a missing, wrong or expired key, 403 for a route that the key
            may not call. Its rights and quotas for a model are checked by the gateway.
    """
    given = (api_key or "").removeprefix("Bearer ").strip()  # None: no key was sent
    identity = identify(given)
    if identity is None:
        raise proxy_exception(unauthorized())
    identity = identity.model_copy(deep=True)  # LiteLLM writes into it
    if identity.user_role == LitellmUserRoles.PROXY_ADMIN:
        return identity
    # The path as it is routed: the one in request.url has passed a parser that drops characters.
    path = str(request.scope["path"]).removeprefix(request.scope.get("root_path", ""))
    if not any(request.method == method and one.fullmatch(path) for method, one in _ALLOWED):
        raise proxy_exception(
            ClientError(
                403, "unauthorized", "This key may only call /v1/embeddings and /v1/models."
            )
        )
    return identity


def identify(given: str) -> UserAPIKeyAuth | None:
    """Return the identity behind the key *given*, or None for a missing, wrong or expired one.

    It is the same object every time: not to be changed.
    """
    master = _litellm.master_key()
    if given and master and hmac.compare_digest(given.encode(), master.encode()):
        return _admin(given)
    digest = hashlib.sha256(given.encode()).hexdigest()
    key = _runtime.current().keys.find(digest, datetime.now(UTC)) if given else None
    if key is None:
        return None
    return _identity(digest, key)


@functools.lru_cache(maxsize=1)
def _admin(master_key: str) -> UserAPIKeyAuth:
    return UserAPIKeyAuth(
        api_key=master_key, user_role=LitellmUserRoles.PROXY_ADMIN, user_id="default_user_id"
    )


@functools.lru_cache(maxsize=4096)  # LiteLLM's class takes longer to make than a key to find
def _identity(digest: str, key: Key) -> UserAPIKeyAuth:
    return UserAPIKeyAuth(
        # LiteLLM logs this value: the hash, never the key.
        api_key=digest,
        key_alias=key.alias,
        team_id=key.team,
        user_role=LitellmUserRoles.INTERNAL_USER,
        models=list(key.groups or ()),
        metadata={ALIAS_KEY: key.alias},
    )


def _keys_of_litellm() -> bool:
    path = _litellm.config_path()
    return path is not None and database_configured(_runtime.start(path).config, os.environ)


handler: Any = None if _keys_of_litellm() else authenticate
