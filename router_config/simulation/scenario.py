"""What happens to the providers: outages, other prices, how fast they are, how often they fail."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

from plugins._errors import Fault, ProviderFault
from plugins._pool import Candidate

__all__ = [
    "KINDS",
    "Outage",
    "Price",
    "Scenario",
    "ScenarioError",
    "duration_s",
    "fault",
    "moment_s",
]

# What an outage looks like on the wire, and whether anything was sent.
KINDS: Mapping[str, tuple[Fault, int | None, bool]] = {
    "down": (Fault.CONNECT, None, False),
    "hang": (Fault.TIMEOUT, None, True),
    "error": (Fault.SERVER, 500, True),
    "busy": (Fault.OVERLOAD, 503, True),
    "rate": (Fault.RATE, 429, True),
    "key": (Fault.AUTH, 401, True),
    "credit": (Fault.PAYMENT, 402, True),
}
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_HOSTED_S, _OWN_S = 0.3, 0.1
_SPREAD = 0.25  # of the logarithm: nine of ten calls within two thirds and one and a half times


class ScenarioError(ValueError):
    """An option cannot be understood; the text says what it should look like."""


@dataclass(frozen=True, slots=True)
class Outage:
    """*who* (a deployment or a provider) fails in the way of *kind* from *start* to *end*."""

    who: str
    kind: str
    start: float
    end: float

    @classmethod
    def parse(cls, text: str, origin: float) -> Outage:
        """Return the outage in `WHO[:KIND]@START+DURATION`, such as `deepinfra:hang@10h+30m`."""
        match = re.fullmatch(r"([^:@]+)(?::(\w+))?@([^+]+)\+(\w+)", text)
        if match is None or (match[2] or "down") not in KINDS:
            kinds = "|".join(KINDS)
            raise ScenarioError(f"--outage {text!r}: write WHO[:{kinds}]@START+DURATION")
        start = moment_s(match[3], origin)
        return cls(match[1], match[2] or "down", start, start + duration_s(match[4]))


@dataclass(frozen=True, slots=True)
class Price:
    """*who* costs *usd* per million tokens from *start* on."""

    who: str
    usd: Decimal
    start: float

    @classmethod
    def parse(cls, text: str, origin: float) -> Price:
        """Return the price in `WHO=USD[@START]`, USD per million tokens."""
        match = re.fullmatch(r"([^=]+)=([^@]+)(?:@(.+))?", text)
        try:
            usd = Decimal(match[2]) if match else Decimal(-1)
        except InvalidOperation:
            usd = Decimal(-1)
        if match is None or not usd.is_finite() or usd < 0:
            raise ScenarioError(f"--price {text!r}: write WHO=USD_PER_MILLION_TOKENS[@START]")
        return cls(match[1], usd, moment_s(match[3] or "0s", origin))


@dataclass(slots=True)
class Scenario:
    """The providers' side. *latency_s* and *failing* (a share of calls) are by deployment or
    provider; *measured* are seconds to draw from, by deployment. *draw* gives numbers in [0, 1).
    """

    outages: Sequence[Outage] = ()
    prices: Sequence[Price] = ()
    latency_s: Mapping[str, float] = field(default_factory=dict)
    failing: Mapping[str, float] = field(default_factory=dict)
    measured: Mapping[str, Sequence[float]] = field(default_factory=dict)
    seed: int = 0
    _random: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        """Begin the same row of chances for everybody who simulates with this seed."""
        self._random = random.Random(self.seed)

    def names(self) -> set[str]:
        """Return every deployment or provider that is spoken of."""
        spoken = {one.who for one in self.outages} | {one.who for one in self.prices}
        return spoken | set(self.latency_s) | set(self.failing)

    def call(self, candidate: Candidate, at: float, timeout_s: float) -> tuple[float, str | None]:
        """Return how long a call at *at* takes in seconds, and the kind of its failure or None."""
        for outage in self.outages:
            if outage.start <= at < outage.end and _is(candidate, outage.who):
                return self._failing(candidate, outage.kind, timeout_s)
        taken = self._taken_s(candidate)
        if taken >= timeout_s:
            return timeout_s, "hang"
        share = _of(candidate, self.failing)
        if share is not None and self._random.random() < share:
            return taken, "error"
        return taken, None

    def usd(self, candidate: Candidate, at: float) -> Decimal | None:
        """Return the changed price of *candidate* at *at*, None for that of the config."""
        changed = [one for one in self.prices if one.start <= at and _is(candidate, one.who)]
        return max(changed, key=lambda one: one.start).usd if changed else None

    def _failing(self, candidate: Candidate, kind: str, timeout_s: float) -> tuple[float, str]:
        if kind == "hang":
            return timeout_s, kind
        if kind == "down":
            return 0.002, kind
        return min(timeout_s, self._taken_s(candidate)), kind

    def _taken_s(self, candidate: Candidate) -> float:
        measured = self.measured.get(candidate.id)
        set_s = _of(candidate, self.latency_s)
        if measured and set_s is None:
            return measured[int(self._random.random() * len(measured))]
        target = candidate.endpoint.target
        own = target is not None and not candidate.usd_per_million_tokens
        usual = set_s if set_s is not None else _OWN_S if own else _HOSTED_S
        return usual * self._random.lognormvariate(0, _SPREAD)


def fault(kind: str) -> ProviderFault:
    """Return what an attempt that fails in the way of *kind* raises."""
    class_, status, sent = KINDS[kind]
    return ProviderFault(class_, f"simulated: {kind}", status=status, sent=sent)


def duration_s(text: str) -> float:
    """Return the seconds in `250ms`, `30s`, `1.5h`, `7d`. Raises `ScenarioError`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|[smhdw])", text)
    if match is None:
        raise ScenarioError(f"{text!r} is not a time such as 250ms, 30s, 10m, 6h or 7d")
    return float(match[1]) * _UNITS[match[2]]


def moment_s(text: str, origin: float) -> float:
    """Return seconds since 1970 for a time after *origin* (`10h`) or a date and time (ISO, UTC).

    Raises:
        ScenarioError: it is neither.
    """
    try:
        return origin + duration_s(text)
    except ScenarioError:
        pass
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise ScenarioError(
            f"{text!r} is neither a time after the start (10h) nor one like 2026-11-24T10:00Z"
        ) from None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def _is(candidate: Candidate, who: str) -> bool:
    return who in (candidate.id, candidate.endpoint.provider)


def _of(candidate: Candidate, found: Mapping[str, float]) -> float | None:
    value = found.get(candidate.id)
    return found.get(candidate.endpoint.provider) if value is None else value
