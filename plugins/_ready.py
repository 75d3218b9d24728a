"""`/health/readiness`: not ready while nobody could serve, else LiteLLM's own answer.

Not ready means 503: no group has anybody, or one that is `required` has nobody. A deployment whose
ejection is over counts as somebody: only a request, or a probe, can tell whether it is well again.
The path is open to all, so the answer names groups and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable

import orjson

from plugins._asgi import App, Receive, Scope, Send
from plugins._runtime import Runtime

__all__ = ["PATH", "Ready", "without_anybody"]

PATH = "/health/readiness"


def without_anybody(runtime: Runtime) -> list[str]:
    """Return the groups for whose sake the process is not ready; none if it is."""
    groups = runtime.config.groups
    empty = [name for name in groups if not runtime.health.has_anybody(name)]
    if groups and len(empty) == len(groups):
        return empty
    return [name for name in empty if groups[name].required]


class Ready:
    """ASGI middleware that answers the path where the process is not ready."""

    def __init__(self, app: App, runtime: Callable[[], Runtime]) -> None:
        self.app = app  # by this name the next one is found, as in LiteLLM's middlewares
        self._runtime = runtime

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if _is_asked(scope):
            empty = without_anybody(self._runtime())
            if empty:
                return await _refuse(send, empty)
        return await self.app(scope, receive, send)


def _is_asked(scope: Scope) -> bool:
    if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
        return False
    path: str = scope["path"]
    return path.endswith(PATH) and path.removeprefix(scope.get("root_path", "")) == PATH


async def _refuse(send: Send, groups: list[str]) -> None:
    body = orjson.dumps({"status": "not ready", "groups_without_deployment": groups})
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"retry-after", b"1"),
    ]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})
