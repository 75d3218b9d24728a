"""LiteLLM callback: the money of calls that LiteLLM makes itself, to deployments like `openai/…`.

Ours (`qwen3/…`) hold their money inside the attempt. Around a call of LiteLLM's own client the same
is done from outside: what has no room is left out before the pick, the worst case is held before
the call, and its outcome is booked once. If the config does not name this callback,
`plugins.gateway` says so at start and adds it: a budget is never off.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from litellm.integrations.custom_logger import CustomLogger

from plugins import _lead, _plain, _runtime
from plugins._errors import ProviderFault
from plugins._exchange import Exchange
from plugins._pool import Candidate

__all__ = ["Budget", "handler"]


class Budget(CustomLogger):  # type: ignore[misc]  # LiteLLM ships no types
    """Held before, booked after; `hold` and `lost` are for the gateway, which leads the Router."""

    async def async_pre_call_hook(
        self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: str
    ) -> dict[str, Any] | None:
        """Admit the request with its budgets; nothing is left to do if another of ours did."""
        return await _lead.enter(user_api_key_dict, data, call_type)

    async def async_filter_deployments(
        self,
        model: str,
        healthy_deployments: list[dict[str, Any]],
        messages: Any,
        request_kwargs: dict[str, Any] | None = None,
        parent_otel_span: Any = None,
    ) -> list[dict[str, Any]]:
        """Leave out the deployments of which a budget is known to have no room for the request."""
        exchange = _lead.exchange_of(request_kwargs)
        if exchange is None or exchange.plan is None:
            return healthy_deployments
        plan = exchange.plan
        least = min((plan.counts[i] for i in plan.missing()), default=0)

        def has_room(one: Mapping[str, Any]) -> bool:
            candidate = exchange.snapshot.candidate((one.get("model_info") or {}).get("id"))
            if candidate is None or (exchange.held and exchange.held.candidate is candidate):
                return True
            return plan.lacks(candidate, least) is None

        return [one for one in healthy_deployments if has_room(one)]

    async def hold(self, exchange: Exchange, candidate: Candidate) -> bool:
        """Hold the money of the call that LiteLLM is about to make; see `_plain.hold`."""
        return await _plain.hold(exchange, candidate, _runtime.current().books)

    async def async_post_call_success_deployment_hook(
        self, request_data: dict[str, Any], response: Any, call_type: Any
    ) -> None:
        """Check what LiteLLM's client brought, keep its vectors, and book what it cost."""
        exchange, candidate = _own_call(request_data)
        if exchange is None or exchange.plan is None or candidate is None:
            return
        runtime = _runtime.current()
        with contextlib.suppress(ProviderFault):  # it is noted, and the vectors stay missing
            await _plain.take(exchange, response, candidate, runtime.clock(), runtime.books)
            # All of the request, whoever served it: LiteLLM sees one call and prices only that.
            response._hidden_params["response_cost"] = exchange.plan.cost_nano_usd / 1e9

    async def async_post_call_failure_deployment_hook(
        self,
        request_data: Mapping[str, Any],
        exception: Exception,
        call_type: Any,
        fallback_depth: int | None = None,
    ) -> None:
        """Note that LiteLLM's client failed, and leave to the ledger what it may have cost."""
        exchange, candidate = _own_call(request_data)
        if exchange is not None and candidate is not None:
            runtime = _runtime.current()
            await _plain.failed(exchange, candidate, exception, runtime.clock(), runtime.books)

    async def lost(self, exchange: Exchange) -> None:
        """Close a call of which LiteLLM told no outcome; see `_plain.lost`."""
        runtime = _runtime.current()
        await _plain.lost(exchange, runtime.clock(), runtime.books)


def _own_call(request_data: Mapping[str, Any]) -> tuple[Exchange | None, Candidate | None]:
    """Return the request and the deployment whose call is open, if LiteLLM makes it itself."""
    exchange = _lead.exchange_of(request_data)
    if exchange is None or exchange.held is None:  # `qwen3/…` tell their own; or it was told
        return None, None
    info = request_data.get("model_info") or {}
    candidate = exchange.snapshot.candidate(info.get("id"))
    return exchange, candidate if candidate is exchange.held.candidate else None


handler = Budget()
