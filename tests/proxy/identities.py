"""A foreign `custom_auth`: identities with LiteLLM's own limits, one per key.

A key whose name stands in the file that REVOKED_FILE names is refused.
"""

from __future__ import annotations

import os
from pathlib import Path

from fastapi import Request
from litellm.proxy._types import ProxyException, UserAPIKeyAuth

LIMITED = "sk-three-a-minute-for-tests"
ONE_AT_A_TIME = "sk-one-at-a-time-for-tests"
FREE = "sk-free-for-tests-only"
FEW_TOKENS = "sk-forty-tokens-a-minute-for-tests"
REVOKED = "sk-revoked-for-tests-only"
REVOKED_FILE = "IDENTITIES_REVOKED"


async def authenticate(request: Request, api_key: str) -> UserAPIKeyAuth:
    """Return the identity behind *api_key*."""
    limits = {
        LIMITED: {"rpm_limit": 3},
        ONE_AT_A_TIME: {"max_parallel_requests": 1},
        FEW_TOKENS: {"tpm_limit": 40},
        REVOKED: {},
        FREE: {},
    }
    if api_key not in limits or _is_revoked(api_key):
        raise ProxyException(message="no", type="auth_error", param=None, code=401)
    return UserAPIKeyAuth(api_key=api_key, user_id="somebody", **limits[api_key])


def _is_revoked(key: str) -> bool:
    path = Path(os.environ[REVOKED_FILE])
    return path.exists() and key in path.read_text()
