"""What is known of an endpoint's parity, as it is kept and shared between processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import orjson

from plugins._parity_judge import Flaw, Verdict

__all__ = ["RESULT", "Result"]

RESULT = "parity:result:"
"""Of the names of its notes; the endpoint key follows."""

_AGAIN_AFTER_FLAW_S = 3600.0
_FIRST_S = 5.0
_MOST_S = 900.0


@dataclass(frozen=True, slots=True)
class Result:
    """The last verdicts on an endpoint, by the space they are about, and the last gap.

    *at* is when it was last asked, *proven_at* when it last passed, *long_at* when it last read the
    long text, in seconds since 1970. *gap* says why the last time gave no verdict, after *tries*
    such times in a row. *by* names the process that asked. *waived* tells that an operator lifted
    the quarantine that came of it.
    """

    key: str
    deployment: str
    at: float
    by: str
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    long_at: float | None = None
    gap: str | None = None
    tries: int = 0
    cost_nano_usd: int = 0
    waived: bool = False

    def next_at(self, every_s: float) -> float:
        """Return when the endpoint should be asked again."""
        if self.gap is not None:
            return self.at + min(_FIRST_S * 2.0 ** min(self.tries - 1, 10), _MOST_S)
        if any(not one.passed for one in self.verdicts.values()):
            return self.at + min(_AGAIN_AFTER_FLAW_S, every_s)
        return self.at + every_s

    def shifted(self, seconds: float) -> Result:
        """Return it by another clock, which is *seconds* ahead."""
        long_at = None if self.long_at is None else self.long_at + seconds
        return replace(self, at=self.at + seconds, long_at=long_at)

    def to_json(self) -> bytes:
        """Return it as a JSON object."""
        return orjson.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: bytes) -> Result | None:
        """Read what `to_json` wrote; None for anything else, such as another release's."""
        try:
            value = orjson.loads(text)
            verdicts = {space: _verdict(one) for space, one in value.pop("verdicts").items()}
            found = cls(**value, verdicts=verdicts)
            float(found.at), float(found.long_at or 0), int(found.tries)
        except (AttributeError, KeyError, TypeError, ValueError):
            return None
        return found


def _verdict(value: dict[str, Any]) -> Verdict:
    flaw, norms = value.pop("flaw"), value.pop("norms")
    return Verdict(
        **{**value, "notes": tuple(value["notes"])},
        flaw=None if flaw is None else Flaw(flaw),
        norms=None if norms is None else (float(norms[0]), float(norms[1])),
    )
