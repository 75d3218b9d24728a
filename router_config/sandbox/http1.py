"""A small HTTP/1.1 server that can misbehave on purpose, down to the socket.

It hands each request to a handler as an `Exchange`, which may answer in any number of writes, wait
until everything left this process, or break the connection with a reset. Nothing here knows what
an embedding is.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import deque
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol
from urllib.parse import unquote, urlsplit

__all__ = ["Connection", "Exchange", "Handler", "Listener", "Request", "head"]

_MAX_HEAD_BYTES = 64 * 1024
_MAX_BODY_BYTES = 256 * 1024 * 1024
# Closing with this set sends RST instead of FIN.
_LINGER_ZERO = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Request:
    """One request, read whole. Header names are lower case; *path* is without the query."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    keep_alive: bool = True


class Handler(Protocol):
    """What a listener calls."""

    def reads(self) -> bool:
        """Return False to leave the request whose first bytes came unread, for ever."""
        ...

    def handle(self, exchange: Exchange) -> Awaitable[None]:
        """Answer one request."""
        ...


def head(status: int, headers: Mapping[str, str]) -> bytes:
    """Return the status line and the headers, with the empty line that ends them."""
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = "Unknown"
    lines = [f"HTTP/1.1 {status} {reason}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


class Exchange:
    """One request and the way back to whoever sent it."""

    def __init__(self, request: Request, connection: Connection) -> None:
        self.request = request
        self._connection = connection

    def write(self, data: bytes) -> None:
        """Send *data* as soon as the socket takes it; ignored when the client is gone."""
        self._connection.write(data)

    async def drain(self) -> None:
        """Wait until the kernel has taken every byte. Raises ConnectionError if it cannot."""
        await self._connection.drain()

    async def gone(self) -> None:
        """Wait until the client has closed the connection."""
        await self._connection.gone.wait()

    def reset(self) -> None:
        """Break the connection so that the client sees "connection reset"."""
        self._connection.reset()


class Connection(asyncio.Protocol):
    """One client connection: requests are answered in order, one at a time."""

    def __init__(self, handler: Handler, open_connections: set[Connection]) -> None:
        self._handler = handler
        self._open = open_connections
        self._buffer = bytearray()
        self._need = 0
        self._requests: deque[Request] = deque()
        self._task: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._flushed = asyncio.Event()
        self._flushed.set()
        self._deaf = False
        self.gone = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        # With a limit of zero "resume" means: the kernel has everything.
        transport.set_write_buffer_limits(high=0)
        self._open.add(self)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        idle = not self._buffer and not self._requests and self._task is None
        if idle and not self._handler.reads():
            self._deaf = True
            if self._transport is not None:
                self._transport.pause_reading()
            return
        self._buffer += data
        if len(self._buffer) < self._need:
            return
        try:
            while (request := self._take()) is not None:
                self._requests.append(request)
        except ValueError as error:
            self._refuse(str(error))
            return
        if self._requests and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._serve())

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._open.discard(self)
        self.gone.set()
        self._flushed.set()
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._flushed.clear()

    def resume_writing(self) -> None:
        self._flushed.set()

    def write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    async def drain(self) -> None:
        await self._flushed.wait()
        if self.gone.is_set():
            raise ConnectionResetError("the client has gone")

    def reset(self) -> None:
        if self._transport is None or self.gone.is_set():
            return
        raw = self._transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        self._transport.abort()

    async def _serve(self) -> None:
        try:
            while self._requests:
                request = self._requests.popleft()
                with contextlib.suppress(ConnectionError):
                    await self._handler.handle(Exchange(request, self))
                if not request.keep_alive and self._transport is not None:
                    self._transport.close()
        finally:
            self._task = None

    def _refuse(self, reason: str) -> None:
        body = reason.encode()
        headers = {"content-length": str(len(body)), "connection": "close"}
        self.write(head(400, headers) + body)
        if self._transport is not None:
            self._transport.close()

    def _take(self) -> Request | None:
        """Cut one whole request off the buffer. Raises ValueError if it is not HTTP."""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > _MAX_HEAD_BYTES:
                raise ValueError("header too large")
            return None
        method, target, version, headers = _parse_head(bytes(self._buffer[:end]))
        start = end + 4
        if headers.get("transfer-encoding", "").lower() == "chunked":
            chunked = _dechunk(self._buffer, start)
            if chunked is None:
                self._wait_for(headers, 0)
                return None
            body, stop = chunked
        else:
            length = int(headers.get("content-length") or 0)
            if not 0 <= length <= _MAX_BODY_BYTES:
                raise ValueError("body too large")
            stop = start + length
            if len(self._buffer) < stop:
                self._wait_for(headers, stop)
                return None
            body = bytes(self._buffer[start:stop])
        del self._buffer[:stop]
        self._need = 0
        where = urlsplit(target)
        keep = headers.get("connection", "").lower() != "close" and version == "HTTP/1.1"
        return Request(method, unquote(where.path), where.query, headers, body, keep)

    def _wait_for(self, headers: Mapping[str, str], need: int) -> None:
        if not self._need and headers.get("expect", "").lower() == "100-continue":
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._need = need or 1


def _parse_head(raw: bytes) -> tuple[str, str, str, dict[str, str]]:
    first, *lines = raw.decode("latin-1").split("\r\n")
    parts = first.split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        raise ValueError("not HTTP/1")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise ValueError("bad header line")
        headers[name.strip().lower()] = value.strip()
    return parts[0], parts[1], parts[2], headers


def _dechunk(buffer: bytearray, at: int) -> tuple[bytes, int] | None:
    """Return a chunked body that starts at *at* and where it ends, or None if more must come."""
    parts: list[bytes] = []
    while True:
        end = buffer.find(b"\r\n", at)
        if end < 0:
            return None
        size = int(bytes(buffer[at:end]).split(b";")[0], 16)
        at = end + 2
        if len(buffer) < at + size + 2:
            return None
        if size == 0:
            return b"".join(parts), at + 2
        parts.append(bytes(buffer[at : at + size]))
        at += size + 2


class Listener:
    """One TCP port on loopback that can be closed and opened again under the same number."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._placeholder: socket.socket | None = None
        self._opening = asyncio.Lock()
        self.port = 0

    @property
    def is_open(self) -> bool:
        """True while connections are accepted."""
        return self._server is not None

    async def open(self) -> None:
        """Accept connections; a second call changes nothing."""
        async with self._opening:
            if self._server is not None:
                return
            listening, self._placeholder = self._placeholder or _bound(self.port), None
            self.port = listening.getsockname()[1]
            self._server = await asyncio.get_running_loop().create_server(
                self._connect, sock=listening, backlog=1024
            )

    def close(self) -> None:
        """Refuse connections and reset those that are open, as when a process dies."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        # A bound socket that does not listen refuses connections and keeps the port ours.
        with contextlib.suppress(OSError):
            self._placeholder = _bound(self.port)
        for connection in list(self._connections):
            connection.reset()

    def _connect(self) -> Connection:
        return Connection(self._handler, self._connections)


def _bound(port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("127.0.0.1", port))
    return made
