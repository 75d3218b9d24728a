"""One call through `plugins._wire.Wire` to a peer, with what must hold for every call."""

from __future__ import annotations

import asyncio
import contextlib
import time
import traceback
from collections.abc import AsyncIterator, Callable

from plugins._dialects import Target, WireRequest
from plugins._errors import Fault, ProviderFault
from plugins._pool import Endpoint
from plugins._wire import Wire
from tests.plugins.peers import Line, Peer, Script, serving

__all__ = ["KEY", "TEXT", "Reply", "call", "closing", "replies", "send", "until", "verdict"]

KEY = "sk-the-key-that-nobody-may-see"
TEXT = "the text that nobody may see"
PATIENCE_S = 20.0  # for calls that must end by themselves, long before
SLACK_S = 2.0  # a busy machine is late, but never by a read timeout that starts anew

Reply = tuple[int, dict[str, str], bytes]


def endpoint(base: str = "http://provider.example", *, concurrency: int = 8) -> Endpoint:
    target = Target("openai", f"{base}/v1", "wire-model", KEY)
    return Endpoint("endpoint-key", "openai", "openai", target, concurrency)


def request(base: str) -> WireRequest:
    headers = {
        "authorization": f"Bearer {KEY}",
        "content-type": "application/json",
        "accept-encoding": "identity",
    }
    return WireRequest(f"{base}/v1/embeddings", headers, f'{{"input": "{TEXT}"}}'.encode())


async def send(
    wire: Wire,
    base: str,
    *,
    timeout_s: float = PATIENCE_S,
    max_bytes: int = 100_000,
    concurrency: int = 8,
) -> Reply | ProviderFault:
    """Return what one call gives, and check what holds for every call."""
    started = time.monotonic()
    try:
        return await wire.send(
            endpoint(base, concurrency=concurrency),
            request(base),
            timeout_s=timeout_s,
            max_bytes=max_bytes,
        )
    except ProviderFault as fault:
        assert_keeps_secrets(fault)
        return fault
    finally:
        assert time.monotonic() - started < timeout_s + SLACK_S


def assert_keeps_secrets(fault: ProviderFault) -> None:
    shown = "".join([str(fault), repr(fault), fault.detail, *traceback.format_exception(fault)])
    assert KEY not in shown
    assert TEXT not in shown
    assert fault.__cause__ is None
    # What broke the call holds the request; nobody who prints the fault may come upon it.
    assert fault.__context__ is None or fault.__suppress_context__


def call(
    script: Script, *, timeout_s: float = PATIENCE_S, max_bytes: int = 100_000
) -> tuple[Reply | ProviderFault, Peer]:
    """Make one call to a peer that follows *script*."""

    async def main() -> tuple[Reply | ProviderFault, Peer]:
        async with serving(script) as peer, closing() as wire:
            return await send(wire, peer.base, timeout_s=timeout_s, max_bytes=max_bytes), peer

    return asyncio.run(main())


@contextlib.asynccontextmanager
async def closing() -> AsyncIterator[Wire]:
    wire = Wire()
    try:
        yield wire
    finally:
        await wire.aclose()


def replies(*datas: bytes) -> Script:
    """Return a script that answers each request of a connection with the next of *datas*."""

    async def script(line: Line) -> None:
        for data in datas:
            await line.request()
            await line.send(data)
        await line.gone()

    return script


def verdict(got: Reply | ProviderFault) -> tuple[Fault, bool]:
    assert isinstance(got, ProviderFault), f"a reply with status {got[0]}"
    return got.fault, got.sent


async def until(true: Callable[[], bool], within_s: float = 60.0) -> None:
    ends = time.monotonic() + within_s
    while not true() and time.monotonic() < ends:  # noqa: ASYNC110 - the peer has no event for it
        await asyncio.sleep(0.01)
