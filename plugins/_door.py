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
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeVar
from urllib.parse import unquote

import orjson

from plugins._apart import apart
from plugins._errors import ClientError, Unavailable, error_body, error_headers
from plugins._exchange import ID_HEADER, Exchange
from plugins._foreign import translate
from plugins._request import parse_body
from plugins._runtime import Runtime
from plugins._snapshot import Snapshot

__all__ = ["Door"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
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


class Door:
    """ASGI middleware around LiteLLM's application.

    *runtime* is called per request, so that a reload is seen; *knows_model* tells whether LiteLLM
    can serve a model that is not ours.
    """

    def __init__(
        self, app: App, runtime: Callable[[], Runtime], knows_model: Callable[[str], bool]
    ) -> None:
        self._app = app
        self._runtime = runtime
        self._knows_model = knows_model

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection; an inner door steps aside when an outer one has it."""
        if scope["type"] != "http" or scope["method"] != "POST" or scope.get(_MARK):
            return await self._app(scope, receive, send)
        root = scope.get("root_path", "")
        path = scope["path"].removeprefix(root) if root else scope["path"]
        # Starlette's routes match a path with a line break at its end too ("%0A").
        match = _PATH.fullmatch(path.removesuffix("\n"))
        if match is None:
            return await self._app(scope, receive, send)
        scope[_MARK] = True
        runtime = self._runtime()
        exchange = runtime.exchanges.open()
        exchange.door = True
        reply = _Reply(send, exchange, runtime.has_own_keys)
        try:
            try:
                body = await _read(scope, receive, runtime.config.max_body_mb)
                fields = await _where(len(body), functools.partial(parse_body, body))
            except ClientError as error:
                return await reply.fail(error)
            model = unquote(match["model"]) if match["model"] else fields.get("model")
            await self._route(runtime, exchange, reply, scope, receive, body, fields, model)
        finally:
            runtime.exchanges.close(exchange)

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
        reply: _Reply,
        scope: Scope,
        receive: Receive,
        body: bytes,
        fields: dict[str, Any],
        model: Any,
    ) -> None:
        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        if self._is_foreign(exchange.snapshot, model):
            return await self._app(scope, _replay(body, receive), reply.raw)
        try:
            parse = functools.partial(
                runtime.parse, {**fields, "model": model}, headers, exchange.snapshot
            )
            exchange.asked = await _where(len(body), parse)
        except ClientError as error:
            # LiteLLM still decides who may ask: our hook raises this once the key was accepted.
            exchange.error = error
        inner_body = orjson.dumps(_inner_fields(exchange))
        watch = asyncio.create_task(_watch(receive, exchange))
        try:
            await self._app(
                _inner_scope(scope, len(inner_body), exchange.id),
                _replay(inner_body, lambda: asyncio.shield(watch)),
                reply.checked,
            )
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


def _inner_scope(scope: Scope, length: int, id_: str) -> Scope:
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


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a receive that gives *body* once, then what the client still sends (a disconnect)."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return replay


async def _watch(receive: Receive, exchange: Exchange) -> Message:
    """Return the message that says that the client has left, and note it."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            exchange.left = True
            return message


async def _read(scope: Scope, receive: Receive, max_mb: int) -> bytes:
    most = max_mb * 1024 * 1024
    too_large = ClientError(
        413, "request_too_large", f"The request body is over the limit of {max_mb} MB."
    )
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > most:
            raise too_large
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientError(400, "invalid_json", "The request body was not complete.")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > most:
            raise too_large
        if not message.get("more_body"):
            return b"".join(parts)


class _Reply:
    """What goes back to the client: LiteLLM's reply if it is good, else our error."""

    def __init__(self, send: Send, exchange: Exchange, own_keys: bool) -> None:
        self._send = send
        self._own_keys = own_keys
        self._exchange = exchange
        self._start: Message | None = None
        self._body: list[bytes] = []
        self.begun = False

    async def raw(self, message: Message) -> None:
        """Pass on a message of a request that is not ours."""
        await self._send(message)

    async def checked(self, message: Message) -> None:
        """Pass on a good reply of ours; hold back anything else for `finish`."""
        if message["type"] == "http.response.start":
            if message["status"] == 200 and self._exchange.replied:
                self.begun = True
                await self._send(_with_id(message, self._exchange.id))
            else:
                self._start = message
        elif self.begun:
            await self._send(message)
        elif message["type"] == "http.response.body":
            self._body.append(message.get("body", b""))

    async def finish(self) -> None:
        """Answer with the error, unless a good reply was passed on."""
        if self.begun:
            return
        # What we know of a request is not for those whose key LiteLLM did not accept.
        error = self._exchange.error if self._exchange.entered else None
        if error is None:
            start = self._start or {"status": 500, "headers": []}
            headers = {k.decode().lower(): v.decode("latin-1") for k, v in start["headers"]}
            error = translate(
                start["status"],
                headers,
                b"".join(self._body),
                decided=self._exchange.entered or self._own_keys,
            )
            if self._exchange.entered:
                log.warning(
                    "request %s: LiteLLM answered %s; the client gets %s",
                    self._exchange.id,
                    start["status"],
                    error.code,
                )
        await self.fail(error)

    async def fail(self, error: ClientError | Unavailable) -> None:
        """Answer with *error* in OpenAI's shape."""
        self._exchange.told = error
        body = orjson.dumps(error_body(error))
        plan = self._exchange.plan
        headers = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            ID_HEADER: self._exchange.id,
            **({"x-router-attempts": str(plan.calls)} if plan is not None else {}),
            **error_headers(error),
        }
        if error.status == 413:  # the rest of the body was not read
            headers["connection"] = "close"
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        # Without these a page in a browser could not read the error that it got.
        raw += [pair for pair in (self._start or {}).get("headers", ()) if _for_browsers(pair[0])]
        await self._send({"type": "http.response.start", "status": error.status, "headers": raw})
        await self._send({"type": "http.response.body", "body": body})


def _for_browsers(name: bytes) -> bool:
    return name.lower().startswith(b"access-control-") or name.lower() == b"vary"


def _with_id(message: Message, id_: str) -> Message:
    name = ID_HEADER.encode()
    headers = [pair for pair in message["headers"] if pair[0].lower() != name]
    return {**message, "headers": [*headers, (name, id_.encode())]}
