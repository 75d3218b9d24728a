"""LiteLLM callback: exact `dimensions` and `encoding_format` on every deployment of our groups.

The reply is built as bytes from the plan's checked vectors (deployments `qwen3/…`) or from what
LiteLLM's own client brought (any other), so floats of ours never become Python objects.
"""

from __future__ import annotations

from typing import Any

from fastapi import Response
from litellm.integrations.custom_logger import CustomLogger

from plugins import _lead, _litellm, _plain, _reply, _runtime
from plugins._apart import apart
from plugins._errors import ProviderFault

__all__ = ["Matryoshka", "handler"]

# Writing 32 x 4096 numbers takes 3 ms; from here on the event loop would be held too long.
_APART_FROM_NUMBERS = 128 * 4096


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
        """Ask a deployment of LiteLLM's own for full vectors in a form that it can send."""
        if _lead.exchange_of(kwargs) is None:
            return None
        model = str(kwargs.get("model", ""))
        if model.startswith("qwen3/") or kwargs.get("custom_llm_provider") == "qwen3":
            return None
        base64 = (kwargs.get("model_info") or {}).get("base64") is True
        return {**kwargs, "encoding_format": "base64" if base64 else "float"}

    async def async_post_call_success_hook(
        self, data: dict[str, Any], user_api_key_dict: Any, response: Any
    ) -> Any:
        """Return the finished reply as bytes, with our headers and LiteLLM's."""
        runtime = _runtime.current()
        exchange = _lead.exchange_of(data)
        if exchange is None or exchange.plan is None:
            return response
        plan = exchange.plan
        hidden = getattr(response, "_hidden_params", None) or {}
        try:
            if plan.missing():
                served_by = runtime.candidate(hidden.get("model_id"))
                await _plain.take(exchange, response, served_by, runtime.money)
            if plan.size() < _APART_FROM_NUMBERS:
                body = _reply.body(plan)
            else:
                body = await apart(lambda: _reply.body(plan))
        except ProviderFault:
            exchange.error = plan.failure(runtime.clock())
            raise _lead.http_exception(exchange.error) from None
        headers = {
            **_litellm.reply_headers(data, user_api_key_dict, hidden, plan.cost_nano_usd / 1e9),
            **_reply.headers(plan),
        }
        exchange.replied = True
        if not exchange.door:
            runtime.exchanges.close(exchange)
        return Response(body, media_type="application/json", headers=headers)


handler = Matryoshka()
