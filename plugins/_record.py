"""What is known of a request or an attempt when it has ended: values without text or key.

The request log writes them, the metrics count them, the status page shows them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from plugins._attempt import Attempt, Outcome
from plugins._errors import ClientError
from plugins._exchange import Exchange

__all__ = ["AttemptRecord", "RequestRecord", "busy_s", "of_attempt", "of_exchange"]

# nginx's status for a client that went before its answer; none was sent.
_LEFT = 499


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One wire call. *at* is when it began, in seconds since 1970.

    *outcome* is "ok" or a class of `Fault`; *status* the provider's, None where none came. *tokens*
    and *cost_nano_usd* are what was billed as far as known, *counted* are our tokens of what was
    sent. *ms* is all of it, ledger included, *upstream_ms* the wire alone. *probe* marks a call of
    our own, which no client asked for.
    """

    at: float
    request: str
    group: str
    deployment: str
    provider: str
    endpoint: str
    inputs: int
    tokens: int
    counted: int
    cost_nano_usd: int
    outcome: str
    status: int | None
    detail: str | None
    sent: bool
    ms: float
    upstream_ms: float
    probe: bool


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request to a group of ours. *at* is when it came in, in seconds since 1970.

    *outcome* is "ok", "refused" (the client's own fault, or its limit: 4xx), "failed" (5xx) or
    "left" (the client went before the answer; *status* is 499). *code* is the stable error code.
    *tokens* are counted by us, end tokens included, and *longest* those of the longest input;
    *billed_tokens* stand in the reply's usage. *tried* lists the failed attempts' deployments,
    *reasons* the class of each failure, *served_by* those whose vectors were used. *upstream_ms* is
    the time in which at least one wire call was open, *own_ms* the rest. *cache_hits* counts inputs
    that no provider was asked for.
    """

    at: float
    request: str
    key: str | None
    team: str | None
    user: str | None
    group: str
    query: bool
    encoding: str | None
    dimensions: int | None
    inputs: int
    tokens: int
    longest: int
    billed_tokens: int
    cost_nano_usd: int
    served_by: tuple[str, ...]
    tried: tuple[str, ...]
    reasons: tuple[str, ...]
    attempts: int
    outcome: str
    status: int
    code: str | None
    ms: float
    upstream_ms: float
    own_ms: float
    cache_hits: int


def busy_s(spans: Iterable[tuple[float, float]]) -> float:
    """Return for how many seconds at least one of *spans* (begin, end) was open."""
    total, until = 0.0, float("-inf")
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total


def of_attempt(attempt: Attempt, outcome: Outcome, *, wall: float, probe: bool) -> AttemptRecord:
    """Return the record of an attempt that ended at *wall*."""
    fault, candidate = outcome.fault, attempt.candidate
    wire = outcome.wire
    return AttemptRecord(
        at=wall - outcome.seconds,
        request=attempt.request_id,
        group=candidate.group,
        deployment=candidate.id,
        provider=candidate.endpoint.provider,
        endpoint=candidate.endpoint.key,
        inputs=attempt.inputs,
        tokens=outcome.prompt_tokens,
        counted=attempt.tokens if outcome.sent else 0,
        cost_nano_usd=outcome.cost_nano_usd,
        outcome="ok" if fault is None else fault.fault.value,
        status=200 if fault is None else fault.status,
        detail=None if fault is None else fault.detail,
        sent=outcome.sent,
        ms=outcome.seconds * 1000,
        upstream_ms=(wire[1] - wire[0]) * 1000 if wire is not None else 0.0,
        probe=probe,
    )


def of_exchange(exchange: Exchange, *, now: float, wall: float) -> RequestRecord | None:
    """Return the record of a request that ended at *now* (*wall*), None if it is none of ours.

    A request of which nothing is known, such as one to a model that LiteLLM serves, has none.
    """
    plan, asked = exchange.plan, exchange.asked
    error = exchange.told or exchange.error
    if plan is None and error is None:
        return None
    passed = now - exchange.received_at
    upstream = min(passed, busy_s(exchange.wire))
    who = exchange.consumer
    outcome, status, code = _end(exchange)
    return RequestRecord(
        at=wall - passed,
        request=exchange.id,
        key=who.key if who is not None else None,
        team=who.team if who is not None else None,
        user=who.user if who is not None else None,
        group=_group(exchange),
        query=asked.query if asked is not None else False,
        encoding=asked.encoding if asked is not None else None,
        dimensions=plan.dimensions if plan is not None else None,
        inputs=len(plan.texts) if plan is not None else 0,
        tokens=sum(plan.counts) if plan is not None else 0,
        longest=max(plan.counts, default=0) if plan is not None else 0,
        billed_tokens=plan.tokens if plan is not None else 0,
        cost_nano_usd=plan.cost_nano_usd if plan is not None else 0,
        served_by=tuple(plan.served_by) if plan is not None else (),
        tried=tuple(id_ for id_, _ in plan.faults) if plan is not None else (),
        reasons=tuple(one.fault.value for _, one in plan.faults) if plan is not None else (),
        attempts=plan.calls if plan is not None else 0,
        outcome=outcome,
        status=status,
        code=code,
        ms=passed * 1000,
        upstream_ms=upstream * 1000,
        own_ms=(passed - upstream) * 1000,
        cache_hits=exchange.cache_hits,
    )


def _group(exchange: Exchange) -> str:
    if exchange.plan is not None:
        return exchange.plan.group_names[0]
    # Refused before it had a plan. A name that is none of our groups is not repeated.
    model = exchange.asked.model if exchange.asked is not None else exchange.model
    group = exchange.snapshot.group_of(model)
    return group.name if group is not None else ""


def _end(exchange: Exchange) -> tuple[str, int, str | None]:
    error = exchange.told or exchange.error
    if exchange.replied and exchange.told is None:
        return "ok", 200, None
    if exchange.left:
        return "left", _LEFT, "client_left"
    if error is None:  # neither a reply nor an error of ours went out
        return "failed", 500, "unknown"
    refused = isinstance(error, ClientError) or error.status < 500
    return "refused" if refused else "failed", error.status, error.code
