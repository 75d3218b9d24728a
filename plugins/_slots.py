"""Calls at once to one endpoint, counted over all requests of the process.

A call waits for its slot before its money is held and before its own time begins: waiting is not
the endpoint's fault and costs nobody room in a budget. It does count against the deadline of the
request, and a call that gets no slot in time goes to the next deployment.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from plugins._errors import Fault, ProviderFault
from plugins._pool import Endpoint
from plugins._turns import Turns

__all__ = ["Slots"]


class Slots:
    """The slots of all endpoints."""

    def __init__(self) -> None:
        self._turns: dict[str, Turns] = {}

    @contextlib.asynccontextmanager
    async def slot(self, endpoint: Endpoint, consumer: str, wait_s: float) -> AsyncIterator[None]:
        """Hold one of the endpoint's slots.

        Raises:
            ProviderFault: TIMEOUT, not sent; none became free within *wait_s*.
        """
        turns = self._turns.setdefault(endpoint.key, Turns(endpoint.concurrency))
        turns.most = endpoint.concurrency  # a reload may have changed it
        if not turns.try_take(consumer):
            try:
                async with asyncio.timeout(wait_s):
                    await turns.take(consumer)
            except TimeoutError:
                raise ProviderFault(
                    Fault.TIMEOUT, f"no free slot within {wait_s:.1f} s", sent=False
                ) from None
        try:
            yield
        finally:
            turns.give_back()
