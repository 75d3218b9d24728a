"""Requests in flight: one `Exchange` from the front door to the reply, found by an id that we make.

Never keyed on LiteLLM's call id, which a client can set. Exchanges that nobody closed (a hook that
LiteLLM did not call because the client left) are swept, so the table cannot grow for ever.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from plugins._admission import Consumer
from plugins._attempt import Attempt
from plugins._errors import ClientError, Unavailable
from plugins._gate import Visit
from plugins._plan import Plan
from plugins._request import Asked
from plugins._snapshot import Snapshot
from plugins._story import Story

__all__ = ["ID_HEADER", "PLAN_KEY", "Exchange", "Exchanges"]

ID_HEADER = "x-router-request-id"
# Where the id travels inside LiteLLM: request metadata survives retries and fallbacks.
PLAN_KEY = "qwen3_router_request"
_SWEEP_EVERY = 512


@dataclass(slots=True)
class Exchange:
    """One request: *asked* once it was understood, *plan* once it was admitted.

    *snapshot* is the configuration that it began with, and ends with; *model* what the client
    named, if the front door read it.

    *error* is what the client will be told, once that is known, and *told* what it was told.
    *held* is a call that LiteLLM makes by itself, whose money is held. *door* tells whether the
    front door holds the exchange (then it closes it); *replied* that checked vectors were handed
    out; *left* that the client has gone, so that nothing more may be sent for it. *consumer* is who
    asks, *visit* its place in this worker, *unread* that its body was not read to the end, *story*
    what LiteLLM is told of a request that it has not served. *wire* is from when to when each wire
    call was open, in readings of the clock.
    """

    id: str
    received_at: float
    snapshot: Snapshot
    model: object = None
    asked: Asked | None = None
    plan: Plan | None = None
    error: ClientError | Unavailable | None = None
    told: ClientError | Unavailable | None = None
    consumer: Consumer | None = None
    visit: Visit | None = None
    unread: bool = True
    story: Story | None = None
    wire: list[tuple[float, float]] = field(default_factory=list)
    cache_hits: int = 0
    held: Attempt | None = None
    door: bool = False
    entered: bool = False
    replied: bool = False
    left: bool = False


class Exchanges:
    """The table of exchanges; *clock* is monotonic, in seconds, *newest* the config in force."""

    def __init__(
        self,
        clock: Callable[[], float],
        newest: Callable[[], Snapshot],
        keep_s: float = 3600.0,
    ) -> None:
        self._clock = clock
        self._newest = newest
        self._keep_s = keep_s
        self._open: dict[str, Exchange] = {}
        self._opened = 0
        # Told of every exchange when it is closed, once.
        self.on_close: list[Callable[[Exchange], None]] = []

    def open(self) -> Exchange:
        """Start an exchange with a fresh id."""
        self._opened += 1
        if self._opened % _SWEEP_EVERY == 0:
            self._sweep()
        exchange = Exchange(f"req_{secrets.token_hex(12)}", self._clock(), self._newest())
        self._open[exchange.id] = exchange
        return exchange

    def get(self, id_: object) -> Exchange | None:
        """Return the open exchange with that id, if there is one."""
        return self._open.get(id_) if isinstance(id_, str) else None

    def close(self, exchange: Exchange) -> None:
        """Forget *exchange*; closing it again changes nothing."""
        if self._open.pop(exchange.id, None) is not None:
            for listener in self.on_close:
                listener(exchange)

    def __len__(self) -> int:
        return len(self._open)

    def _sweep(self) -> None:
        oldest = self._clock() - self._keep_s
        for exchange in [one for one in self._open.values() if one.received_at < oldest]:
            self.close(exchange)
