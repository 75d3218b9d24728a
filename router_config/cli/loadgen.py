"""Load over keep-alive connections: request after request, every reply timed.

Bare asyncio protocols, because the load generator shares two cores with what it measures: an HTTP
client library would be a large part of the numbers. Replies are counted and thrown away.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

__all__ = ["Measured", "Requests", "drive", "run"]

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_LAST_CHUNK = b"\r\n0\r\n\r\n"
_MOST_FAILURES = 20
# One count for all runs: what one has asked is known to the next.
_numbers = itertools.count(1)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Measured:
    """What a run gave: *seconds* of wall time and the latencies of its good replies, sorted."""

    seconds: float
    latencies_s: tuple[float, ...]
    failures: int
    reply_bytes: int

    @property
    def per_second(self) -> float:
        """Good replies per second."""
        return len(self.latencies_s) / self.seconds if self.seconds else 0.0

    def percentile_ms(self, share: float) -> float:
        """The latency below which *share* (0 to 1) of the good replies stayed, in milliseconds."""
        if not self.latencies_s:
            return float("nan")
        place = min(int(share * len(self.latencies_s)), len(self.latencies_s) - 1)
        return self.latencies_s[place] * 1000


class Requests:
    """The same request again and again; *body* may hold a *mark* that every request has its own of.

    The number that stands in its place is as long, so nothing else of the request changes.
    """

    def __init__(self, url: str, body: bytes, headers: dict[str, str], mark: bytes = b"") -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "", parts.port or 80
        lines = [f"POST {parts.path} HTTP/1.1", f"host: {parts.netloc}"]
        lines += ["content-type: application/json", f"content-length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._whole = ("\r\n".join(lines) + "\r\n\r\n").encode() + body
        self._mark = mark

    def next(self) -> bytes:
        """Return the next request."""
        if not self._mark:
            return self._whole
        return self._whole.replace(self._mark, b"%0*d" % (len(self._mark), next(_numbers)))


def run(main: Coroutine[Any, Any, _T]) -> _T:
    """Run *main* on the quickest event loop that is there."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)


async def drive(
    requests: Requests,
    *,
    connections: int,
    seconds: float,
    least: int = 1,
    at_most_s: float | None = None,
) -> Measured:
    """POST over *connections* for *seconds*, and until *least* replies are in.

    The least number keeps a slow subject from being judged by one or two replies; at most
    *at_most_s* (ten times *seconds*) are spent on it.
    """
    loop = asyncio.get_running_loop()
    begun = time.perf_counter()
    tally = _Tally(begun + seconds, begun + (at_most_s or 10 * seconds), least)
    clients = [_Client(tally, requests, loop) for _ in range(connections)]
    for client in clients:
        client.connect()

    def end() -> None:
        for client in clients:
            client.end()

    timer = loop.call_later(tally.at_most - begun + 1, end)
    await asyncio.gather(*(one.ended for one in clients))
    timer.cancel()
    took = time.perf_counter() - begun
    return Measured(took, tuple(sorted(tally.latencies_s)), tally.failures, tally.reply_bytes)


class _Tally:
    def __init__(self, until: float, at_most: float, least: int) -> None:
        self._until, self.at_most, self._least = until, at_most, least
        self.latencies_s: list[float] = []
        self.failures = 0
        self.reply_bytes = 0

    def goes_on(self) -> bool:
        now = time.perf_counter()
        if now >= self.at_most or self.failures > _MOST_FAILURES:
            return False
        return now < self._until or len(self.latencies_s) < self._least


class _Client(asyncio.Protocol):
    """One connection, made anew whenever it breaks."""

    def __init__(self, tally: _Tally, requests: Requests, loop: asyncio.AbstractEventLoop) -> None:
        self._tally, self._requests, self._loop = tally, requests, loop
        self._transport: asyncio.Transport | None = None
        self._connecting: asyncio.Task[Any] | None = None
        self._reset()
        self.ended: asyncio.Future[None] = loop.create_future()

    def _reset(self) -> None:
        self._head = b""
        self._status = 0
        self._left: int | None = None  # None: the length is not known
        self._size = 0
        self._tail = b""

    def connect(self) -> None:
        """Connect, and send the first request then."""
        host, port = self._requests.host, self._requests.port
        made = self._loop.create_connection(lambda: self, host, port)
        self._connecting = self._loop.create_task(made)
        self._connecting.add_done_callback(self._connected)

    def _connected(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self._broken()

    def end(self) -> None:
        """Stop, whatever is under way."""
        if not self.ended.done():
            self.ended.set_result(None)
        if self._connecting is not None:
            self._connecting.cancel()
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not checked: uvloop's transports are no subclass of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if not self.ended.done():
            self._broken()

    def _broken(self) -> None:
        self._tally.failures += 1
        if self._tally.goes_on():
            self.connect()
        else:
            self.end()

    def _send(self) -> None:
        if self._transport is None or not self._tally.goes_on():
            self.end()
            return
        self._reset()
        self._begun = time.perf_counter()
        self._transport.write(self._requests.next())

    def data_received(self, data: bytes) -> None:
        if not self._status:
            self._head += data
            end = self._head.find(b"\r\n\r\n") + 4
            if end < 4:
                return
            head, data = self._head[:end], self._head[end:]
            self._status = int(head[9:12])
            length = _LENGTH.search(head)
            self._left = int(length[1]) if length is not None else None
        self._size += len(data)
        if self._left is not None:
            self._left -= len(data)
            complete = self._left <= 0
        else:
            self._tail = (self._tail + data)[-len(_LAST_CHUNK) :]
            complete = self._tail == _LAST_CHUNK
        if complete:
            if self._status == 200:
                self._tally.latencies_s.append(time.perf_counter() - self._begun)
                self._tally.reply_bytes = self._size
            else:
                self._tally.failures += 1
            self._send()
