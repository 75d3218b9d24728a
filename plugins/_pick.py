"""Which deployment is next: one pure function for the request path, `explain` and `simulate`.

Groups are tried one after the other (a group, then its fallbacks); inside a group the lowest
order that still admits somebody wins; inside an order a draw by weight decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from plugins._pool import Candidate

__all__ = ["Rank", "pick", "rank"]

# Why a candidate is not admitted, in a few words; None admits it.
Admits = Callable[[Candidate], "str | None"]


@dataclass(frozen=True, slots=True)
class Rank:
    """One line of `explain`: *refused* says why not, *share* is its part of its order's traffic."""

    candidate: Candidate
    refused: str | None
    share: float


def pick(
    groups: Sequence[Sequence[Candidate]], admits: Admits, draw: Callable[[], float]
) -> Candidate | None:
    """Return the next candidate, or None when nobody is admitted.

    *draw* gives a number in [0, 1) and is called at most once, only where two or more may win.
    """
    for level in _levels(groups):
        open_ = [one for one in level if one.weight > 0 and admits(one) is None]
        if len(open_) > 1:
            return _weighted(open_, draw())
        if open_:
            return open_[0]
    return None


def rank(groups: Sequence[Sequence[Candidate]], admits: Admits) -> list[Rank]:
    """Return every candidate in the order in which it would be tried, the refused ones included."""
    ranks: list[Rank] = []
    for level in _levels(groups):
        reasons = [admits(one) or ("weight 0" if one.weight <= 0 else None) for one in level]
        total = sum(one.weight for one, no in zip(level, reasons, strict=True) if no is None)
        ranks += [
            Rank(one, no, one.weight / total if no is None else 0.0)
            for one, no in zip(level, reasons, strict=True)
        ]
    return ranks


def _levels(groups: Sequence[Sequence[Candidate]]) -> Iterator[list[Candidate]]:
    for group in groups:
        ordered = sorted(group, key=lambda one: one.order)  # stable: file order inside an order
        for _, level in groupby(ordered, key=lambda one: one.order):
            yield list(level)


def _weighted(candidates: list[Candidate], drawn: float) -> Candidate:
    point = drawn * sum(one.weight for one in candidates)
    for one in candidates:
        point -= one.weight
        if point < 0:
            return one
    return candidates[-1]  # rounding: the sum of the parts may fall short of the whole
