"""Calls at once to one endpoint, counted over all requests of the process.

A call waits for its slot before its money is held and before its own time begins: waiting is not
the endpoint's fault and costs nobody room in a budget. It does count against the deadline of the
request, and a call that gets no slot in time goes to the next deployment.
"""

from __future__ import annotations

import asyncio

from plugins._errors import Fault, ProviderFault
from plugins._pool import Endpoint
from plugins._turns import Turns

__all__ = ["Slots"]


class Slots:
    """The slots of all endpoints."""

    def __init__(self) -> None:
        self._turns: dict[str, Turns] = {}

    async def take(self, endpoint: Endpoint, consumer: str, wait_s: float) -> Turns:
        """Take one of the endpoint's slots; whoever got it has to `give_back` it.

        Raises:
            ProviderFault: TIMEOUT, not sent; none became free within *wait_s*.
        """
        turns = self._turns.get(endpoint.key)
        if turns is None:
            turns = self._turns[endpoint.key] = Turns(endpoint.concurrency)
        turns.most = endpoint.concurrency  # a reload may have changed it
        if not turns.try_take(consumer):
            try:
                async with asyncio.timeout(wait_s):
                    await turns.take(consumer)
            except TimeoutError:
                raise ProviderFault(
                    Fault.TIMEOUT, f"no free slot within {wait_s:.1f} s", sent=False
                ) from None
        return turns
