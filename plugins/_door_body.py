"""The body of a request, read once and no further than it may be large."""

from __future__ import annotations

import asyncio

from plugins._asgi import Message, Receive, Scope
from plugins._errors import ClientError
from plugins._gate import Visit

__all__ = ["read", "replay"]


async def read(scope: Scope, receive: Receive, max_mb: int, visit: Visit) -> bytes:
    """Return the body.

    Raises:
        ClientError: 413; 400 if the client left before its end, or sends too slowly.
        Unavailable: 503, this worker has no room for it.
    """
    most = max_mb * 1024 * 1024
    too_large = ClientError(
        413, "request_too_large", f"The request body is over the limit of {max_mb} MB."
    )
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            if int(value) > most:
                raise too_large
            visit.expect(int(value))
    body = bytearray()  # not a list: millions of tiny parts would take far more than their bytes
    while True:
        message = await _next(receive, visit)
        if message["type"] == "http.disconnect":
            raise ClientError(400, "invalid_json", "The request body was not complete.")
        part: bytes = message.get("body", b"")
        if len(body) + len(part) > most:
            raise too_large
        visit.received(len(part))
        if not message.get("more_body"):
            return bytes(body) + part if body else part
        body += part


async def _next(receive: Receive, visit: Visit) -> Message:
    left_s = visit.body_left_s()
    try:
        async with asyncio.timeout(left_s):
            return await receive()
    except TimeoutError:
        visit.body_left_s()  # says so
        raise


def replay(body: bytes, receive: Receive) -> Receive:
    """Return a receive that gives *body* once, then what the client still sends (a disconnect)."""
    given = False

    async def give() -> Message:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return give
