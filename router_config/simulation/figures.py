"""What a simulation comes to: per deployment and in all, as plain data that can be compared."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from math import log
from typing import Any

__all__ = ["BUCKETS", "Deployed", "Figures"]

BUCKETS = 96  # points of a chart
_FIRST_MS, _STEP = 1.0, 1.05  # latencies are kept as a histogram with steps of five per cent
_BINS = 260


@dataclass(slots=True)
class Spread:
    """Latencies in seconds, as counts of bins."""

    bins: list[int] = field(default_factory=lambda: [0] * _BINS)

    def add(self, seconds: float) -> None:
        """Count one latency."""
        self.bins[_bin(seconds * 1000)] += 1

    def ms(self, part: float) -> float | None:
        """Return the milliseconds that *part* of all stay below, None without any."""
        total = sum(self.bins)
        if not total:
            return None
        seen = 0
        for i, count in enumerate(self.bins):
            seen += count
            if seen >= part * total:
                return round(_FIRST_MS * _STEP**i, 1)
        return None


@dataclass(slots=True)
class Deployed:
    """One deployment: calls made, those that failed by class, what was billed, when."""

    calls: int = 0
    served: int = 0
    inputs: int = 0
    tokens: int = 0
    nano_usd: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    spread: Spread = field(default_factory=Spread)
    over_time: list[int] = field(default_factory=lambda: [0] * BUCKETS)


@dataclass(slots=True)
class Figures:
    """All of one configuration; *factor* is how many requests each simulated one stands for."""

    start: float
    end: float
    factor: int = 1
    requests: int = 0
    inputs: int = 0
    answered: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    spread: Spread = field(default_factory=Spread)
    deployments: dict[str, Deployed] = field(default_factory=dict)
    ejections: Counter[str] = field(default_factory=Counter)
    spent_over_time: list[int] = field(default_factory=lambda: [0] * BUCKETS)

    def of(self, deployment: str) -> Deployed:
        """Return the figures of *deployment*."""
        found = self.deployments.get(deployment)
        if found is None:
            found = self.deployments[deployment] = Deployed()
        return found

    def bucket(self, at: float) -> int:
        """Return the point of a chart that *at* belongs to."""
        part = (at - self.start) / (self.end - self.start) if self.end > self.start else 0.0
        return min(BUCKETS - 1, max(0, int(part * BUCKETS)))

    def as_dict(self) -> dict[str, Any]:
        """Return plain data: shares as parts of one, money in US dollars, latencies in ms."""
        inputs = sum(one.inputs for one in self.deployments.values())
        return {
            "requests": self.requests * self.factor,
            "simulated": self.requests,
            "answered": self.answered * self.factor,
            "errors": {code: count * self.factor for code, count in sorted(self.errors.items())},
            "usd": self._usd(sum(one.nano_usd for one in self.deployments.values())),
            "p50_ms": self.spread.ms(0.5),
            "p95_ms": self.spread.ms(0.95),
            "deployments": {
                id_: {
                    "share": round(one.inputs / inputs, 6) if inputs else 0.0,
                    "calls": one.calls * self.factor,
                    "failed": {kind: n * self.factor for kind, n in sorted(one.failed.items())},
                    "ejections": self.ejections[id_],
                    "inputs": one.inputs * self.factor,
                    "tokens": one.tokens * self.factor,
                    "usd": self._usd(one.nano_usd),
                    "p50_ms": one.spread.ms(0.5),
                    "p95_ms": one.spread.ms(0.95),
                }
                for id_, one in self.deployments.items()
            },
        }

    def _usd(self, nano_usd: int) -> float:
        return nano_usd * self.factor / 1e9


def _bin(ms: float) -> int:
    if ms <= _FIRST_MS:
        return 0
    return min(_BINS - 1, int(log(ms / _FIRST_MS) / log(_STEP)) + 1)
