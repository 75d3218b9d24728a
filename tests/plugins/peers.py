"""A peer at the other end of a real socket: counts who connects, keeps what it was sent."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field

__all__ = ["Line", "Peer", "Script", "answer", "listening", "serving"]


class Line:
    """One accepted connection."""

    def __init__(
        self, peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._peer = peer
        self._reader = reader
        self._writer = writer

    async def request(self) -> bytes:
        """Read one request, head and body. Raises IncompleteReadError if the client left."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = 0
        for one in head.lower().split(b"\r\n"):
            if one.startswith(b"content-length:"):
                length = int(one.partition(b":")[2])
        whole = head + await self._reader.readexactly(length)
        self._peer.requests.append(whole)
        return whole

    async def beginning(self) -> None:
        """Read whatever comes first of a request."""
        await self._reader.read(1000)

    async def send(self, data: bytes) -> None:
        """Send *data*, as far as the client takes it."""
        self._writer.write(data)
        await self._writer.drain()

    def finish(self) -> None:
        """Close in peace (FIN)."""
        self._writer.close()

    def reset(self) -> None:
        """Break the connection (RST)."""
        raw = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def gone(self) -> None:
        """Wait until the client has closed the connection."""
        with contextlib.suppress(ConnectionError):
            while await self._reader.read(65_536):
                pass


Script = Callable[[Line], Awaitable[None]]


@dataclass
class Peer:
    """What was seen so far. *open* counts the connections that the client has not closed."""

    port: int = 0
    connections: int = 0
    open: int = 0
    requests: list[bytes] = field(default_factory=list)

    @property
    def base(self) -> str:
        """The address as a URL without a path."""
        return f"http://127.0.0.1:{self.port}"


def answer(
    body: bytes = b"{}", headers: Mapping[str, str] | None = None, status: int = 200
) -> bytes:
    """Return a whole HTTP reply."""
    lines = {"content-length": str(len(body)), **(headers or {})}
    head = [f"HTTP/1.1 {status} Something", *(f"{name}: {value}" for name, value in lines.items())]
    return "\r\n".join([*head, "", ""]).encode() + body


@contextlib.asynccontextmanager
async def serving(script: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[Peer]:
    """Run *script* for every connection, until the block ends."""
    peer = Peer()
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        peer.connections += 1
        peer.open += 1
        try:
            await script(Line(peer, reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client left, or the test is over
        finally:
            peer.open -= 1
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    peer.port = server.sockets[0].getsockname()[1]
    try:
        yield peer
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.contextmanager
def listening(backlog: int = 16) -> Iterator[socket.socket]:
    """Yield a socket that listens and accepts nobody."""
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        made.listen(backlog)
        yield made
