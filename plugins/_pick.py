"""Which deployment is next: one pure function for the request path, `explain` and `simulate`.

Groups are tried one after the other (a group, then its fallbacks); inside a group the lowest
order that still admits somebody wins; inside an order a draw by weight decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from plugins._pool import Candidate

__all__ = ["Admits", "Rank", "pick", "rank"]

# Why a candidate is not admitted, in a few words; None admits it.
Admits = Callable[[Candidate], "str | None"]
# Which part of its weight a candidate gets, above 0 and at most 1.
Share = Callable[[Candidate], float]


def _whole(_: Candidate) -> float:
    return 1.0


@dataclass(frozen=True, slots=True)
class Rank:
    """One line of `explain`: *refused* says why not, *share* is its part of its order's traffic."""

    candidate: Candidate
    refused: str | None
    share: float


def pick(
    groups: Sequence[Sequence[Candidate]],
    admits: Admits,
    draw: Callable[[], float],
    share: Share = _whole,
) -> Candidate | None:
    """Return the next candidate, or None when nobody is admitted.

    *draw* gives a number in [0, 1) and is called only where two or more may win. *share* is the
    part of its weight that a candidate gets. Its siblings take the rest; an order in which all
    have less than the whole leaves the rest to the next one, if somebody there is admitted.
    """
    spared: list[Candidate] | None = None
    for level in _levels(groups):
        open_ = [one for one in level if one.weight > 0 and admits(one) is None]
        if not open_:
            continue
        most = max(map(share, open_))
        if most < 1 and draw() >= most:
            spared = spared or open_
            continue
        return _weighted(open_, draw, share)
    return None if spared is None else _weighted(spared, draw, share)


def rank(
    groups: Sequence[Sequence[Candidate]], admits: Admits, share: Share = _whole
) -> list[Rank]:
    """Return every candidate in the order in which it would be tried, the refused ones included."""
    ranks: list[Rank] = []
    for level in _levels(groups):
        reasons = [admits(one) or ("weight 0" if one.weight <= 0 else None) for one in level]
        weights = [one.weight * share(one) for one in level]
        total = sum(w for w, no in zip(weights, reasons, strict=True) if no is None)
        ranks += [
            Rank(one, no, weight / total if no is None else 0.0)
            for one, no, weight in zip(level, reasons, weights, strict=True)
        ]
    return ranks


def _levels(groups: Sequence[Sequence[Candidate]]) -> Iterator[list[Candidate]]:
    for group in groups:
        ordered = sorted(group, key=lambda one: one.order)  # stable: file order inside an order
        for _, level in groupby(ordered, key=lambda one: one.order):
            yield list(level)


def _weighted(candidates: list[Candidate], draw: Callable[[], float], share: Share) -> Candidate:
    if len(candidates) == 1:
        return candidates[0]
    weights = [one.weight * share(one) for one in candidates]
    point = draw() * sum(weights)
    for one, weight in zip(candidates, weights, strict=True):
        point -= weight
        if point < 0:
            return one
    return candidates[-1]  # rounding: the sum of the parts may fall short of the whole
