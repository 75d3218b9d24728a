"""The parts of a process that prove its vector spaces, put together.

Nothing on a request's way waits for any of it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

from plugins._attempt import Transport, Watcher
from plugins._background import Background
from plugins._health import Health
from plugins._notes import Notes
from plugins._parity import EVERY_S, Parity
from plugins._parity_sample import EVERY_S as SAMPLE_EVERY_S
from plugins._parity_sample import Sampler
from plugins._plan import Plan
from plugins._snapshot import Snapshot

__all__ = ["Proofs"]

_FIRST_S = 1.0


class Proofs:
    """The parts for one process; they begin with *background*.

    *watchers* see the calls of all probes and samples.
    """

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        health: Health,
        notes: Notes,
        wire: Callable[[], Transport],
        watchers: Sequence[Watcher],
        background: Background,
    ) -> None:
        self.notes = notes
        self.parity = Parity(
            snapshot,
            health,
            notes,
            wire=wire,
            watchers=watchers,
            clock=time.monotonic,
            wall=time.time,
        )
        health.unproven = self.parity.unproven
        self._sampler = Sampler(
            self.parity, lambda: snapshot().config.proving.sample, random.random
        )
        background.add("parity", EVERY_S, self.parity.tick, first_s=_FIRST_S)
        background.add("parity samples", SAMPLE_EVERY_S, self._sampler.work, first_s=_FIRST_S)

    def served(self, plan: Plan) -> None:
        """Take note of an answered request, which may become a sample."""
        self._sampler.offer(plan)
