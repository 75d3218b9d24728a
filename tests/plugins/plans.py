"""Small candidates and plans for unit tests, with sizes that are easy to read."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from plugins._dialects import Target
from plugins._plan import Plan
from plugins._pool import Candidate, Endpoint
from plugins._request import Asked

__all__ = ["asked", "candidate", "plan"]


def candidate(
    id_: str,
    *,
    group: str = "g",
    order: int = 1,
    weight: float = 1,
    off: str | None = None,
    endpoint: str | None = None,
    region: str = "eu",
    max_inputs: int = 32,
    max_tokens: int = 32_768,
    max_tokens_per_call: int | None = None,
    concurrency: int = 8,
    usd_per_million_tokens: str = "0.01",
) -> Candidate:
    """Return a candidate that speaks the generic dialect; its endpoint is its own by default."""
    return Candidate(
        id=id_,
        group=group,
        order=order,
        weight=weight,
        off=off,
        endpoint=Endpoint(
            key=endpoint or id_,
            provider="openai",
            dialect="openai",
            target=Target("openai", "http://127.0.0.1:9/v1", "wire-model", "key"),
            concurrency=concurrency,
        ),
        region=region,
        budgets=(),
        usd_per_million_tokens=Decimal(usd_per_million_tokens),
        max_inputs=max_inputs,
        max_tokens_per_input=max_tokens,
        max_tokens_per_call=max_tokens_per_call,
        timeout_s=10.0,
        timeout_s_per_1k_tokens=0.0,
    )


def asked(texts: Sequence[str] = ("x",), encoding: str = "float") -> Asked:
    """Return a plain document request."""
    return Asked("g", "g", tuple(texts), (), None, encoding, None, False, None, False)


def plan(
    groups: Sequence[Sequence[Candidate]],
    *,
    texts: Sequence[str] | None = None,
    counts: Sequence[int] = (2,),
    attempts: int = 3,
    deadline: float = 30.0,
    region: str | None = None,
    dimensions: int = 4096,
) -> Plan:
    """Return a plan over *groups* for one text per count."""
    given = tuple(texts) if texts is not None else tuple(f"text {i}" for i in range(len(counts)))
    return Plan(
        id="req_test",
        asked=asked(given),
        dimensions=dimensions,
        texts=given,
        counts=tuple(counts),
        groups=tuple(tuple(group) for group in groups),
        group_names=tuple(group[0].group for group in groups if group),
        attempts=attempts,
        deadline=deadline,
        region=region,
    )
