"""What is known, and shared between processes, about one endpoint that is not simply fine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

__all__ = ["Standing"]

_OUT = frozenset({"ejected", "resting", "quarantined", "drained"})
_MOST_STAMP = 2**62


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known, and shared, about one endpoint that is not simply fine.

    *kind* is "ejected", "resting", "quarantined", "drained" or "returning" (slow start). *reason*
    is a class of `Fault`, or words. *since* and *until* are seconds since 1970; *until* is None
    where only a probe or an operator ends it. *strikes* are ejections in a row. *by* names the
    process, "parity" or "operator". *stamp* is the place among all words on the endpoint: the
    microseconds since 1970 by the store's clock, but always more than any that was known when it
    was said, so that clocks decide nothing between a word and its answer.
    """

    key: str
    kind: str
    reason: str
    since: float
    until: float | None
    strikes: int
    by: str
    stamp: int = 0

    def __post_init__(self) -> None:
        """Give a word without a stamp that of its time."""
        if not self.stamp:
            object.__setattr__(self, "stamp", int(self.since * 1e6))

    @property
    def is_out(self) -> bool:
        """Tell whether requests go elsewhere."""
        return self.kind in _OUT

    @property
    def is_closed(self) -> bool:
        """Tell whether no request and no probe may try it: an operator's or parity's word."""
        return self.kind in ("quarantined", "drained") or (
            self.kind == "ejected" and self.by == "operator"
        )

    def words(self) -> str:
        """Return what a person is told."""
        return f"{self.kind}: {self.reason}"

    def shifted(self, seconds: float) -> Standing:
        """Return it by another clock, which is *seconds* ahead."""
        if not seconds:
            return self
        until = None if self.until is None else self.until + seconds
        return replace(self, since=self.since + seconds, until=until)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Standing:
        """Read the fields of one. Raises TypeError or ValueError for anything else."""
        standing = cls(**value)
        numbers = (standing.since, standing.until or 0.0, standing.strikes, standing.stamp)
        words = (standing.key, standing.kind, standing.reason, standing.by)
        if not all(isinstance(one, int | float) for one in numbers):
            raise TypeError
        if not all(isinstance(one, str) for one in words) or not isinstance(standing.stamp, int):
            raise TypeError
        if standing.kind not in _OUT | {"returning"} or not 0 <= standing.stamp < _MOST_STAMP:
            raise ValueError("not a standing of this release")
        return standing
