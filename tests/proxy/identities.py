"""A foreign `custom_auth`: identities with LiteLLM's own limits, one per key."""

from __future__ import annotations

from fastapi import Request
from litellm.proxy._types import ProxyException, UserAPIKeyAuth

LIMITED = "sk-three-a-minute-for-tests"
ONE_AT_A_TIME = "sk-one-at-a-time-for-tests"
FREE = "sk-free-for-tests-only"


async def authenticate(request: Request, api_key: str) -> UserAPIKeyAuth:
    """Return the identity behind *api_key*."""
    limits = {LIMITED: {"rpm_limit": 3}, ONE_AT_A_TIME: {"max_parallel_requests": 1}, FREE: {}}
    if api_key not in limits:
        raise ProxyException(message="no", type="auth_error", param=None, code=401)
    return UserAPIKeyAuth(api_key=api_key, user_id="somebody", **limits[api_key])
