"""The only module that opens provider connections: one call, one hard deadline, bounded bytes.

httpx over aiohttp's transport: measured against httpx's own (8 connections, loopback) it takes a
third of the CPU at one vector (0.28 against 0.84 ms) and half at 32 (0.8 against 1.9 ms).
Redirects are never followed (the key would go along), replies are asked for uncompressed, and a
compressed one is unpacked under the same byte limit: a small body cannot become a large one.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
import urllib.request
import zlib
from collections.abc import AsyncIterator, Callable

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from plugins._dialects import WireRequest
from plugins._errors import Fault, ProviderFault
from plugins._pool import Endpoint

__all__ = ["Wire"]

_CONNECT_TIMEOUT_S = 5.0
_KEEPALIVE_S = 30.0  # below the idle limit of common load balancers (60 s), so reuse is safe
# The deadline around the call bounds reading and writing; a read timeout restarts with every byte
# and would not.
_TIMEOUT = httpx.Timeout(None, connect=_CONNECT_TIMEOUT_S).as_dict()
_HEADERS = {
    "accept": "*/*",
    "accept-encoding": "identity",
    "connection": "keep-alive",
    "user-agent": f"python-httpx/{httpx.__version__}",
}
_NOT_SENT = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ClientProxyConnectionError,
    aiohttp.InvalidURL,
    httpx.ConnectError,
    httpx.InvalidURL,
    httpx.UnsupportedProtocol,
    UnicodeError,  # a host name that no name can be
)
_BROKEN = (httpx.TransportError, httpx.InvalidURL, aiohttp.ClientError, OSError, UnicodeError)


class Wire:
    """Keep-alive connections per endpoint; belongs to one event loop.

    *transport* makes the transport of one endpoint; tests may pass httpx's own.
    """

    def __init__(
        self, transport: Callable[[Endpoint], httpx.AsyncBaseTransport] | None = None
    ) -> None:
        self._transport = transport or _aiohttp_transport
        self._transports: dict[str, httpx.AsyncBaseTransport] = {}
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
        slot = self._slots.setdefault(endpoint.key, asyncio.Semaphore(endpoint.concurrency))
        started = False
        try:
            async with asyncio.timeout(timeout_s), slot:
                started = True
                return await self._call(self._transport_of(endpoint), request, max_bytes)
        except TimeoutError:
            what = "no complete reply" if started else "no free connection"
            raise ProviderFault(
                Fault.TIMEOUT, f"{what} within {timeout_s:.1f} s", sent=started
            ) from None
        except _BROKEN as error:
            # `from None`: the request inside the error holds the key and the texts.
            raise _transport_fault(error) from None

    async def _call(
        self, transport: httpx.AsyncBaseTransport, request: WireRequest, max_bytes: int
    ) -> tuple[int, dict[str, str], bytes]:
        # Not by way of httpx's client: its redirects, cookies and auth are what must not happen
        # here, and looking for them took as long as the call itself.
        response = await transport.handle_async_request(
            httpx.Request(
                request.method,
                request.url,
                headers={**_HEADERS, **request.headers},
                content=request.body,
                extensions={"timeout": _TIMEOUT},
            )
        )
        try:
            encoding = response.headers.get("content-encoding", "identity").strip().lower()
            body = await _read(response.aiter_raw(), encoding, max_bytes)
        except ProviderFault as fault:
            fault.status = response.status_code
            raise
        finally:
            await response.aclose()
        return response.status_code, dict(response.headers.items()), body

    def _transport_of(self, endpoint: Endpoint) -> httpx.AsyncBaseTransport:
        transport = self._transports.get(endpoint.key)
        if transport is None:
            transport = self._transports[endpoint.key] = self._transport(endpoint)
        return transport

    async def aclose(self) -> None:
        """Close all connections."""
        transports, self._transports = list(self._transports.values()), {}
        for transport in transports:
            await transport.aclose()


def _aiohttp_transport(endpoint: Endpoint) -> httpx.AsyncBaseTransport:
    tls = _tls()

    def session() -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=endpoint.concurrency, keepalive_timeout=_KEEPALIVE_S, ssl=tls
        )
        # trust_env would find the proxy by itself, but then ~/.netrc counts too: what it holds for
        # a provider's host would stand against our Authorization header.
        return aiohttp.ClientSession(
            connector=connector, trust_env=False, cookie_jar=aiohttp.DummyCookieJar()
        )

    return AiohttpTransport(verify=tls, client=session, proxy=_proxy(endpoint))


def _proxy(endpoint: Endpoint) -> httpx.Proxy | None:
    """Return the proxy that the environment names for *endpoint*, as other programs read it."""
    url = httpx.URL(endpoint.target.api_base if endpoint.target is not None else "")
    found = urllib.request.getproxies()
    proxy = found.get(url.scheme) or found.get("all")
    if not proxy or urllib.request.proxy_bypass(url.netloc.decode()):
        return None
    if "://" not in proxy:
        proxy = f"http://{proxy}"
    if not proxy.lower().startswith(("http://", "https://")):
        raise ProviderFault(
            Fault.CONNECT, "the environment names a proxy that is not http", sent=False
        )
    return httpx.Proxy(proxy)


@functools.cache  # some 20 ms each: the CA bundle is parsed
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context()


def _transport_fault(error: Exception) -> ProviderFault:
    """Tell a call that was never sent from one that may have been billed.

    The transport maps a broken connection to `ConnectTimeout` as well, so aiohttp's own error
    (the cause) decides: a connector error or a connection timeout comes before any byte is sent.
    """
    cause = error.__cause__ if isinstance(error.__cause__, aiohttp.ClientError) else error
    name = type(cause).__name__
    if isinstance(cause, (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout)):
        return ProviderFault(
            Fault.CONNECT, f"no connection within {_CONNECT_TIMEOUT_S:.0f} s", sent=False
        )
    if isinstance(cause, _NOT_SENT) or isinstance(error, httpx.UnsupportedProtocol):
        return ProviderFault(Fault.CONNECT, f"cannot connect ({name})", sent=False)
    return ProviderFault(Fault.RESET, f"the connection broke after sending ({name})")


async def _read(chunks: AsyncIterator[bytes], encoding: str, max_bytes: int) -> bytes:
    """Return the whole body, at most *max_bytes* of it after decompression."""
    unpack = None
    if encoding in ("gzip", "x-gzip", "deflate"):
        # 32 + MAX_WBITS: gzip or zlib, told apart by their headers
        unpack = zlib.decompressobj(zlib.MAX_WBITS | 32)
    elif encoding not in ("identity", ""):
        raise ProviderFault(Fault.CORRUPT, "content-encoding that was not asked for")
    parts: list[bytes] = []
    left = max_bytes
    async for chunk in chunks:
        if unpack is not None:
            try:
                chunk = unpack.decompress(chunk, left + 1)
            except zlib.error:
                raise ProviderFault(Fault.CORRUPT, "broken compressed body") from None
        left -= len(chunk)
        if left < 0:
            raise ProviderFault(Fault.CORRUPT, f"body over {max_bytes} bytes")
        parts.append(chunk)
    if unpack is not None and not unpack.eof:
        raise ProviderFault(Fault.CORRUPT, "compressed body ends too early")
    return b"".join(parts)
