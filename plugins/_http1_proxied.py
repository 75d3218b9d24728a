"""HTTP/1.1 calls by way of a proxy that the environment names: httpx over aiohttp's transport.

Only machines without a way out of their own need it, so tunnels and the refusals of proxies are
left to libraries that know them. Not by way of httpx's client: its redirects, cookies and auth are
what must not happen here.
"""

from __future__ import annotations

import ssl
import urllib.request

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from plugins._dialects import WireRequest
from plugins._http1 import KEEPALIVE_S, Broken, NotConnected, Reply, TooLarge

__all__ = ["Proxied", "proxy_for", "transport_to"]

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


class Proxied:
    """The calls to one endpoint over *transport*."""

    def __init__(self, transport: httpx.AsyncBaseTransport, connect_timeout_s: float) -> None:
        self._transport = transport
        # The deadline around the call bounds reading and writing; a read timeout restarts with
        # every byte and would not.
        self._extensions = {"timeout": httpx.Timeout(None, connect=connect_timeout_s).as_dict()}

    async def call(self, request: WireRequest, max_bytes: int) -> Reply:
        """Make one call. Raises: NotConnected, Broken, TooLarge."""
        try:
            response = await self._transport.handle_async_request(
                httpx.Request(
                    request.method,
                    request.url,
                    headers={**_HEADERS, **request.headers},
                    content=request.body,
                    extensions=self._extensions,
                )
            )
            try:
                body = await _read(response, max_bytes)
            finally:
                await response.aclose()
        except _BROKEN as error:
            raise _told(error) from None
        return Reply(response.status_code, dict(response.headers.items()), body)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._transport.aclose()


def proxy_for(url: httpx.URL) -> httpx.Proxy | None:
    """Return the proxy that the environment names for *url*, as other programs read it.

    Raises: NotConnected for one that is none, or not HTTP.
    """
    found = urllib.request.getproxies()
    proxy = found.get(url.scheme) or found.get("all")
    if not proxy or urllib.request.proxy_bypass(url.netloc.decode()):
        return None
    if "://" not in proxy:
        proxy = f"http://{proxy}"
    if not proxy.lower().startswith(("http://", "https://")):
        raise NotConnected("the environment names a proxy that is not http")
    try:
        return httpx.Proxy(proxy)
    except httpx.InvalidURL:
        raise NotConnected("the environment's proxy has no valid URL") from None


def transport_to(
    proxy: httpx.Proxy, concurrency: int, tls: ssl.SSLContext
) -> httpx.AsyncBaseTransport:
    """Return a transport that goes by way of *proxy*."""

    def session() -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=concurrency, keepalive_timeout=KEEPALIVE_S, ssl=tls)
        # trust_env would find the proxy by itself, but then ~/.netrc counts too: what it holds for
        # a provider's host would stand against our Authorization header.
        return aiohttp.ClientSession(
            connector=connector, trust_env=False, cookie_jar=aiohttp.DummyCookieJar()
        )

    return AiohttpTransport(verify=tls, client=session, proxy=proxy)


async def _read(response: httpx.Response, max_bytes: int) -> bytes:
    parts: list[bytes] = []
    left = max_bytes
    async for chunk in response.aiter_raw():
        left -= len(chunk)
        if left < 0:
            raise TooLarge(response.status_code)
        parts.append(chunk)
    return b"".join(parts)


def _told(error: Exception) -> NotConnected | Broken:
    """Tell a call that was never sent from one that may have been billed.

    The transport maps a broken connection to `ConnectTimeout` as well, so aiohttp's own error
    (the cause) decides: a connector error or a connection timeout comes before any byte is sent.
    """
    cause = error.__cause__ if isinstance(error.__cause__, aiohttp.ClientError) else error
    if isinstance(cause, (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout)):
        return NotConnected("timeout")
    if isinstance(cause, _NOT_SENT) or isinstance(error, httpx.UnsupportedProtocol):
        return NotConnected(type(cause).__name__)
    return Broken(type(cause).__name__)
