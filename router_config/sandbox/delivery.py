"""How a reply leaves the socket: at once, late, byte by byte, or never."""

from __future__ import annotations

import asyncio

from .emulators.base import Reply
from .faults import Fault
from .http1 import Exchange, head

__all__ = ["lose", "send"]

# Long enough for the client to read what was sent before the reset overtakes it.
_BEFORE_RESET_S = 0.05


async def send(exchange: Exchange, reply: Reply, fault: Fault | None) -> bool:
    """Send *reply* as *fault* demands and return True if the kernel took all of it.

    Raises ConnectionError if the client went away before that.
    """
    headers = {
        "content-type": reply.content_type,
        "content-length": str(len(reply.body)),
        **reply.headers,
    }
    top = head(reply.status, headers)
    kind = fault.kind if fault is not None else None
    if fault is not None and fault.delay_s:
        await asyncio.sleep(fault.delay_s)
    if fault is not None and kind == "slowloris":
        exchange.write(top)
        await _trickle(exchange, reply.body, fault["interval_s"])
    elif fault is not None and kind == "trickle_headers":
        await _trickle(exchange, top, fault["interval_s"])
        exchange.write(reply.body)
    elif fault is not None and kind == "reset_mid_body":
        exchange.write(top + reply.body[: int(len(reply.body) * fault["keep"])])
        await exchange.drain()
        await asyncio.sleep(_BEFORE_RESET_S)
        exchange.reset()
        return False
    else:
        exchange.write(top + reply.body if len(reply.body) < 65_536 else top)
        if len(reply.body) >= 65_536:
            exchange.write(reply.body)
    await exchange.drain()
    return True


async def lose(exchange: Exchange, fault: Fault) -> None:
    """Never answer: hold the connection until the client leaves, or break it."""
    if fault.delay_s:
        await asyncio.sleep(fault.delay_s)
    if fault.kind == "reset_before_answer":
        exchange.reset()
    else:
        await exchange.gone()


async def _trickle(exchange: Exchange, data: bytes, interval_s: float) -> None:
    for at in range(len(data)):
        exchange.write(data[at : at + 1])
        await exchange.drain()
        await asyncio.sleep(interval_s)
