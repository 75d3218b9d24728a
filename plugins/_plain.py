"""Vectors that LiteLLM's own client brought, for deployments that are not `qwen3/…`.

LiteLLM makes the call and parses the reply; here its money is held before, and its vectors pass the
same checks as ours after.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from plugins._attempt import Attempt, Outcome
from plugins._errors import Fault, ProviderFault, TurnedDown, Unavailable
from plugins._exchange import Exchange
from plugins._money import Money
from plugins._plan import Plan
from plugins._pool import Candidate
from plugins._vectors import NATIVE, check, from_base64

__all__ = ["hold", "lost", "take"]


async def hold(exchange: Exchange, candidate: Candidate, money: Money) -> bool:
    """Hold the money of the call that LiteLLM is about to make; False if it must not be made.

    Then either another deployment is next, or `exchange.error` says why the request ends.
    """
    plan = exchange.plan
    assert plan is not None
    missing = plan.missing()
    tokens = sum(plan.counts[i] for i in missing)
    what = Attempt(plan.id, candidate, plan.consumer, plan.budgets, len(missing), tokens)
    plan.begin(candidate)
    try:
        await money.before(what)
    except TurnedDown as no:
        plan.turn_down(candidate, no, made_calls=False)
        return False
    except Unavailable as error:
        exchange.error = error
        return False
    exchange.held = what
    return True


async def lost(exchange: Exchange, money: Money) -> None:
    """Close a call of LiteLLM's that brought nothing: it may have been billed."""
    what, exchange.held = exchange.held, None
    if what is not None:
        fault = ProviderFault(Fault.SERVER, "LiteLLM's client failed")
        cost = what.candidate.cost_nano_usd(what.tokens)
        await money.after(what, Outcome(fault, what.tokens, cost, True, 0.0))


async def take(
    exchange: Exchange, response: Any, candidate: Candidate | None, money: Money
) -> None:
    """Put the vectors of LiteLLM's `EmbeddingResponse` into the plan, in order and checked.

    Raises:
        ProviderFault: CORRUPT; the reply is not one good vector of 4096 per input.
    """
    plan = exchange.plan
    assert plan is not None
    if candidate is None:
        raise ProviderFault(Fault.CORRUPT, "the reply came from a deployment outside the config")
    try:
        tokens, cost = _take(plan, response, candidate)
    except ProviderFault as fault:
        plan.faults.append((candidate.id, fault))
        await lost(exchange, money)
        raise
    what, exchange.held = exchange.held, None
    if what is not None:
        await money.after(what, Outcome(None, tokens, cost, True, 0.0))


def _take(plan: Plan, response: Any, candidate: Candidate) -> tuple[int, int]:
    items = getattr(response, "data", None) or []
    missing = plan.missing()
    if len(items) != len(missing):
        raise ProviderFault(Fault.CORRUPT, f"{len(items)} vectors for {len(missing)} inputs")
    places = [_get(item, "index") for item in items]
    if sorted(place for place in places if isinstance(place, int)) != list(range(len(items))):
        raise ProviderFault(Fault.CORRUPT, "the indices of the vectors are not 0 to n-1")
    values = [
        _get(item, "embedding")
        for _, item in sorted(zip(places, items, strict=True), key=lambda p: p[0])
    ]
    if all(isinstance(value, str) for value in values):
        rows = from_base64(values)
    else:
        try:
            rows = np.asarray(values, dtype=np.float32)
        except (TypeError, ValueError):
            raise ProviderFault(Fault.CORRUPT, "a vector is not a list of numbers") from None
    if rows.shape != (len(items), NATIVE):
        raise ProviderFault(Fault.CORRUPT, f"the vectors do not have {NATIVE} numbers each")
    rows = check(rows, [plan.texts[i] for i in missing], normalised=False)
    reported = getattr(getattr(response, "usage", None), "prompt_tokens", None)
    tokens = (
        reported
        if isinstance(reported, int) and reported > 0
        else sum(plan.counts[i] for i in missing)
    )
    plan.calls += 1
    cost = candidate.cost_nano_usd(tokens)
    plan.accept(missing, rows, candidate, tokens, cost)
    return tokens, cost


def _get(item: Any, name: str) -> Any:
    return item.get(name) if isinstance(item, dict) else getattr(item, name, None)
