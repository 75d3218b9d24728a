"""What health adds to a request, in microseconds: its view, the questions of the pick, the notes.

python -m tests.plugins.health_cost
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Callable

from plugins._attempt import Attempt, Outcome
from plugins._errors import Fault, ProviderFault
from plugins._health import Health
from tests.plugins.plans import candidate, plan

__all__ = ["cost_us"]

_EIGHT = [candidate(f"one-{order}", order=order) for order in range(8)]


def cost_us(*, sick: int, times: int) -> float:
    """Return what health costs a request to eight deployments of which the first *sick* are out."""
    health = Health({"g": _EIGHT}, draw=lambda: 0.5)
    for one in _EIGHT[:sick]:
        for _ in range(3):
            asyncio.run(_call(health, one.id, ProviderFault(Fault.SERVER, "test")))
    with_, without = asyncio.run(_run(health, times)), asyncio.run(_run(None, times))
    return (with_ - without) / times * 1e6


async def _run(health: Health | None, times: int) -> float:
    """Return the CPU seconds of plan, pick and the notes of health for *times* requests."""
    made = [plan([_EIGHT]) for _ in range(times)]
    draw: Callable[[], float] = lambda: 0.5  # noqa: E731
    outcome = Outcome(None, 2, 0, True, 0.05)
    started = time.process_time()
    for one in made:
        if health is not None:
            health.view(one.groups).onto(one)
        chosen = one.next(draw, 0.0)
        one.has_other(0.0)
        if health is not None and chosen is not None:
            one.patience_s(chosen)
            what = Attempt("r", chosen, None, (), 1, 2)
            await health.before(what)
            await health.after(what, outcome)
    return time.process_time() - started


async def _call(health: Health, id_: str, fault: ProviderFault | None) -> None:
    (one,) = [one for one in _EIGHT if one.id == id_]
    what = Attempt("r", one, None, (), 1, 2)
    await health.before(what)
    await health.after(what, Outcome(fault, 2, 0, True, 0.0))


def main() -> int:
    """Print the cost with nobody and with half of the deployments out."""
    logging.disable(logging.WARNING)
    for sick in (0, 1, 4):
        costs = sorted(cost_us(sick=sick, times=4_000) for _ in range(7))
        print(f"{sick} of 8 out: {costs[3]:.1f} us a request")
    return 0


if __name__ == "__main__":
    sys.exit(main())
