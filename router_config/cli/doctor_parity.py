"""What `doctor` proves if agreed to: that all deployments of a group give vectors of one space."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from router_config.cli.findings import Finding

if TYPE_CHECKING:
    from plugins._parity_result import Result
    from router_config import Config

__all__ = ["most_tokens", "spaces"]


def most_tokens() -> int:
    """Return how many tokens one endpoint may be asked for."""
    from plugins._parity_ask import most_tokens as most

    return most()


async def spaces(config: Config) -> list[Finding]:
    """Send the probe texts to every endpoint and judge it; running proxies hear of the result."""
    from plugins._background import Background
    from plugins._ledger import LedgerUnavailable
    from plugins._parity_reference import UnreadableError
    from plugins._runtime import Runtime

    logging.getLogger("qwen3_router").setLevel(logging.ERROR)  # the findings say it all
    try:
        runtime = Runtime(config, os.environ)
    except (LedgerUnavailable, UnreadableError) as error:
        return [Finding("parity", "", "fail", str(error))]
    runtime.background = Background()  # only what this command is told to do
    try:
        proofs = runtime.together.proofs
        await proofs.notes.step()
        members = proofs.parity.spaces.members
        await proofs.parity.run(list(members))
        await proofs.notes.step()
        return [
            _finding(", ".join(one.id for one in group), proofs.parity.results.get(key))
            for key, group in members.items()
        ]
    finally:
        await runtime.aclose()


def _finding(whom: str, result: Result | None) -> Finding:
    if result is None or result.gap is not None:
        why = "not asked" if result is None else result.gap or ""
        return Finding("parity", whom, "skip", f"not judged: {why}")
    worst = next((one for one in result.verdicts.values() if not one.passed), None)
    if worst is not None:
        fix = "qwen3-router parity show tells more"
        return Finding("parity", whom, "fail", f"{worst.flaw}: {worst.reason}", fix)
    known = [one.cosine for one in result.verdicts.values() if one.cosine is not None]
    cosine = f", cosine {min(known):.4f}" if known else ""
    return Finding("parity", whom, "ok", f"one vector space{cosine}")
