"""A branch inside LiteLLM's middlewares: a request may carry what serves it in place of a route.

So LiteLLM's middlewares see our requests as they see all others: they count them, bound them, add
headers for browsers and wait for them when the process ends.
"""

from __future__ import annotations

from typing import Any

from plugins._asgi import App, Branch, Receive, Scope, Send

__all__ = ["INSIDE", "branch", "work"]

INSIDE = "qwen3_router.inside"
"""The key of a scope under which `work(scope, send)` stands, where the request carries it."""


def branch(stack: Any, router: App, bypassed: str) -> bool:
    """Build the branch into *stack*, the outermost middleware of a chain that ends in *router*.

    Requests that carry their work pass by the middleware whose class is named *bypassed*. Returns
    False, and changes nothing, if the chain does not end there.
    """
    outer, before = stack, None
    while (inner := getattr(outer, "app", None)) is not router:
        if inner is None or isinstance(inner, Branch):
            return inner is not None
        if type(inner).__name__ == bypassed:
            before = outer
        outer = inner
    outer.app = Branch(router, INSIDE, work)
    if before is not None:
        before.app = Branch(before.app, INSIDE, before.app.app)
    return True


async def work(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve a request by what it carries."""
    await scope[INSIDE](scope, send)
