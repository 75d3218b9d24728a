"""What has to be ready before a new configuration is in force: its snapshot, LiteLLM.

Everything that can fail or take time happens before the swap; the swap itself waits for nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from plugins._readiness import announce, load_vocabularies
from plugins._snapshot import Snapshot
from router_config import Config

__all__ = ["Swap", "staging"]

# Puts a new snapshot in the place of an old one somewhere; may raise, before it changed anything.
Swap = Callable[[Snapshot, Snapshot], None]


def staging(
    environ: Mapping[str, str],
    newest: Callable[[], Snapshot],
    swaps: list[Swap],
) -> Callable[[Config], Awaitable[Callable[[], None]]]:
    """Return what readies a configuration and then returns the step that puts it in force.

    *newest* gives the snapshot in force, *swaps* are called in their order with the old and the new
    snapshot. If one raises, those before it are taken back. The ledger is not told: others share
    it, so nothing may stand there that could still be refused here.
    """

    async def stage(config: Config) -> Callable[[], None]:
        new = await asyncio.to_thread(Snapshot, config, environ)
        announce(config, new.pool)
        await asyncio.to_thread(load_vocabularies, config)

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
