"""A live request now and then, repeated on a second deployment beside the requests, and compared.

Only a suspicion comes of it: when the two vectors do not agree, both endpoints get the probe texts,
and the one that fails those is quarantined. What LiteLLM serves by itself gets none: it is out when
the other one has passed.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from plugins._errors import ProviderFault, TurnedDown, Unavailable
from plugins._parity import Parity
from plugins._plan import Plan
from plugins._pool import Candidate
from plugins._vectors import Matrix

__all__ = ["EVERY_S", "Sampler"]

log = logging.getLogger("qwen3_router.parity")

EVERY_S = 1.0
"""How often `work` looks whether a sample waits."""

_WAITING = 8
_MOST_TOKENS = 2000


@dataclass(frozen=True, slots=True)
class _Sample:
    text: str
    row: Matrix
    served: str  # deployment
    key: str  # its endpoint
    group: str
    second: Candidate
    cosine: float


class Sampler:
    """The samples of one process; *rate* is their share of requests, *draw* gives [0, 1)."""

    def __init__(
        self, parity: Parity, rate: Callable[[], float], draw: Callable[[], float]
    ) -> None:
        self._parity = parity
        self._rate = rate
        self._draw = draw
        self._waiting: deque[_Sample] = deque(maxlen=_WAITING)

    def offer(self, plan: Plan) -> None:
        """Take a text of the answered *plan*, if it is its turn and somebody else could answer it.

        Texts go only where the group and the key's region let them go, and are kept for seconds.
        """
        rate = self._rate()
        if rate <= 0 or self._draw() >= rate or plan.missing() or len(plan.served_by) != 1:
            return
        space = self._parity.spaces.of_group.get(plan.group_names[0])
        at = int(self._draw() * len(plan.texts))
        if space is None or plan.counts[at] > _MOST_TOKENS:
            return
        everybody = [one for group in plan.groups for one in group]
        served = next((one for one in everybody if one.id == plan.served_by[0]), None)
        if served is None:
            return
        others = [one for one in plan.groups[0] if _may_repeat(plan, one, served, at)]
        if not others:
            return
        second = others[int(self._draw() * len(others))]
        try:
            row = plan.rows([at])[0].copy()
        except RuntimeError:  # answered from the cache, without a vector
            return
        self._waiting.append(
            _Sample(
                plan.texts[at],
                row,
                served.id,
                served.endpoint.key,
                plan.group_names[0],
                second,
                space.terms.cosine,
            )
        )

    async def work(self) -> None:
        """Repeat what waits on the second deployment."""
        while self._waiting:
            sample = self._waiting.popleft()
            try:
                other = await self._parity.asker().row(sample.second, sample.text)
            except (ProviderFault, TurnedDown, Unavailable):
                continue  # says nothing about vectors
            cosine = float(np.dot(sample.row.astype(np.float64), other.astype(np.float64)))
            if cosine < sample.cosine:
                self._disagree(sample, cosine)

    def _disagree(self, sample: _Sample, cosine: float) -> None:
        both = [sample.key, sample.second.endpoint.key]
        log.warning(
            "parity: %s and %s answer the same text with cosine %.3f; both are probed",
            sample.served,
            sample.second.id,
            cosine,
        )
        self._parity.suspect(both)
        if sample.key not in self._parity.spaces.needed:
            words = f"cosine {cosine:.3f} to {sample.second.id}, which is proven"
            self._parity.accuse(sample.key, sample.second.endpoint.key, sample.group, words)


def _may_repeat(plan: Plan, one: Candidate, served: Candidate, at: int) -> bool:
    return (
        one.off is None
        and one.endpoint.target is not None
        and one.endpoint.key != served.endpoint.key
        and plan.region in (None, one.region)
        and plan.counts[at] <= one.max_tokens_per_input
        and plan.out(one) is None
        and plan.lacks(one, plan.counts[at]) is None
    )
