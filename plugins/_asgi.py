"""The words of ASGI, as every application and middleware here speaks them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

__all__ = ["App", "Branch", "Message", "Receive", "Scope", "Send", "text_headers"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Branch:
    """A fork in a chain of middlewares: scopes that hold *key* go to *apart*, others go on."""

    def __init__(self, common: App, key: str, apart: App) -> None:
        self.app = common  # by this name LiteLLM's middlewares and ours find the next one
        self._key = key
        self._apart = apart

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self._apart if self._key in scope else self.app)(scope, receive, send)


def text_headers(scope: Scope) -> dict[str, str]:
    """Return the headers of a request as text, names in lower case; the last of equal names."""
    return {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
