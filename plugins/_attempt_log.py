"""One log line per failed attempt, for the operator: which deployment, why, what it cost.

Holds no text, no key and no provider prose: a `ProviderFault` carries our own words only.
"""

from __future__ import annotations

import logging

from plugins._attempt import Attempt, Outcome
from plugins._errors import Fault, ProviderFault

__all__ = ["AttemptLog", "log_failed"]

log = logging.getLogger("qwen3_router.attempt")


class AttemptLog:
    """A `Watcher` that logs failures as warnings and successes at debug level."""

    async def before(self, attempt: Attempt) -> None:
        """Agree to every call."""

    async def after(self, attempt: Attempt, outcome: Outcome) -> None:
        """Write the line."""
        fault = outcome.fault
        if fault is None:
            log.debug(
                "attempt ok: deployment=%s request=%s inputs=%d tokens=%d nano_usd=%d ms=%.0f",
                attempt.candidate.id,
                attempt.request_id,
                attempt.inputs,
                outcome.prompt_tokens,
                outcome.cost_nano_usd,
                outcome.seconds * 1000,
            )
            return
        log_failed(
            attempt.candidate.id,
            attempt.request_id,
            fault,
            sent=outcome.sent,
            seconds=outcome.seconds,
            hint=_hint(attempt, fault),
        )


def _hint(attempt: Attempt, fault: ProviderFault) -> str:
    """Return what the operator may have to correct, or nothing."""
    target = attempt.candidate.endpoint.target
    if fault.fault is not Fault.MODEL or target is None:
        return ""
    return f" hint='asked for model {target.wire_model}; model_info.wire_model names another'"


def log_failed(
    deployment: str,
    request: str,
    fault: ProviderFault,
    *,
    sent: bool,
    seconds: float,
    hint: str = "",
) -> None:
    """Write the line of one failed call."""
    log.warning(
        "attempt failed: deployment=%s request=%s fault=%s status=%s sent=%s reason=%r ms=%.0f%s",
        deployment,
        request,
        fault.fault,
        fault.status or "-",
        "yes" if sent else "no",
        fault.detail,
        seconds * 1000,
        hint,
    )
