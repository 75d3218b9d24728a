"""Nobody is called for a client that has left: a `Watcher` that refuses calls not yet sent.

A call under way is left alone. The provider has it and may bill it, so its outcome is wanted.
"""

from __future__ import annotations

from plugins._attempt import Attempt, Outcome
from plugins._errors import Fault, ProviderFault
from plugins._exchange import Exchanges

__all__ = ["Presence"]


class Presence:
    """Looks into the table of *exchanges* before every call."""

    def __init__(self, exchanges: Exchanges) -> None:
        self._exchanges = exchanges

    async def before(self, attempt: Attempt) -> None:
        """Refuse the call if its client has left."""
        exchange = self._exchanges.get(attempt.request_id)
        if exchange is not None and exchange.left:
            raise ProviderFault(Fault.CANCELLED, "the client has left", sent=False)

    async def after(self, attempt: Attempt, outcome: Outcome) -> None:
        """Nothing to note."""
