"""The only module that opens provider connections: one call, one hard deadline, bounded bytes.

Our own lean client (`_http1`) makes the call: over loopback one vector takes 0.06 ms of processor
time, 0.25 ms with httpx over aiohttp's transport, which is the quickest of the usual ones. That one
goes where the environment names a proxy (`_http1_proxied`).

Redirects are never followed (the key would go along), replies are asked for uncompressed, and a
compressed one is unpacked under the same byte limit: a small body cannot become a large one.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from plugins._dialects import WireRequest
from plugins._errors import Fault, ProviderFault
from plugins._http1 import Broken, Connections, NotConnected, Reply, TooLarge, head
from plugins._http1_proxied import Proxied, proxy_for, transport_to
from plugins._pool import Endpoint

__all__ = ["Wire"]

_CONNECT_TIMEOUT_S = 5.0
_PORTS = {"http": 80, "https": 443}
_NO_SLOT, _NO_CONNECTION, _NO_REPLY = "no free connection", "no connection", "no complete reply"


@dataclass(frozen=True, slots=True)
class _Address:
    """A URL as a request needs it: *target* is path and query, *named* the host header."""

    url: httpx.URL
    scheme: str
    host: str
    port: int
    target: str
    named: str


class Wire:
    """Keep-alive connections per endpoint; belongs to one event loop.

    *transport* makes httpx's transport for an endpoint, for tests.
    """

    def __init__(
        self, transport: Callable[[Endpoint], httpx.AsyncBaseTransport] | None = None
    ) -> None:
        self._transport = transport
        self._proxied: dict[str, Proxied | None] = {}
        self._direct: dict[tuple[str, str, str, int], Connections] = {}
        self._slots: dict[str, asyncio.Semaphore] = {}

    async def send(
        self, endpoint: Endpoint, request: WireRequest, *, timeout_s: float, max_bytes: int
    ) -> tuple[int, dict[str, str], bytes]:
        """Make one wire call: return status, headers with lower-case names, and the body.

        *timeout_s* covers everything, waiting for a free slot of the endpoint included;
        *max_bytes* bounds the body after decompression.

        Raises:
            ProviderFault: TIMEOUT, CONNECT, RESET, or CORRUPT for a body over the limit.
        """
        slot = self._slots.get(endpoint.key)
        if slot is None:
            slot = self._slots[endpoint.key] = asyncio.Semaphore(endpoint.concurrency)
        lacking = _NO_SLOT
        try:
            async with asyncio.timeout(timeout_s), slot:
                lacking = _NO_CONNECTION
                address = _address(request.url)
                proxied = self._by_proxy(endpoint, address)
                if proxied is not None:
                    lacking = _NO_REPLY
                    reply = await proxied.call(request, max_bytes)
                else:
                    line = self._line(endpoint, address)
                    one = await line.take(_CONNECT_TIMEOUT_S)
                    lacking = _NO_REPLY
                    reply = await line.call(one, _written(request, address), max_bytes)
        except TimeoutError:
            raise ProviderFault(
                Fault.TIMEOUT, f"{lacking} within {timeout_s:.1f} s", sent=lacking is _NO_REPLY
            ) from None
        except NotConnected as error:
            # `from None`, here and below: the request inside an error holds the key and the texts.
            what = f"cannot connect ({error})"
            if str(error) == "timeout":
                what = f"no connection within {_CONNECT_TIMEOUT_S:.0f} s"
            raise ProviderFault(Fault.CONNECT, what, sent=False) from None
        except Broken as error:
            raise ProviderFault(
                Fault.RESET, f"the connection broke after sending ({error})"
            ) from None
        except TooLarge as error:
            raise _corrupt(error.status, f"body over {max_bytes} bytes") from None
        return reply.status, reply.headers, _unpacked(reply, max_bytes)

    def _by_proxy(self, endpoint: Endpoint, address: _Address) -> Proxied | None:
        """Return how *endpoint* is reached where that is not the direct way."""
        if endpoint.key not in self._proxied:
            made = None
            if self._transport is not None:
                made = self._transport(endpoint)
            elif (proxy := proxy_for(address.url)) is not None:
                made = transport_to(proxy, endpoint.concurrency, _tls())
            by = Proxied(made, _CONNECT_TIMEOUT_S) if made is not None else None
            self._proxied[endpoint.key] = by
        return self._proxied[endpoint.key]

    def _line(self, endpoint: Endpoint, address: _Address) -> Connections:
        key = (endpoint.key, address.scheme, address.host, address.port)
        line = self._direct.get(key)
        if line is None:
            tls = _tls() if address.scheme == "https" else None
            line = self._direct[key] = Connections(address.host, address.port, tls)
        return line

    async def aclose(self) -> None:
        """Close all connections."""
        lines, self._direct = list(self._direct.values()), {}
        for line in lines:
            line.close()
        proxied, self._proxied = [one for one in self._proxied.values() if one is not None], {}
        for one in proxied:
            await one.aclose()


@functools.lru_cache(maxsize=1024)
def _address(url: str) -> _Address:
    """Return *url* taken apart. Raises: NotConnected for one that leads nowhere."""
    try:
        found = httpx.URL(url)
        host = found.raw_host.decode("ascii")
    except (httpx.InvalidURL, UnicodeError) as error:
        raise NotConnected(type(error).__name__) from None
    if found.scheme not in _PORTS or not host:
        raise NotConnected("UnsupportedProtocol")
    return _Address(
        url=found,
        scheme=found.scheme,
        host=host,
        port=found.port or _PORTS[found.scheme],
        target=found.raw_path.decode("ascii"),
        named=found.netloc.decode("ascii"),
    )


def _written(request: WireRequest, address: _Address) -> bytes:
    headers = request.headers
    top = head(request.method, address.target, address.named, headers, len(request.body))
    return top + request.body


@functools.cache  # some 20 ms each: the CA bundle is parsed
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context()


def _unpacked(reply: Reply, max_bytes: int) -> bytes:
    """Return the body, at most *max_bytes* of it after decompression."""
    encoding = reply.headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("identity", ""):
        return reply.body
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise _corrupt(reply.status, "content-encoding that was not asked for")
    # 32 + MAX_WBITS: gzip or zlib, told apart by their headers
    unpack = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        body = unpack.decompress(reply.body, max_bytes + 1)
    except zlib.error:
        raise _corrupt(reply.status, "broken compressed body") from None
    if len(body) > max_bytes:
        raise _corrupt(reply.status, f"body over {max_bytes} bytes")
    if not unpack.eof:
        raise _corrupt(reply.status, "compressed body ends too early")
    return body


def _corrupt(status: int, what: str) -> ProviderFault:
    fault = ProviderFault(Fault.CORRUPT, what)
    fault.status = status
    return fault
