"""What one worker has counted, and how the counts of several become one.

Plain dictionaries, since one event loop writes them: counting a request costs a few microseconds.
Consumers come from a database that may have any number of keys, so only the first so many have
series of their own; the rest are "other".
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from plugins._metrics import METRICS
from plugins._record import AttemptRecord, RequestRecord

__all__ = ["OTHER", "Tally", "merge"]

OTHER = "other"
Labels = tuple[str, ...]
_LONGEST_LABEL = 64


class Tally:
    """A sink that counts; *most_consumers* have series of their own, *wall* is since 1970."""

    def __init__(self, most_consumers: int, wall: Callable[[], float]) -> None:
        self._most = most_consumers
        self._wall = wall
        self.counts: dict[str, dict[Labels, int]] = {}
        # Per series: how many in each bucket, the last one open, and the sum in microseconds.
        self.times: dict[str, dict[Labels, list[int]]] = {}
        self.first_seen: dict[str, float] = {}

    def add(self, name: str, labels: Labels, value: int = 1) -> None:
        """Add *value* to a counter."""
        series = self.counts.setdefault(name, {})
        series[labels] = series.get(labels, 0) + value

    def time(self, name: str, labels: Labels, seconds: float) -> None:
        """Note a time in a histogram."""
        series = self.times.setdefault(name, {})
        bounds = METRICS[name].buckets
        row = series.get(labels)
        if row is None:
            row = series[labels] = [0] * (len(bounds) + 2)
        row[bisect_left(bounds, seconds)] += 1
        row[-1] += round(seconds * 1e6)

    def attempt(self, record: AttemptRecord) -> None:
        """Count one wire call."""
        deployment = (record.deployment,)
        self.add("attempts", (record.deployment, record.outcome))
        if record.probe:
            self.add("probes", (record.deployment, record.outcome))
        self.time("upstream_seconds", deployment, record.upstream_ms / 1000)
        self.add("tokens", deployment, record.tokens)
        self.add("counted_tokens", deployment, record.counted)
        self.add("cost_usd", deployment, record.cost_nano_usd)

    def request(self, record: RequestRecord) -> None:
        """Count one request."""
        group = (record.group,)
        self.add("requests", (record.group, str(record.status), record.code or "ok"))
        consumer = (self._consumer(record),)
        self.add("consumer_requests", consumer)
        self.add("consumer_tokens", consumer, record.billed_tokens)
        self.add("consumer_cost_usd", consumer, record.cost_nano_usd)
        if record.outcome != "ok":
            return
        # Of those that were answered: a refusal takes no time and would hide slow answers.
        self.time("request_seconds", group, record.ms / 1000)
        self.time("overhead_seconds", group, record.own_ms / 1000)
        self.add("inputs", group, record.inputs)
        self.add("failovers", group, 1 if record.tried else 0)
        self.add("cache_hits", group, record.cache_hits)
        self.add("cache_misses", group, record.inputs - record.cache_hits)

    def _consumer(self, record: RequestRecord) -> str:
        name = (record.key or record.team or record.user or "none")[:_LONGEST_LABEL]
        if name not in self.first_seen:
            if len(self.first_seen) >= self._most:
                return OTHER
            self.first_seen[name] = self._wall()
        return name

    def to_json(self) -> dict[str, Any]:
        """Return everything, as `merge` takes it."""
        return {
            "counts": [[n, [*rows.items()]] for n, rows in self.counts.items()],
            "times": [[n, [*rows.items()]] for n, rows in self.times.items()],
            "consumers": self.first_seen,
        }


def merge(tallies: Iterable[Mapping[str, Any]], most_consumers: int) -> dict[str, Any]:
    """Return the sum of what several workers counted, with at most so many consumers.

    Who was seen first stays, so that no consumer's series ever moves to "other" and back.
    """
    counts: dict[str, dict[Labels, int]] = {}
    times: dict[str, dict[Labels, list[int]]] = {}
    seen: dict[str, float] = {}
    all_ = list(tallies)
    for tally in all_:
        for name, at in tally["consumers"].items():
            seen[name] = min(at, seen.get(name, at))
    kept = sorted(seen, key=lambda name: (seen[name], name))[:most_consumers]
    known = {*kept, OTHER}
    for tally in all_:
        for name, rows in tally["counts"]:
            if name not in METRICS:  # of another release, while workers are replaced
                continue
            by_consumer = METRICS[name].labels == ("consumer",)
            series = counts.setdefault(name, {})
            for labels, value in rows:
                key = (OTHER,) if by_consumer and labels[0] not in known else tuple(labels)
                series[key] = series.get(key, 0) + value
        for name, rows in tally["times"]:
            if name not in METRICS:
                continue
            row_size = len(METRICS[name].buckets) + 2
            timed = times.setdefault(name, {})
            for labels, row in rows:
                if len(row) == row_size:
                    sums = timed.setdefault(tuple(labels), [0] * row_size)
                    for i, value in enumerate(row):
                        sums[i] += value
    return {
        "counts": [[n, [*rows.items()]] for n, rows in counts.items()],
        "times": [[n, [*rows.items()]] for n, rows in times.items()],
        "consumers": {name: seen[name] for name in kept},
    }
