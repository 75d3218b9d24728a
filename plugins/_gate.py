"""Backpressure: how much one worker takes in before it says 503, and whose turn it is.

Three bounds. Requests that are inside, from the head of a request to its reply; bytes of their
bodies, as they come in; and requests in service, whose replies take memory: the others wait, and
are let in fairly between consumers. A slow client cannot hold a place for long: its body has ten
seconds, and a second more for every 16 KB.

Only the embeddings routes pass here; liveness and metrics do not wait for anybody.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from plugins._errors import ClientError, Unavailable
from plugins._turns import Turns
from router_config import Gateway

__all__ = ["Gate", "Visit"]

log = logging.getLogger("qwen3_router")

_MB = 1024 * 1024
_BODY_S = 10.0
_BODY_BYTES_PER_S = 16_384
_RETRY_AFTER_S = 1
_TELL_EVERY_S = 10.0


class Gate:
    """The gate of one worker; *bounds* is asked anew, so that a reload is seen."""

    def __init__(self, bounds: Callable[[], Gateway], clock: Callable[[], float]) -> None:
        self._bounds = bounds
        self._clock = clock
        self._turns = Turns(bounds().max_inflight, bounds().max_inflight_inputs)
        self._told_at = -_TELL_EVERY_S
        self.inside = 0
        self.body_bytes = 0
        self.refused = 0

    @property
    def waiting(self) -> int:
        """Return how many requests wait for their turn."""
        return self._turns.waiting

    def enter(self) -> Visit:
        """Let a request in, before its body is read. Raises: Unavailable, 503."""
        bounds = self._bounds()
        if self.inside >= bounds.max_inflight + bounds.max_queued:
            raise self._full("requests")
        self.inside += 1
        return Visit(self, self._clock())

    def _room(self, more: int) -> None:
        # One body always fits, whatever the bounds say.
        most = self._bounds().max_queued_mb * _MB
        if self.body_bytes and self.body_bytes + more > most:
            raise self._full("bytes of request bodies")

    def _full(self, what: str) -> Unavailable:
        self.refused += 1
        now = self._clock()
        if now >= self._told_at + _TELL_EVERY_S:
            self._told_at = now
            log.warning("the queue is full: too many %s; %d refused so far", what, self.refused)
        return Unavailable(
            503,
            "no_deployment_available",
            "The router has as much to do as it can hold. Try again in a moment.",
            retry_after_s=_RETRY_AFTER_S,
        )


class Visit:
    """One request inside the gate; whoever got it has to `leave`."""

    def __init__(self, gate: Gate, entered_at: float) -> None:
        self._gate = gate
        self._entered_at = entered_at
        self._bytes = 0
        self._inputs: int | None = None

    def expect(self, size: int) -> None:
        """Refuse a body of *size* bytes for which there is no room now. Raises: Unavailable, 503.

        It is not counted before it comes: a client that sends nothing takes no room from others.
        """
        self._gate._room(size)

    def received(self, size: int) -> None:
        """Count *size* more bytes of the body. Raises: Unavailable, 503."""
        self._gate._room(size)
        self._gate.body_bytes += size
        self._bytes += size

    def body_left_s(self) -> float:
        """Return how long the next part of the body may take. Raises: ClientError, too slow."""
        ends = self._entered_at + _BODY_S + self._bytes / _BODY_BYTES_PER_S
        left = ends - self._gate._clock()
        if left <= 0:
            raise ClientError(400, "invalid_json", "The request body came too slowly.")
        return left

    async def turn(self, consumer: str | None, inputs: int, left_s: float) -> None:
        """Wait until *inputs* texts of *consumer* may be served, for at most *left_s*.

        Raises:
            Unavailable: 504 `deadline_exceeded`.
        """
        if self._inputs is not None:
            return
        bounds, turns = self._gate._bounds(), self._gate._turns
        turns.most, turns.most_work = bounds.max_inflight, bounds.max_inflight_inputs
        if not turns.try_take(consumer or "", inputs):
            try:
                async with asyncio.timeout(max(0.0, left_s)):
                    await turns.take(consumer or "", inputs)
            except TimeoutError:
                raise Unavailable(
                    504, "deadline_exceeded", "The request's turn did not come in its deadline."
                ) from None
        self._inputs = inputs

    def leave(self) -> None:
        """End the visit."""
        gate = self._gate
        gate.inside -= 1
        gate.body_bytes -= self._bytes
        if self._inputs is not None:
            gate._turns.give_back(self._inputs)
