"""What the fast path asks of LiteLLM: whether it may serve, who asks, which headers a reply has."""

from __future__ import annotations

import hmac
import logging
import re
import time
from collections.abc import Callable
from typing import Any

from plugins import _litellm
from plugins._asgi import App, Scope
from plugins._fast import NotAdmitted
from plugins._listeners import in_the_way, is_limited, listens, unknown_setting
from plugins._litellm_names import NEEDED_BY_THE_FAST_PATH, missing_names
from plugins._litellm_request import Handled
from plugins._middlewares import ShortWay
from plugins._plan import Plan
from plugins._pool import Candidate
from plugins._runtime import Runtime

__all__ = ["Side"]

log = logging.getLogger("qwen3_router")

_BEARER = re.compile(r"Bearer ([!-~]+)")
_LOOK_EVERY_S = 1.0


class Books:
    """One request in LiteLLM's books.

    *limited* tells whether LiteLLM may have limits for whoever asks, which are checked before the
    request is served. *again* has LiteLLM identify them itself afterwards: our own look at a key
    left out what only its logs want to know.
    """

    def __init__(
        self, scope: Scope, body: dict[str, Any], identity: Any, *, limited: bool, again: bool
    ) -> None:
        self.limited = limited
        self._scope = scope
        self._body = body
        self._again = again
        self._told = False
        self._handled = None if again else Handled(scope, body, identity)

    async def check(self) -> None:
        """Apply LiteLLM's limits. Raises: NotAdmitted, unless our hook has noted the reason."""
        assert self._handled is not None
        try:
            await self._handled.check()
        except Exception as error:
            self._told = True
            raise NotAdmitted(*_litellm.refusal(error)) from None

    async def account(self) -> None:
        """Let LiteLLM count, price and log the request; a failure of it is not the client's."""
        if self._told:
            return
        try:
            if self._handled is None:
                identity = await _litellm.authenticate(self._scope, self._body)
                self._handled = Handled(self._scope, self._body, identity)
            await self._handled.account()
        except Exception as error:
            log.error("a request is missing in LiteLLM's books: %s", type(error).__name__)


def _is_ours(custom_auth: Any) -> bool:
    """Tell whether *custom_auth* is our handler; LiteLLM may have loaded its file once more."""
    module = str(getattr(custom_auth, "__module__", "")).rpartition(".")[2]
    return module == "keys" and getattr(custom_auth, "__name__", "") == "authenticate"


class Side:
    """LiteLLM as the fast path of one process sees it.

    *own_key* returns the identity behind a key of our file, as our `custom_auth` does.
    """

    def __init__(self, own_key: Callable[[str], Any]) -> None:
        self._own_key = own_key
        self._looked_at = -_LOOK_EVERY_S
        self._covers = False
        self._said: str | None = None
        self._version = ""
        self._told = False
        self._own_keys = False
        self._short: ShortWay | None = None

    def covers(self, runtime: Runtime) -> bool:
        """Tell whether nothing in LiteLLM has to see a request before it is answered.

        Looked at once a second: callbacks come and go with a database, settings too.
        """
        now = time.monotonic()
        if now - self._looked_at >= _LOOK_EVERY_S:
            self._looked_at = now
            why = self._why_not(runtime)
            self._covers = why is None
            if why is not None and why != self._said:
                log.warning("the fast path steps aside, LiteLLM serves every request: %s", why)
            self._said = why
        return self._covers

    def _why_not(self, runtime: Runtime) -> str | None:
        moved = missing_names(NEEDED_BY_THE_FAST_PATH)
        if moved:
            return f"this LiteLLM has no {moved[0]}"
        if not _litellm.has_branch():
            return "its middlewares are not built as expected"
        self._version = _litellm.proxy_version()
        short = _litellm.short_way()
        self._short = short if short is not None and short.is_open() else None
        callbacks = _litellm.callbacks()
        self._told = _litellm.has_database() or listens(callbacks)
        self._own_keys = _is_ours(_litellm.custom_auth())
        callback = in_the_way(callbacks, _litellm.callback_base())
        if callback is not None:
            return f"the callback {callback} may want to see requests"
        setting = unknown_setting(
            {**runtime.config.raw, "general_settings": _litellm.general_settings()}
        )
        if setting is not None:
            return f"{setting} is set, and the fast path does not know its effect"
        return None

    def way(self, headers: dict[str, str]) -> App | None:
        """Return the short way through LiteLLM's middlewares for a request with *headers*."""
        return self._short.entry(headers) if self._short is not None else None

    def reply_headers_of_middlewares(self) -> dict[str, str]:
        """Return what a middleware that is left out on the short way would have put on a reply."""
        return self._short.headers if self._short is not None else {}

    def is_admin(self, headers: dict[str, str]) -> bool:
        """Tell whether the request carries the proxy's master key."""
        given = _BEARER.fullmatch(headers.get("authorization", ""))
        master = _litellm.master_key()
        return bool(given and master and hmac.compare_digest(given[1].encode(), master.encode()))

    async def identify(self, headers: dict[str, str], scope: Scope, body: dict[str, Any]) -> Any:
        """Return LiteLLM's identity of whoever asks. Raises: NotAdmitted."""
        given = _BEARER.fullmatch(headers.get("authorization", ""))
        if self._own_keys and given and "x-litellm-api-key" not in headers:
            # That header goes before all others; every other form of a key is LiteLLM's to read.
            identity = self._own_key(given[1])
            if identity is None:
                raise NotAdmitted(401, {}, "")
            return identity
        try:
            return await _litellm.authenticate(scope, body)
        except Exception as error:
            raise NotAdmitted(*_litellm.refusal(error)) from None

    def books(self, scope: Scope, body: dict[str, Any], identity: Any) -> Books | None:
        """Return LiteLLM's books on the request, or None if nobody wants to know of it."""
        limited = not self._own_keys and is_limited(identity)
        if not self._told and not limited:
            return None
        return Books(scope, body, identity, limited=limited, again=self._own_keys)

    def reply_headers(
        self, identity: Any, headers: dict[str, str], served_by: Candidate, plan: Plan, ms: float
    ) -> dict[str, str]:
        """Return the `x-litellm-*` headers of a reply, those that LiteLLM would have put on it."""
        cost_usd = plan.cost_nano_usd / 1e9
        return {
            "x-litellm-call-id": headers["x-litellm-call-id"],
            "x-litellm-model-id": served_by.id,
            "x-litellm-model-name": f"qwen3/{served_by.endpoint.provider}",
            "x-litellm-version": self._version,
            "x-litellm-response-cost": str(cost_usd),
            "x-litellm-key-spend": str((identity.spend or 0.0) + cost_usd),
            "x-litellm-response-duration-ms": str(ms),
        }
