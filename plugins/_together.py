"""How the processes of a fleet act together on health: notes, standings, probes, what was seen.

Puts those parts together and has them work beside the requests; nothing on a request's way waits
for any of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from plugins._attempt import Transport, Watcher
from plugins._attempt_log import AttemptLog
from plugins._background import Background
from plugins._budgets import of_probes
from plugins._fleet import SAY_EVERY_S, Fleet
from plugins._health import Health
from plugins._ledger_open import run_apart
from plugins._notes import STEP_S, Notes
from plugins._pool import Candidate
from plugins._probes import STEP_S as PROBE_STEP_S
from plugins._probes import Probes
from plugins._proofs import Proofs
from plugins._snapshot import Snapshot
from plugins._standings import Standings
from router_config import Config

__all__ = ["Together"]


class Together:
    """The parts for one process; they begin with *background*."""

    def __init__(
        self,
        newest: Callable[[], Snapshot],
        *,
        notes: Notes,
        health: Health,
        money: Watcher,
        observer: Watcher,
        transport: Callable[[], Transport],
        background: Background,
        clock: Callable[[], float],
    ) -> None:
        self._notes = notes
        Standings(health, notes)
        self._probes = Probes(
            health,
            money,
            notes,
            also=(observer,),
            transport=transport,
            used=lambda key: self._fleet.used(key),
            clock=clock,
            wall=time.time,
        )
        self._fleet = Fleet(health, notes, lambda: self._probes.leads)
        self.use(newest().config, newest().pool)
        self.proofs = Proofs(
            newest, health, notes, transport, (money, AttemptLog(), observer), background
        )
        # In this order: the first step of the notes says already which deployments are here, so
        # that no standing is told before anybody can tell whose it is.
        background.add("statistics", SAY_EVERY_S, self._fleet.say)
        background.add("shared notes", STEP_S, notes.step)
        background.add("probes", PROBE_STEP_S, self._probe, first_s=PROBE_STEP_S)

    def use(self, config: Config, pool: Mapping[str, Sequence[Candidate]]) -> None:
        """Go on with another configuration."""
        self._probes.use(pool, (of_probes(config),), config.health.idle_s)
        self._fleet.use(pool)

    def load(self) -> None:
        """Hear what others know before the first request, and wait for it: at the start only."""
        run_apart(self._load())

    async def _load(self) -> None:
        await self._notes.step()
        await self._notes.hang_up()  # the event loop that serves is another one

    async def _probe(self) -> None:
        led = self._probes.leads
        await self._probes.step()
        if self._probes.leads != led:
            await self._fleet.say()

    async def aclose(self) -> None:
        """End the probes, say that this process leaves, and let go of the store."""
        await self._probes.aclose()
        self._fleet.leave()
        await self._notes.close()
