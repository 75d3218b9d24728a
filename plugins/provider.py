"""LiteLLM provider `qwen3/`: one attempt of a request on one deployment, over our own wire.

LiteLLM picks nothing here: the deployment is the one that `plugins.gateway` chose. A call without
one of our plans never reaches a provider: LiteLLM's health check is answered from what we know, and
anything else is an error, never an empty answer.
"""

from __future__ import annotations

from typing import Any

import litellm
from litellm import CustomLLM

from plugins import _lead, _litellm, _runtime
from plugins._errors import ProviderFault, TurnedDown, Unavailable
from plugins._exchange import Exchange
from plugins._plan import Plan
from plugins._pool import Candidate

__all__ = ["Qwen3", "handler"]


class Qwen3(CustomLLM):  # type: ignore[misc]  # LiteLLM ships no types
    """The custom provider; async only, as the proxy calls it."""

    async def aembedding(
        self,
        model: str,
        input: list[str] | str,  # noqa: A002  # LiteLLM passes it by this name
        model_response: Any,
        api_base: str | None = None,
        api_key: str | None = None,
        litellm_params: dict[str, Any] | None = None,
        logging_obj: Any = None,
        **_: Any,
    ) -> Any:
        """Fill *model_response* without vectors: those stay in the plan until the reply is built.

        Raises:
            litellm.ServiceUnavailableError: this deployment failed and a sibling is next.
            litellm.NotFoundError: it failed and another group is next.
            HTTPException: it failed and nobody is left (the client sees our error instead).
        """
        params = litellm_params or {}
        runtime = _runtime.current()
        exchange = _lead.exchange_of(params)
        if exchange is None or exchange.plan is None:
            if not _litellm.is_health_check(params):
                raise _lead.move_on(model)
            return _probe(model, api_base, api_key, model_response)
        plan = exchange.plan
        candidate = exchange.snapshot.candidate((params.get("model_info") or {}).get("id"))
        if candidate is None:
            raise _lead.move_on(model)
        if exchange.story is not None:
            _lead.retold(exchange, exchange.story, model, logging_obj)
        else:
            await _serve(runtime, exchange, plan, candidate, model)
        model_response.model = plan.asked.model
        model_response.data = []
        model_response.usage = litellm.Usage(prompt_tokens=plan.tokens, total_tokens=plan.tokens)
        model_response._hidden_params["response_cost"] = plan.cost_nano_usd / 1e9
        return model_response

    def embedding(self, *_: Any, **__: Any) -> Any:
        """Refuse: the synchronous form is not part of the proxy's path."""
        raise NotImplementedError("qwen3/ deployments are async only; use litellm.aembedding")


async def _serve(
    runtime: _runtime.Runtime, exchange: Exchange, plan: Plan, candidate: Candidate, model: str
) -> None:
    """Send what is missing to *candidate*; raises as `aembedding` does."""
    try:
        await runtime.serve(plan, candidate)
    except Unavailable as error:
        exchange.error = error
        raise _lead.stop(exchange) from None
    except (ProviderFault, TurnedDown):
        following = runtime.next(plan)
        if following is None:
            raise _lead.stop(exchange) from None
        if following.group == candidate.group:
            raise _lead.again(model) from None
        raise _lead.move_on(model) from None


def _probe(provider: str, api_base: str | None, api_key: str | None, model_response: Any) -> Any:
    """Answer LiteLLM's /health from what we know, without a call to anybody.

    LiteLLM does not say which deployment it probes, so all with that provider, base and key answer.
    """
    runtime = _runtime.current()
    off = runtime.snapshot.why_off(provider, api_base, api_key)
    off = off or runtime.health.why_none(runtime.snapshot.at(provider, api_base, api_key))
    if off is not None:
        raise _lead.off(provider, off)
    model_response.model = provider
    model_response.data = []
    model_response.usage = litellm.Usage(prompt_tokens=0, total_tokens=0)
    model_response._hidden_params["response_cost"] = 0.0
    return model_response


handler = Qwen3()
