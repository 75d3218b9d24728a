"""LiteLLM callback: nobody who is out is called, whichever way LiteLLM came to a deployment.

For a request to one of our groups the pick has seen to that already; this filter is for what
LiteLLM's Router does on its own account. What calls show is noted by every attempt, the state is in
`plugins._health`, and LiteLLM's `/health` is answered from it, never by a call to a provider.
"""

from __future__ import annotations

from typing import Any

from litellm.integrations.custom_logger import CustomLogger

from plugins import _lead, _runtime

__all__ = ["Health", "handler"]


class Health(CustomLogger):  # type: ignore[misc]  # LiteLLM ships no types
    """Ejections, as a LiteLLM hook."""

    async def async_filter_deployments(
        self,
        model: str,
        healthy_deployments: list[dict[str, Any]],
        messages: Any,
        request_kwargs: dict[str, Any] | None = None,
        parent_otel_span: Any = None,
    ) -> list[dict[str, Any]]:
        """Return the deployments that are not out."""
        exchange = _lead.exchange_of(request_kwargs)
        if exchange is not None and exchange.plan is not None:
            return healthy_deployments  # the one that our pick chose, perhaps to try it out
        runtime = _runtime.current()
        found = []
        for one in healthy_deployments:
            candidate = runtime.snapshot.candidate((one.get("model_info") or {}).get("id"))
            if candidate is None or runtime.health.why_none([candidate]) is None:
                found.append(one)
        return found


handler = Health()
