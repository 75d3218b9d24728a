"""HTTP/1.1 calls over kept connections to one server, with as little as that takes.

A protocol over asyncio's transports and llhttp's parser (`httptools`). What a client library adds
to it (sessions, cookies, redirects, retries, its own objects around each call) is what must not
happen on the way to a provider, and cost several times as much as the call.

One call is one request on one connection, never repeated. A connection is used again only if all
of a reply and nothing after it has come; whoever leaves a call closes its connection.
"""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import aiohappyeyeballs
import httptools

__all__ = ["KEEPALIVE_S", "Broken", "Connections", "NotConnected", "Reply", "TooLarge", "head"]

KEEPALIVE_S = 30.0  # below the idle limit of common load balancers (60 s), so reuse is safe
_NEXT_ADDRESS_AFTER_S = 0.25  # as browsers do (RFC 8305): a dead IPv6 route costs no more than this
_MOST_HEAD_BYTES = 65_536


class NotConnected(Exception):
    """No connection was made: nothing of the request left this machine. The text is its kind."""


class Broken(Exception):
    """The connection broke, or what came is not HTTP, after the request was sent."""


class TooLarge(Exception):
    """The body of the reply is over the limit."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass(frozen=True, slots=True)
class Reply:
    """*headers* has lower-case names, equal ones joined; *body* is as it came, maybe packed."""

    status: int
    headers: dict[str, str]
    body: bytes


class Connections:
    """The connections to one server, for one event loop. How many is up to the caller."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        self._host, self._port, self._tls = host, port, tls
        self._idle: list[_Connection] = []  # the last one used is the next: the others may expire
        self._timer: asyncio.TimerHandle | None = None

    async def take(self, connect_timeout_s: float) -> _Connection:
        """Return a connection that nobody else uses; `call` gives it back, or closes it.

        Raises: NotConnected.
        """
        oldest = asyncio.get_running_loop().time() - KEEPALIVE_S
        while self._idle:
            one = self._idle.pop()
            if one.is_open() and one.idle_since >= oldest and one.is_quiet():
                return one
            one.abort()
        try:
            async with asyncio.timeout(connect_timeout_s):
                return await self._connect()
        except TimeoutError:
            raise NotConnected("timeout") from None
        except (OSError, UnicodeError) as error:  # TLS; a host name that no name can be
            raise NotConnected(type(error).__name__) from None

    async def call(self, one: _Connection, request: bytes, max_bytes: int) -> Reply:
        """Send *request*, head and body, and return the reply; a body has at most *max_bytes*.

        Raises: NotConnected, Broken, TooLarge.
        """
        try:
            reply = await one.exchange(request, max_bytes)
        except BaseException:  # whoever is cancelled hangs up
            one.abort()
            raise
        if one.may_be_used_again():
            loop = asyncio.get_running_loop()
            one.idle_since = loop.time()
            self._idle.append(one)
            if self._timer is None:
                self._timer = loop.call_later(KEEPALIVE_S, self._expire)
        else:
            one.abort()
        return reply

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        made = await aiohappyeyeballs.start_connection(
            found, happy_eyeballs_delay=_NEXT_ADDRESS_AFTER_S, interleave=1, loop=loop
        )
        one = _Connection()
        try:
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.create_connection(
                lambda: one,
                sock=made,
                ssl=self._tls,
                server_hostname=self._host if self._tls is not None else None,
            )
        except BaseException:
            if one.is_open():  # cancelled in the very turn in which it was made
                one.abort()
            else:
                made.close()
            raise
        return one

    def _expire(self) -> None:
        """Close what nobody has used for long."""
        self._timer = None
        loop = asyncio.get_running_loop()
        oldest = loop.time() - KEEPALIVE_S
        while self._idle and (not self._idle[0].is_open() or self._idle[0].idle_since <= oldest):
            self._idle.pop(0).abort()
        if self._idle:
            self._timer = loop.call_at(self._idle[0].idle_since + KEEPALIVE_S, self._expire)

    def close(self) -> None:
        """Close the connections that nobody uses now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._idle:
            self._idle.pop().abort()


class _Connection(asyncio.Protocol):
    """One connection, and the reply that is coming in on it."""

    def __init__(self) -> None:
        self.idle_since = 0.0
        self._poll = select.poll()
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Reply] | None = None
        self._reusable = False
        self._max_bytes = 0
        self._begin()

    def _begin(self) -> None:
        """Make ready for one reply; each has a parser of its own, so nothing of the last stays."""
        self._parser: httptools.HttpResponseParser | None = None
        self._head_bytes = 0
        self._in_body = False
        self._left: int | None = None  # of a body whose length the head tells
        self._until_end = False  # the body ends with the connection
        self._size = 0
        self._parts: list[bytes] = []
        self._pairs: list[tuple[bytes, bytes]] = []
        self._status = 0

    async def exchange(self, request: bytes, max_bytes: int) -> Reply:
        """Send *request* and return the reply to it. Raises: NotConnected, Broken, TooLarge."""
        transport = self._transport
        if transport is None or transport.is_closing():
            raise NotConnected("closed")  # since it was taken: nothing was sent
        self._begin()
        self._parser = httptools.HttpResponseParser(self)
        self._max_bytes = max_bytes
        self._reusable = False
        self._waiter = asyncio.get_running_loop().create_future()
        transport.write(request)
        try:
            return await self._waiter
        finally:
            self._waiter = self._parser = None

    def is_open(self) -> bool:
        """Tell whether the connection is there, as far as is known here."""
        return self._transport is not None and not self._transport.is_closing()

    def is_quiet(self) -> bool:
        """Tell whether nothing has come that the event loop has not seen yet, such as the end.

        A request on a connection that its server has closed would count as sent, and so as paid.
        """
        return not self._poll.poll(0)

    def may_be_used_again(self) -> bool:
        """Tell whether the last reply left the connection as it was before."""
        return (
            self._reusable
            and self._transport is not None
            and not self._transport.is_closing()
            # An answer that came before the whole request was read says nothing of what follows.
            and self._transport.get_write_buffer_size() == 0
        )

    def abort(self) -> None:
        """Close the connection at once."""
        self._reusable = False
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not checked: uvloop's transports are no subclass of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._ended(type(exc).__name__ if exc is not None else "ConnectionResetError")

    def eof_received(self) -> None:
        if self._in_body and self._until_end:
            self._finish()
        else:
            self._ended("EOF")

    def data_received(self, data: bytes) -> None:
        if self._waiter is None or self._waiter.done():
            self.abort()  # nobody asked for this
            return
        if self._left is not None:
            self._take(data)
            return
        if not self._in_body:
            self._head_bytes += len(data)
            if self._head_bytes > _MOST_HEAD_BYTES and b"\r\n\r\n" not in data:
                self._fail(Broken("endless head"))
                return
        assert self._parser is not None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._reusable = False  # also where a good reply is followed by something else
            self._fail(Broken(type(error).__name__))
        except httptools.HttpParserUpgrade:
            self._fail(Broken("upgrade"))

    # -- the parser calls these

    def on_message_begin(self) -> None:
        self._reusable = False  # a second one: nobody asked for it

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_body:  # what follows the chunks of a body says nothing new
            self._pairs.append((name, value))

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        self._status = self._parser.get_status_code()
        if self._status < 200:
            return
        self._in_body = True
        self._reusable = self._parser.should_keep_alive()
        headers = {name.lower(): value for name, value in self._pairs}
        coded = headers.get(b"transfer-encoding")
        length = headers.get(b"content-length")
        if self._status in (204, 304):  # no body, whatever the head says
            self._reusable = False
            self._finish()
        elif coded is not None:
            if coded.strip().lower() != b"chunked":
                self._fail(Broken("transfer-encoding"))
        elif length is None:
            self._until_end = True
        elif int(length) > self._max_bytes:
            self._fail(TooLarge(self._status))
        else:
            self._left = int(length)

    def on_body(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._max_bytes:
            self._fail(TooLarge(self._status))
        elif self._waiter is not None and not self._waiter.done():
            self._parts.append(data)
            if self._left is not None:
                self._left -= len(data)

    def on_message_complete(self) -> None:
        if self._status < 200:  # "100 Continue" and its like: the reply is still to come
            self._pairs.clear()
        else:
            self._finish()

    # -- the end of a reply

    def _take(self, data: bytes) -> None:
        """Take a further part of a body of known length, without the parser's copy of it."""
        assert self._left is not None
        left = self._left - len(data)
        if left < 0:
            data = data[: self._left]
            self._reusable = False
        self._left = max(left, 0)
        self._parts.append(data)
        if left <= 0:
            self._finish()

    def _finish(self) -> None:
        if self._waiter is None or self._waiter.done():
            self._reusable = False
            return
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts = []
        self._waiter.set_result(Reply(self._status, _joined(self._pairs), body))

    def _ended(self, kind: str) -> None:
        self._reusable = False
        self._fail(Broken(kind))

    def _fail(self, error: Exception) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._reusable = False
            self._waiter.set_exception(error)


def _joined(pairs: list[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in pairs:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1").strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def head(method: str, target: str, host: str, headers: Mapping[str, str], length: int) -> bytes:
    """Return the head of a request; *headers* are not checked for line breaks."""
    lines = [f"{method} {target} HTTP/1.1\r\nhost: {host}\r\n"]
    lines += [f"{name}: {value}\r\n" for name, value in headers.items()]
    lines.append(f"content-length: {length}\r\n\r\n")
    return "".join(lines).encode("latin-1")
