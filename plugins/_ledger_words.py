"""What an operator and the ledger tell each other: reasons that can be stored, and findings."""

from __future__ import annotations

from collections.abc import Sequence

from plugins._ledger import Finding, LedgerUnfit

__all__ = ["check_shown", "lost", "text"]


def text(given: str) -> str:
    """Return *given* as text that can be stored: bytes of a terminal that are no UTF-8 become �."""
    return given.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def lost(error: LedgerUnfit) -> list[Finding]:
    """Return what is found in a store that cannot be used because of *error*."""
    return [Finding(error.reason, "")]


def check_shown(shown: Sequence[Finding] | None, now: Sequence[Finding]) -> None:
    """Check that *now* is what an operator was *shown*; None: whatever it is.

    Raises:
        ValueError: it is not.
    """
    if shown is not None and _lasting(shown) != _lasting(now):
        raise ValueError(
            "what is to be accepted has changed since it was shown, and nothing was done: look "
            "again, while no requests are served"
        )


def _lasting(findings: Sequence[Finding]) -> list[str]:
    return [one.what for one in findings if one.lasting]
