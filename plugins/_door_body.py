"""The body of a request, read once and no further than it may be large."""

from __future__ import annotations

from plugins._asgi import Message, Receive, Scope
from plugins._errors import ClientError

__all__ = ["read", "replay"]


async def read(scope: Scope, receive: Receive, max_mb: int) -> bytes:
    """Return the body. Raises: ClientError(413), or 400 if the client left before its end."""
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
