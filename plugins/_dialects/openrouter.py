"""OpenRouter: routing preferences in a `provider` block, and errors inside a 200.

Source: openrouter.ai/docs create-embeddings, errors-and-debugging, provider routing (2026). Request
and credit errors have the HTTP status of `error.code`; what happens after routing arrives with
HTTP 200 and the code only in the body. `metadata.provider_name` tells that an upstream failed. Its
account is not ours, so its 401 or 402 says nothing about our key or credit, unless it is called
with a key of ours (`is_byok`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from plugins._dialects import faults
from plugins._dialects.base import Target
from plugins._dialects.faults import FIELD, LENGTH, rule
from plugins._dialects.openai import OpenAI
from plugins._dialects.options import OPTIONS
from plugins._dialects.refusal import Refusal, messages_of
from plugins._dialects.retry_after import duration_s, retry_after_s
from plugins._errors import Fault, ProviderFault

__all__ = ["OpenRouter"]

_UPSTREAM = "upstream of openrouter: "


class OpenRouter(OpenAI):
    """Reports the cost of a call, asks for waits in three places, and names failed upstreams."""

    name = "openrouter"
    reports_cost = True
    table = (
        # Calls at the same time used up the credit that is set aside for running calls.
        rule("402", r"openrouter_in_flight_budget", Fault.RATE, "credit held by running calls"),
        # Seen as 502 with the upstream's own 400 inside `metadata.raw`.
        rule("400 413 422 500 502", LENGTH, Fault.TOO_LONG, "input over the upstream's limit"),
        rule("400 422", FIELD, Fault.DIALECT, "field refused"),
        rule("400 401 402 403 412 422", _UPSTREAM, Fault.SERVER, "refused by the upstream"),
        rule("403", r"openrouter_\w*(budget|limit)", Fault.PAYMENT, "spending limit reached"),
        rule("403", r"flagged|moderation|content_policy", Fault.SERVER, "text was flagged"),
    )

    def extra_fields(self, target: Target) -> dict[str, Any]:
        """Return the `provider` block, if any routing option is set."""
        known = OPTIONS[self.name]
        block = {name: value for name, value in target.options.items() if name in known}
        return {"provider": block} if block else {}

    def fault(
        self,
        status: int,
        headers: Mapping[str, str],
        refusal: Refusal,
        *,
        now_s: float | None,
        real_status: int | None = None,
    ) -> ProviderFault:
        """Return the fault, with what `metadata` adds."""
        metadata = refusal.error.get("metadata")
        if not isinstance(metadata, dict):
            metadata = {}
        more = f" | {metadata.get('limit_source', '')}".lower()
        if metadata.get("flagged_input") is not None:
            more += " | flagged"
        if metadata.get("provider_name") and metadata.get("is_byok") is not True:
            more += f" | {_UPSTREAM}{messages_of(metadata.get('raw'))}"
        return faults.classify(
            status,
            headers,
            dataclasses.replace(refusal, text=refusal.text + more),
            self.table,
            now_s=now_s,
            real_status=real_status,
            wait_s=_wait_s(metadata, now_s),
        )


def _wait_s(metadata: Mapping[str, Any], now_s: float | None) -> float | None:
    told = metadata.get("retry_after_seconds")
    if isinstance(told, int | float | str) and not isinstance(told, bool):
        seconds = duration_s(str(told))
        if seconds is not None:
            return seconds
    copied = metadata.get("headers")
    if not isinstance(copied, dict):
        return None
    lower = {str(name).lower(): str(value) for name, value in copied.items()}
    return retry_after_s(lower, now_s=now_s)
