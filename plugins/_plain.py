"""Vectors that LiteLLM's own client brought, for deployments that are not `qwen3/…`.

LiteLLM has made the call and parsed the reply; here its vectors pass the same checks as ours.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from plugins._errors import Fault, ProviderFault
from plugins._plan import Plan
from plugins._pool import Candidate
from plugins._vectors import NATIVE, check, from_base64

__all__ = ["take"]


def take(plan: Plan, response: Any, candidate: Candidate | None) -> None:
    """Put the vectors of LiteLLM's `EmbeddingResponse` into *plan*, in order and checked.

    Raises:
        ProviderFault: CORRUPT; the reply is not one good vector of 4096 per input.
    """
    if candidate is None:
        raise ProviderFault(Fault.CORRUPT, "the reply came from a deployment outside the config")
    try:
        _take(plan, response, candidate)
    except ProviderFault as fault:
        plan.faults.append((candidate.id, fault))
        raise


def _take(plan: Plan, response: Any, candidate: Candidate) -> None:
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
    plan.accept(missing, rows, candidate, tokens, candidate.cost_nano_usd(tokens))


def _get(item: Any, name: str) -> Any:
    return item.get(name) if isinstance(item, dict) else getattr(item, name, None)
