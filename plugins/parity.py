"""LiteLLM callback: deployments that LiteLLM serves by itself take part in parity's samples.

Ours do without it. To have the others compared too, list it after `plugins.matryoshka.handler`,
which brings their vectors into the plan.
"""

from __future__ import annotations

from typing import Any

from litellm.integrations.custom_logger import CustomLogger

from plugins import _lead, _runtime

__all__ = ["Parity", "handler"]


class Parity(CustomLogger):  # type: ignore[misc]  # LiteLLM ships no types
    """Offers what LiteLLM's own client brought, as the attempts of ours are offered."""

    async def async_post_call_success_deployment_hook(
        self, request_data: dict[str, Any], response: Any, call_type: Any
    ) -> None:
        """Offer the answered request as a sample, unless the call was ours."""
        exchange = _lead.exchange_of(request_data)
        if exchange is None or exchange.plan is None or exchange.plan.missing():
            return
        candidate = exchange.snapshot.candidate((request_data.get("model_info") or {}).get("id"))
        if candidate is not None and candidate.endpoint.target is None:
            _runtime.current().together.proofs.served(exchange.plan)


handler = Parity()
