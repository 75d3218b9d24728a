"""What has to be ready before a new configuration is in force: its snapshot, its limits, LiteLLM.

Everything that can fail or take time happens before the swap; the swap itself waits for nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from plugins._ledger import Budget
from plugins._readiness import announce, budget_rows, load_vocabularies
from plugins._snapshot import Snapshot
from router_config import Config

__all__ = ["Swap", "staging"]

# Puts a new snapshot in the place of an old one somewhere; may raise, before it changed anything.
Swap = Callable[[Snapshot, Snapshot], None]


def staging(
    environ: Mapping[str, str],
    newest: Callable[[], Snapshot],
    define: Callable[[list[Budget]], Awaitable[None]],
    swaps: list[Swap],
) -> Callable[[Config], Awaitable[Callable[[], None]]]:
    """Return what readies a configuration and then returns the step that puts it in force.

    *newest* gives the snapshot in force, *define* tells the ledger the limits, *swaps* are called
    in their order with the old and the new snapshot. If one raises, those before it are taken back.
    """

    async def stage(config: Config) -> Callable[[], None]:
        new = await asyncio.to_thread(Snapshot, config, environ)
        announce(config, new.pool)
        await asyncio.to_thread(load_vocabularies, config)
        await define(budget_rows(config, new.pool))

        def put_in_force() -> None:
            old = newest()
            done: list[Swap] = []
            try:
                for swap in swaps:
                    swap(old, new)
                    done.append(swap)
            except Exception:
                for swap in reversed(done):
                    swap(new, old)
                raise

        return put_in_force

    return stage
