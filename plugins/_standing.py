"""What is known, and shared between processes, about one endpoint that is not simply fine."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import orjson

__all__ = ["Standing"]

_OUT = frozenset({"ejected", "resting", "quarantined", "drained"})


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known, and shared, about one endpoint that is not simply fine.

    *kind* is "ejected", "resting", "quarantined", "drained" or "returning" (slow start). *reason*
    is a class of `Fault`, or words. *since* and *until* are seconds since 1970; *until* is None
    where only a probe or an operator ends it. *strikes* are ejections in a row. *by* names the
    process, "parity" or "operator".
    """

    key: str
    kind: str
    reason: str
    since: float
    until: float | None
    strikes: int
    by: str

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

    def to_json(self) -> bytes:
        """Return it as a JSON object."""
        return orjson.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: bytes | str) -> Standing:
        """Read what `to_json` wrote. Raises ValueError for anything else."""
        try:
            value = orjson.loads(text)
            standing = cls(**value)
            numbers = (standing.since, standing.until or 0.0, standing.strikes)
            words = (standing.key, standing.kind, standing.reason, standing.by)
            if not all(isinstance(one, int | float) for one in numbers):
                raise TypeError
            if not all(isinstance(one, str) for one in words):
                raise TypeError
        except (TypeError, orjson.JSONDecodeError):
            raise ValueError("not a standing") from None
        if standing.kind not in _OUT | {"returning"}:
            raise ValueError("not a standing of this release")
        return standing
