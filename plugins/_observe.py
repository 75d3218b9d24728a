"""Every request and every attempt, told once to whoever keeps count: log, metrics, status page.

A `Watcher` for attempts, and for requests a listener of the table of exchanges, so that both paths
are seen at one place. A sink must be quick and must not wait: it is called on the event loop.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from plugins._attempt import Attempt, Outcome
from plugins._exchange import Exchange, Exchanges
from plugins._record import AttemptRecord, RequestRecord, of_attempt, of_exchange

__all__ = ["Observer", "Sink"]

log = logging.getLogger("qwen3_router")


class Sink(Protocol):
    """Somebody who keeps count."""

    def attempt(self, record: AttemptRecord) -> None:
        """Note one wire call."""

    def request(self, record: RequestRecord) -> None:
        """Note one request."""


class Observer:
    """*clock* is monotonic, *wall* since 1970, in seconds."""

    def __init__(
        self, exchanges: Exchanges, *, clock: Callable[[], float], wall: Callable[[], float]
    ) -> None:
        self._exchanges = exchanges
        self._clock = clock
        self._wall = wall
        self.sinks: list[Sink] = []
        exchanges.on_close.append(self._closed)

    async def before(self, attempt: Attempt) -> None:
        """Agree to every call."""

    async def after(self, attempt: Attempt, outcome: Outcome) -> None:
        """Tell the sinks of one wire call."""
        exchange = self._exchanges.get(attempt.request_id)
        if exchange is not None and outcome.wire is not None:
            exchange.wire.append(outcome.wire)
        record = of_attempt(attempt, outcome, wall=self._wall(), probe=exchange is None)
        for sink in self.sinks:
            try:
                sink.attempt(record)
            except Exception as error:  # whoever counts must not break what is counted
                _tell(sink, error)

    def _closed(self, exchange: Exchange) -> None:
        record = of_exchange(exchange, now=self._clock(), wall=self._wall())
        if record is None:
            return
        for sink in self.sinks:
            try:
                sink.request(record)
            except Exception as error:
                _tell(sink, error)


def _tell(sink: Sink, error: Exception) -> None:
    log.error("%s failed (%s)", type(sink).__name__, type(error).__name__)
