"""The last half hour of one worker, for the status page: calls by minute, and failovers.

A sink with bounded memory; the histories of several workers add up to one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from plugins._metrics import BUCKETS_S
from plugins._record import AttemptRecord, RequestRecord

__all__ = ["MINUTES", "History", "merge_histories", "quantile_ms"]

MINUTES = 30
_FAILOVERS = 30
# A row: calls, those that were good, and how many of these took how long.
_ROW = 2 + len(BUCKETS_S) + 1


class History:
    """One worker's."""

    def __init__(self) -> None:
        self._minutes: dict[int, dict[str, list[int]]] = {}
        self._failovers: deque[dict[str, Any]] = deque(maxlen=_FAILOVERS)

    def attempt(self, record: AttemptRecord) -> None:
        """Note one wire call."""
        minute = int((record.at + record.ms / 1000) // 60)
        rows = self._minutes.get(minute)
        if rows is None:
            rows = self._minutes[minute] = {}
            for old in [one for one in self._minutes if one <= minute - MINUTES]:
                del self._minutes[old]
        row = rows.get(record.deployment)
        if row is None:
            row = rows[record.deployment] = [0] * _ROW
        row[0] += 1
        if record.outcome == "ok":
            row[1] += 1
            row[2 + bisect_left(BUCKETS_S, record.upstream_ms / 1000)] += 1

    def request(self, record: RequestRecord) -> None:
        """Note a request that did not go through at the first attempt."""
        if record.tried:
            self._failovers.append(
                {
                    "at": record.at + record.ms / 1000,
                    "request": record.request,
                    "group": record.group,
                    "tried": [*map(list, zip(record.tried, record.reasons, strict=True))],
                    "served_by": list(record.served_by),
                    "status": record.status,
                }
            )

    def to_json(self) -> dict[str, Any]:
        """Return everything, as `merge_histories` takes it."""
        return {
            "minutes": [[minute, rows] for minute, rows in self._minutes.items()],
            "failovers": list(self._failovers),
        }


def merge_histories(histories: Iterable[Mapping[str, Any]], now: float) -> dict[str, Any]:
    """Return the sum of several workers' histories up to *now*, the newest failover first.

    `minutes` holds the last 30, the present one last: rows by deployment.
    """
    first = int(now // 60) - MINUTES + 1
    minutes: list[dict[str, list[int]]] = [{} for _ in range(MINUTES)]
    failovers: list[dict[str, Any]] = []
    for history in histories:
        failovers += history["failovers"]
        for minute, rows in history["minutes"]:
            if not 0 <= minute - first < MINUTES:
                continue
            sums = minutes[minute - first]
            for deployment, row in rows.items():
                known = sums.setdefault(deployment, [0] * _ROW)
                for i, value in enumerate(row[:_ROW]):
                    known[i] += value
    failovers.sort(key=lambda one: -one["at"])
    return {"minutes": minutes, "failovers": failovers[:_FAILOVERS]}


def quantile_ms(rows: Iterable[list[int]], share: float) -> float | None:
    """Return below what time, in milliseconds, *share* of the good calls of *rows* were.

    Read between the bounds of the histogram, as Prometheus does.
    """
    counts: list[int] = [sum(column) for column in zip(*(row[2:] for row in rows), strict=True)]
    total = sum(counts)
    if not total:
        return None
    wanted, seen = share * total, 0
    for i, count in enumerate(counts):
        if count and seen + count >= wanted:
            low: float = BUCKETS_S[i - 1] if i else 0.0
            high: float = BUCKETS_S[i] if i < len(BUCKETS_S) else BUCKETS_S[-1]
            return 1000 * (low + (high - low) * (wanted - seen) / count)
        seen += count
    return 1000 * BUCKETS_S[-1]
