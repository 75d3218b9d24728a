"""What an operator and the ledger tell each other: reasons that can be stored, and findings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from plugins._ledger import UNITS, Finding, LedgerUnfit

__all__ = ["check_shown", "differences", "lost", "text"]


def text(given: str) -> str:
    """Return *given* as text that can be stored: bytes of a terminal that are no UTF-8 become �."""
    return given.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def differences(
    where: str,
    spent: Sequence[int],
    posted: Sequence[int],
    held: Sequence[int],
    still: Sequence[int],
    fix: str,
) -> Iterator[Finding]:
    """Yield where the counters of the row *where* are not the sums of what stands behind them.

    Nano-dollars, tokens and requests: *spent* against the journal's, *held* against what open
    reservations still hold.
    """
    for unit, have, journal, kept, open_ in zip(UNITS, spent, posted, held, still, strict=True):
        if have != journal:
            yield Finding(f"{where}: {have} {unit} spent, but {journal} in the journal", fix)
        if kept != open_:
            yield Finding(f"{where}: {kept} {unit} held, but {open_} in open reservations", fix)


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
