"""The words of ASGI, as every application and middleware here speaks them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

__all__ = ["App", "Message", "Receive", "Scope", "Send", "text_headers"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def text_headers(scope: Scope) -> dict[str, str]:
    """Return the headers of a request as text, names in lower case; the last of equal names."""
    return {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
