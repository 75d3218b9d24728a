"""One log line for each change: which deployments left or came back, why, and until when."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from plugins._errors import ProviderFault
from plugins._standing import Standing

__all__ = ["tell"]

log = logging.getLogger("qwen3_router.health")


def tell(
    names: str, before: Standing | None, after: Standing | None, fault: ProviderFault | None
) -> None:
    """Write the line; that a rest or a slow start is over needs none."""
    if after is None or (before is not None and before.since == after.since):
        return
    if not after.is_out:
        log.info(
            "endpoint back: deployment=%s reason=%r by=%s out_for=%s",
            names,
            after.reason,
            after.by,
            "-" if before is None else f"{after.since - before.since:.0f}s",
        )
        return
    if after.until is None:
        until = "until an operator acts or a probe succeeds"
    else:
        until = f"until {datetime.fromtimestamp(after.until, UTC):%Y-%m-%dT%H:%M:%SZ}"
    log.log(
        logging.INFO if after.kind == "resting" else logging.WARNING,
        "endpoint out: deployment=%s state=%s reason=%r detail=%r strikes=%d by=%s %s",
        names,
        after.kind,
        after.reason,
        fault.detail if fault is not None else "",
        after.strikes,
        after.by,
        until,
    )
