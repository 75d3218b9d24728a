"""The front door: a thin ASGI application around LiteLLM's.

It reads an embeddings request once, under a byte limit, and hands LiteLLM only the documented
fields; on the way back every error gets OpenAI's shape and a stable code, and a success passes
only if checked vectors were put into it. All other requests go through untouched.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import re
from collections.abc import Callable
from typing import Any, Protocol, TypeVar
from urllib.parse import unquote

import orjson

from plugins._apart import apart
from plugins._asgi import App, Message, Receive, Scope, Send, text_headers
from plugins._door_body import read, replay
from plugins._door_reply import Reply
from plugins._errors import ClientError, Unavailable
from plugins._exchange import ID_HEADER, Exchange
from plugins._inside import INSIDE
from plugins._middlewares import SHORT
from plugins._request import parse_body
from plugins._runtime import Runtime
from plugins._snapshot import Snapshot

__all__ = ["Door", "Shortcut"]

_T = TypeVar("_T")

log = logging.getLogger("qwen3_router")

_PATH = re.compile(r"(?:/v1)?/embeddings|/(?:engines|openai/deployments)/(?P<model>.*)/embeddings")
_MARK = "qwen3_router.door"
# Reading a larger body would hold the event loop for more than a few milliseconds.
_APART_FROM_BYTES = 262_144
# Headers of LiteLLM that name or authenticate; the others steer (retries, timeouts, tags, …).
_KEPT_LITELLM_HEADERS = (
    b"x-litellm-api-key",
    b"x-litellm-call-id",
    b"x-litellm-trace-id",
    b"x-litellm-session-id",
    b"x-litellm-customer-id",
    b"x-litellm-end-user-id",
    b"x-litellm-spend-logs-metadata",
)


class Shortcut(Protocol):
    """The fast path: `plugins._fast.Fast`."""

    def takes(self, runtime: Runtime, exchange: Exchange, headers: dict[str, str]) -> bool:
        """Tell whether it serves this request; else LiteLLM's Router does."""

    async def serve(
        self,
        runtime: Runtime,
        exchange: Exchange,
        headers: dict[str, str],
        body: dict[str, Any],
        scope: Scope,
        send: Send,
    ) -> None:
        """Answer it; *body* is what LiteLLM would be given."""

    def way(self, headers: dict[str, str]) -> App | None:
        """Return a shorter way to `serve` than through all of LiteLLM's middlewares, if any."""


class Door:
    """ASGI middleware around LiteLLM's application.

    *runtime* is called per request, so that a reload is seen; *knows_model* tells whether LiteLLM
    can serve a model that is not ours. *shortcut* may serve a request in place of its routes.
    """

    def __init__(
        self,
        app: App,
        runtime: Callable[[], Runtime],
        knows_model: Callable[[str], bool],
        shortcut: Shortcut | None = None,
    ) -> None:
        self.app = app
        self._runtime = runtime
        self._knows_model = knows_model
        self._shortcut = shortcut

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection; an inner door steps aside when an outer one has it."""
        if scope["type"] != "http" or scope["method"] != "POST" or scope.get(_MARK):
            return await self.app(scope, receive, send)
        root = scope.get("root_path", "")
        path = scope["path"].removeprefix(root) if root else scope["path"]
        # Starlette's routes match a path with a line break at its end too ("%0A").
        match = _PATH.fullmatch(path.removesuffix("\n"))
        if match is None:
            return await self.app(scope, receive, send)
        scope[_MARK] = True
        runtime = self._runtime()
        exchange = runtime.exchanges.open()
        exchange.door = True
        reply = Reply(send, exchange, runtime.has_own_keys)
        try:
            try:
                exchange.visit = runtime.gate.enter()
                body = await read(scope, receive, runtime.config.max_body_mb, exchange.visit)
                exchange.unread = False
                fields = await _where(len(body), functools.partial(parse_body, body))
            except (ClientError, Unavailable) as error:
                return await reply.fail(error)
            model = unquote(match["model"]) if match["model"] else fields.get("model")
            exchange.model = model
            await self._route(runtime, exchange, reply, scope, receive, body, fields, model)
        finally:
            runtime.exchanges.close(exchange)
            if exchange.visit is not None:
                exchange.visit.leave()

    def _is_foreign(self, snapshot: Snapshot, model: Any) -> bool:
        """Tell whether LiteLLM serves *model* by itself, so that we keep out of the way."""
        return (
            isinstance(model, str)
            and snapshot.group_of(model) is None
            and not snapshot.is_internal_name(model)
            and self._knows_model(model)
        )

    async def _route(
        self,
        runtime: Runtime,
        exchange: Exchange,
        reply: Reply,
        scope: Scope,
        receive: Receive,
        body: bytes,
        fields: dict[str, Any],
        model: Any,
    ) -> None:
        headers = text_headers(scope)
        if self._is_foreign(exchange.snapshot, model):
            return await self.app(scope, replay(body, receive), reply.raw)
        try:
            parse = functools.partial(exchange.snapshot.parse, {**fields, "model": model}, headers)
            exchange.asked = await _where(len(body), parse)
        except ClientError as error:
            # LiteLLM still decides who may ask: our hook raises this once the key was accepted.
            exchange.error = error
        shortcut, app = self._shortcut, self.app
        fields = _inner_fields(exchange)
        if shortcut is not None and shortcut.takes(runtime, exchange, headers):
            inner_body = b""
            inner = _inner_scope(scope, len(body), exchange.id)
            inner[INSIDE] = functools.partial(shortcut.serve, runtime, exchange, headers, fields)
            way = shortcut.way(headers)
            if way is not None:
                app, inner[SHORT] = way, True
        else:
            inner_body = await _where(len(body), functools.partial(orjson.dumps, fields))
            inner = _inner_scope(scope, len(inner_body), exchange.id)
        watch = asyncio.create_task(_watch(receive, exchange))
        try:
            await app(inner, replay(inner_body, lambda: asyncio.shield(watch)), reply.checked)
        except Exception as error:
            # LiteLLM without its database package raises here for a missing key, after a bare 500.
            if reply.begun:
                raise
            log.error("request %s: LiteLLM raised %s", exchange.id, type(error).__name__)
        finally:
            watch.cancel()
        await reply.finish()


async def _where(size: int, work: Callable[[], _T]) -> _T:
    return work() if size < _APART_FROM_BYTES else await apart(work)


def _inner_fields(exchange: Exchange) -> dict[str, Any]:
    """Return the body for LiteLLM: the documented fields, or a harmless one for a bad request."""
    asked = exchange.asked
    if asked is None:
        return {"model": next(iter(exchange.snapshot.config.groups)), "input": "refused"}
    fields: dict[str, Any] = {"model": asked.group, "input": list(asked.texts) or "token ids"}
    if asked.user is not None:
        fields["user"] = asked.user
    return fields


def _inner_scope(scope: Scope, length: int, id_: str) -> dict[str, Any]:
    dropped = (b"content-length", b"content-type", b"transfer-encoding", ID_HEADER.encode())
    headers = [
        (name, value)
        for name, value in scope["headers"]
        if name not in dropped
        and (not name.startswith(b"x-litellm-") or name in _KEPT_LITELLM_HEADERS)
    ]
    headers += [
        (b"content-type", b"application/json"),
        (b"content-length", str(length).encode()),
        (ID_HEADER.encode(), id_.encode()),
    ]
    root = scope.get("root_path", "")
    path = f"{root}/v1/embeddings"
    return {
        **scope,
        "headers": headers,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
    }


async def _watch(receive: Receive, exchange: Exchange) -> Message:
    """Return the message that says that the client has left, and note it."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            exchange.left = True
            return message
