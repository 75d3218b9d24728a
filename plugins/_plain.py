"""Deployments that are not `qwen3/…`: LiteLLM's own client calls them, held to the same promises.

Health and money are asked before; the call is for whole vectors of what is missing, made once and
within the deadline; what it brings passes the same checks as ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from plugins._attempt import Attempt, Outcome, Watcher, billed_tokens
from plugins._attempt_log import log_failed
from plugins._dialects.retry_after import retry_after_s
from plugins._errors import Fault, ProviderFault, TurnedDown, Unavailable
from plugins._exchange import Exchange
from plugins._plan import Plan
from plugins._pool import Candidate
from plugins._vectors import NATIVE, check, from_base64

__all__ = ["call", "failed", "hold", "lost", "take"]


class _Zero(int):
    """A 0 that is true, since LiteLLM reads `max_retries or 2`."""

    def __bool__(self) -> bool:
        return True


_NO_RETRIES = _Zero(0)
_LEAST_S = 0.05
# LiteLLM tells no more of a 400 than that: it may be a text that is too long for this deployment.
_FAULTS = {
    400: Fault.TOO_LONG,
    401: Fault.AUTH,
    402: Fault.PAYMENT,
    403: Fault.AUTH,
    404: Fault.MODEL,
    408: Fault.TIMEOUT,
    413: Fault.TOO_LONG,
    422: Fault.TOO_LONG,
    429: Fault.RATE,
    503: Fault.OVERLOAD,
}


async def hold(exchange: Exchange, candidate: Candidate, books: Watcher) -> bool:
    """Ask *books* for the call that LiteLLM is about to make; False if it must not be made.

    Then either another deployment is next, or `exchange.error` says why the request ends.
    """
    plan = _plan(exchange)
    missing = plan.missing()
    tokens = sum(plan.counts[i] for i in missing)
    what = Attempt(
        plan.id,
        candidate,
        plan.consumer,
        plan.budgets,
        len(missing),
        tokens,
        plan.besides(candidate),
        in_need=plan.in_need,
    )
    plan.begin(candidate)
    try:
        await books.before(what)
    except TurnedDown as no:
        plan.turn_down(candidate, no, made_calls=False)
        return False
    except Unavailable as error:
        exchange.error = error
        return False
    exchange.held = what
    return True


def call(plan: Plan, candidate: Candidate, info: Mapping[str, Any], now: float) -> dict[str, Any]:
    """Return what to set in the arguments of LiteLLM's client, and count the call.

    *info* is the deployment's `model_info`. Without this the client would retry twice by itself,
    wait for a `Retry-After` as long as it says, and take ten minutes for an answer.
    """
    plan.calls += 1
    plan.called_at = now
    missing = plan.missing()
    timeout_s = candidate.attempt_timeout_s(sum(plan.counts[i] for i in missing))
    timeout_s = min(timeout_s, plan.patience_s(candidate) or timeout_s)
    return {
        "input": [plan.texts[i] for i in missing],
        "encoding_format": "base64" if info.get("base64") is True else "float",
        "max_retries": _NO_RETRIES,
        "timeout": max(_LEAST_S, min(timeout_s, plan.left_s(now))),
    }


async def failed(
    exchange: Exchange, candidate: Candidate, error: Exception, now: float, books: Watcher
) -> None:
    """Note that LiteLLM's client raised *error*, whose text nobody may see."""
    name, status = type(error).__name__, getattr(error, "status_code", None)
    if name == "APIConnectionError":  # LiteLLM gives it a 500
        fault = ProviderFault(Fault.RESET, f"LiteLLM raised {name}")
    else:
        class_ = _FAULTS.get(status or 500, Fault.SERVER)
        wait_s = _wait_s(error) if class_ in (Fault.RATE, Fault.OVERLOAD) else None
        detail = f"LiteLLM raised {name}"
        fault = ProviderFault(class_, detail, status=status, retry_after_s=wait_s)
    _note(_plan(exchange), candidate, fault, now)
    await _close(exchange, books, fault, now)


async def lost(exchange: Exchange, now: float, books: Watcher) -> None:
    """Close a call of which LiteLLM told nothing: it may have been billed, and proves nothing."""
    await _close(exchange, books, ProviderFault(Fault.CANCELLED, "LiteLLM told no end"), now)


async def take(
    exchange: Exchange, response: Any, candidate: Candidate, now: float, books: Watcher
) -> None:
    """Put the vectors of LiteLLM's `EmbeddingResponse` into the plan, in order and checked.

    Raises:
        ProviderFault: CORRUPT; the reply is not one good vector of 4096 per input.
    """
    plan = _plan(exchange)
    try:
        tokens, cost = _take(plan, response, candidate)
    except ProviderFault as fault:
        fault.status = 200
        _note(plan, candidate, fault, now)
        await _close(exchange, books, fault, now)
        raise
    what, exchange.held = exchange.held, None
    if what is not None:
        wire = (plan.called_at, now)
        await books.after(what, Outcome(None, tokens, cost, True, now - plan.called_at, wire))


def _wait_s(error: Exception) -> float | None:
    """Return how long the provider asked to wait, as far as LiteLLM's exception tells."""
    headers = getattr(error, "litellm_response_headers", None)
    if headers is None:
        headers = getattr(getattr(error, "response", None), "headers", None)
    if not isinstance(headers, Mapping):
        return None
    lower = {str(name).lower(): str(value) for name, value in headers.items()}
    return retry_after_s(lower, now_s=None)  # a reply's own clock is in its headers


def _plan(exchange: Exchange) -> Plan:
    if exchange.plan is None:
        raise RuntimeError("the request was not admitted")
    return exchange.plan


async def _close(exchange: Exchange, books: Watcher, fault: ProviderFault, now: float) -> None:
    what, exchange.held = exchange.held, None
    if what is not None:
        cost = what.candidate.cost_nano_usd(what.tokens)
        took_s = now - _plan(exchange).called_at
        await books.after(what, Outcome(fault, what.tokens, cost, True, took_s))


def _note(plan: Plan, candidate: Candidate, fault: ProviderFault, now: float) -> None:
    plan.faults.append((candidate.id, fault))
    log_failed(candidate.id, plan.id, fault, sent=True, seconds=now - plan.called_at)


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
    counted = sum(plan.counts[i] for i in missing)
    what = Attempt(plan.id, candidate, plan.consumer, plan.budgets, len(missing), counted)
    tokens = billed_tokens(what, reported if isinstance(reported, int) and reported > 0 else None)
    cost = candidate.cost_nano_usd(tokens)
    plan.accept(missing, rows, candidate, tokens, cost)
    return tokens, cost


def _get(item: Any, name: str) -> Any:
    return item.get(name) if isinstance(item, dict) else getattr(item, name, None)
