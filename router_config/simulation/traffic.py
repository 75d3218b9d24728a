"""Who asks for what, and when: a request log replayed, or requests at a rate."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

__all__ = ["Request", "TraceError", "at_rate", "latencies", "read_trace", "replayed", "thinned"]


@dataclass(frozen=True, slots=True)
class Request:
    """One request: *at* in seconds since 1970, *counts* the tokens of each input.

    *group* is "" for the group that the simulation is asked about.
    """

    at: float
    group: str
    counts: tuple[int, ...]
    key: str | None = None
    team: str | None = None
    user: str | None = None


class TraceError(ValueError):
    """A trace cannot be read; the text names the line."""


def read_trace(lines: Iterable[str], name: str = "trace") -> list[dict[str, Any]]:
    """Return the events of a request log, one JSON object a line, oldest first.

    Raises:
        TraceError: a line is not one of the request log.
    """
    events = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            event = json.loads(line)
            event["at"] = _seconds(event["at"])
            event["event"]  # a KeyError if it is missing
        except (ValueError, KeyError, TypeError):
            raise TraceError(f"{name}:{number}: not a line of the request log") from None
        events.append(event)
    return sorted(events, key=lambda event: float(event["at"]))


def replayed(events: Iterable[Mapping[str, Any]]) -> list[Request]:
    """Return the requests among *events* that a provider was or could have been asked for."""
    return [
        Request(
            event["at"],
            event["group"],
            _counts(event["inputs"], event["tokens"], event["longest"]),
            event.get("key"),
            event.get("team"),
            event.get("user"),
        )
        for event in events
        if event["event"] == "request" and event["inputs"] and event["tokens"]
    ]


def latencies(events: Iterable[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Return the seconds on the wire of each deployment's good calls among *events*."""
    found: dict[str, list[float]] = {}
    for event in events:
        if event["event"] == "attempt" and event["outcome"] == "ok" and not event["probe"]:
            found.setdefault(event["deployment"], []).append(event["upstream_ms"] / 1000)
    return found


def at_rate(
    per_s: float, for_s: float, *, start: float, inputs: int, tokens: int, seed: int
) -> Iterator[Request]:
    """Yield requests at random times, *per_s* a second on average, each alike."""
    draw = random.Random(seed)
    counts = (tokens,) * inputs
    at = start
    while (at := at + draw.expovariate(per_s)) < start + for_s:
        yield Request(at, "", counts)


def thinned(requests: Iterable[Request], factor: int) -> Iterator[Request]:
    """Yield every *factor*-th of *requests*."""
    for i, request in enumerate(requests):
        if i % factor == 0:
            yield request


def _counts(inputs: int, tokens: int, longest: int) -> tuple[int, ...]:
    """Return *inputs* counts that add up to *tokens*, of which one is *longest*."""
    if inputs == 1:
        return (tokens,)
    rest, others = max(tokens - longest, inputs - 1), inputs - 1
    return (longest, *(rest // others + (i < rest % others) for i in range(others)))


def _seconds(at: object) -> float:
    if isinstance(at, str):
        return datetime.fromisoformat(at).timestamp()
    return float(at)  # type: ignore[arg-type]  # whatever it is, it must be a number
