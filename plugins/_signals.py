"""The free signal of an endpoint: one GET that tells whether somebody is there, and costs nothing.

Which one a provider has, and what it proves, stands in the catalogue (`health`). It proves no
vector: a server that answers it may still have lost its model.
"""

from __future__ import annotations

from typing import Protocol
from urllib.parse import urlsplit, urlunsplit

from plugins._dialects import Target, WireRequest, headers_for
from plugins._errors import Fault, ProviderFault
from plugins._pool import Endpoint
from router_config import HealthProbe

__all__ = ["Sender", "get", "hear", "listen", "origin"]

_MAX_BYTES = 1_000_000  # some lists of models are long; only the status is looked at


class Sender(Protocol):
    """The wire: `plugins._wire.Wire`."""

    async def send(
        self, endpoint: Endpoint, request: WireRequest, *, timeout_s: float, max_bytes: int
    ) -> tuple[int, dict[str, str], bytes]:
        """Make one wire call and return status, lower-case headers and the body."""


async def listen(endpoint: Endpoint, sender: Sender, timeout_s: float) -> bool:
    """Ask for the free signal; True if it is good, False if it says nothing or there is none.

    Raises:
        ProviderFault: nobody is there, the key is refused, or the server says that it is not well.
    """
    good, _ = await hear(endpoint, sender, timeout_s)
    return good


async def hear(endpoint: Endpoint, sender: Sender, timeout_s: float) -> tuple[bool, dict[str, str]]:
    """Return the same as `listen`, and the headers of the reply."""
    signal, target = endpoint.signal, endpoint.target
    if signal is None or target is None:
        return False, {}
    headers: dict[str, str] = {}
    try:
        status, headers, _ = await sender.send(
            endpoint, _request(signal, target), timeout_s=timeout_s, max_bytes=_MAX_BYTES
        )
    except ProviderFault as fault:
        if fault.status is None:
            raise
        status = fault.status  # too long a body; the status came before it
    return _judged(signal, status), headers


def get(target: Target, url: str) -> WireRequest:
    """Return a GET of *url* with the key of *target*, which must be of the same server."""
    headers = headers_for(target)
    headers.pop("content-type", None)
    return WireRequest(url, headers, b"", method="GET")


def _judged(signal: HealthProbe, status: int) -> bool:
    if status == signal.healthy_status:
        return True
    if status in (401, 403) and signal.needs_key:
        raise ProviderFault(Fault.AUTH, "the free signal says: key refused", status=status)
    if status >= 500:
        fault = Fault.OVERLOAD if status in (503, 529) else Fault.SERVER
        raise ProviderFault(fault, "the free signal says: not well", status=status)
    return False  # a gateway in between does not know the path, or is asked too often


def _request(signal: HealthProbe, target: Target) -> WireRequest:
    base = target.api_base if signal.below == "api_base" else origin(target.api_base)
    request = get(target, base.rstrip("/") + signal.path)
    if not signal.needs_key:
        request.headers.pop("authorization", None)
    return request


def origin(url: str) -> str:
    """Return scheme, host and port of *url*."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc, "", "", ""))
