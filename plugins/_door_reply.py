"""What goes back to the client: LiteLLM's reply if it is good, else our error.

Every error gets OpenAI's shape and a stable code, and a success passes only if checked vectors were
put into it.
"""

from __future__ import annotations

import logging

import orjson

from plugins._asgi import Message, Send
from plugins._errors import ClientError, Unavailable, error_body, error_headers
from plugins._exchange import ID_HEADER, Exchange
from plugins._foreign import translate

__all__ = ["Reply"]

_ID = ID_HEADER.encode()

log = logging.getLogger("qwen3_router")


class Reply:
    """The answer to one request of ours."""

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
        if self._exchange.unread:  # what comes of the body would be taken for a request
            headers["connection"] = "close"
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        # Without these a page in a browser could not read the error that it got.
        raw += [pair for pair in (self._start or {}).get("headers", ()) if _for_browsers(pair[0])]
        await self._send({"type": "http.response.start", "status": error.status, "headers": raw})
        await self._send({"type": "http.response.body", "body": body})


def _for_browsers(name: bytes) -> bool:
    return name.lower().startswith(b"access-control-") or name.lower() == b"vary"


def _with_id(message: Message, id_: str) -> Message:
    pair = (_ID, id_.encode())
    if pair in message["headers"]:
        return message
    headers = [one for one in message["headers"] if one[0].lower() != _ID]
    return {**message, "headers": [*headers, pair]}
