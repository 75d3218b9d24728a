"""LiteLLM callback: exact `dimensions` and `encoding_format` on every deployment of our groups.

The reply is built as bytes from the plan's checked vectors, so floats of ours never become Python
objects; LiteLLM's own client is asked for whole vectors, which `plugins.budget` takes over.
"""

from __future__ import annotations

from typing import Any

from fastapi import Response
from litellm.integrations.custom_logger import CustomLogger

from plugins import _lead, _litellm, _plain, _reply, _runtime

__all__ = ["Matryoshka", "handler"]


class Matryoshka(CustomLogger):  # type: ignore[misc]  # LiteLLM ships no types
    """Request checks before, exact vectors after."""

    async def async_pre_call_hook(
        self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: str
    ) -> dict[str, Any] | None:
        """Check and note what was asked; nothing is left to do if the gateway did it before."""
        return await _lead.enter(user_api_key_dict, data, call_type)

    async def async_pre_call_deployment_hook(
        self, kwargs: dict[str, Any], call_type: Any
    ) -> dict[str, Any] | None:
        """Ask a deployment of LiteLLM's own once, for whole vectors of what is missing."""
        exchange = _lead.exchange_of(kwargs)
        if exchange is None or exchange.plan is None:
            return _without_plan(kwargs)
        runtime = _runtime.current()
        info = kwargs.get("model_info") or {}
        candidate = exchange.snapshot.candidate(info.get("id"))
        if candidate is None or candidate.endpoint.target is not None:
            # Ours ask for themselves; LiteLLM would refuse to pass them the field.
            return {name: value for name, value in kwargs.items() if name != "user"}
        return {**kwargs, **_plain.call(exchange.plan, candidate, info, runtime.clock())}

    async def async_post_call_success_hook(
        self, data: dict[str, Any], user_api_key_dict: Any, response: Any
    ) -> Any:
        """Return the finished reply as bytes, with our headers and LiteLLM's."""
        runtime = _runtime.current()
        exchange = _lead.exchange_of(data)
        if exchange is None or exchange.plan is None or exchange.story is not None:
            return response  # a story is told of a reply that is out already
        plan = exchange.plan
        hidden = getattr(response, "_hidden_params", None) or {}
        if plan.missing():
            exchange.error = plan.failure(runtime.clock())
            raise _lead.http_exception(exchange.error)
        body = await _reply.ready(plan)
        headers = {
            **_litellm.reply_headers(data, user_api_key_dict, hidden, plan.cost_nano_usd / 1e9),
            **_reply.headers(plan),
        }
        exchange.replied = True
        if not exchange.door:
            runtime.exchanges.close(exchange)
        return Response(body, media_type="application/json", headers=headers)


def _without_plan(kwargs: dict[str, Any]) -> dict[str, Any] | None:
    """Let a call go on that is none of ours; refuse one to our groups that came another way.

    It would pass neither our checks nor the ledger: a chat route, say, or a client's fallback.
    """
    if _litellm.is_health_check(kwargs):
        return _probe(kwargs)
    candidate = _runtime.current().snapshot.candidate((kwargs.get("model_info") or {}).get("id"))
    if candidate is not None:
        raise _lead.move_on(str(kwargs.get("model")))
    return None


def _probe(kwargs: dict[str, Any]) -> dict[str, Any] | None:
    """Let LiteLLM's /health answer itself: a look at our groups must not cost anything."""
    model, api_base = str(kwargs.get("model")), kwargs.get("api_base")
    runtime = _runtime.current()
    candidate = runtime.snapshot.plain(model, api_base)
    if candidate is None:
        return None
    off = candidate.off or runtime.health.why_none([candidate])
    if off is not None:
        raise _lead.off(model, off)
    return {**kwargs, "mock_response": [0.0]}


handler = Matryoshka()
