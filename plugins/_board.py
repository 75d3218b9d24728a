"""What this server has counted, over all its workers: one answer for metrics and status page.

A worker that is alone answers from memory; one of several goes through `_workers`. Files are read
and written in a thread, so that a scrape holds up nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from plugins._apart import apart
from plugins._history import History, merge_histories
from plugins._metrics import METRICS
from plugins._tally import Tally, merge
from plugins._workers import Note, Workers

__all__ = ["Board", "Gathered", "Values", "join"]

# Gauges: name, labels and value.
Values = list[tuple[str, tuple[str, ...], float]]
PUBLISH_S = 0.5


@dataclass(frozen=True, slots=True)
class Gathered:
    """All workers together: *tally* as `_tally.merge` returns it, *history*, and their gauges."""

    tally: Mapping[str, Any]
    history: Mapping[str, Any]
    gauges: Values


class Board:
    """*gauges* tells what this worker has now; *workers* is None where there is but one."""

    def __init__(
        self,
        gauges: Callable[[], Values],
        *,
        most_consumers: int,
        wall: Callable[[], float],
        workers: Callable[[], Workers] | None = None,
    ) -> None:
        self._gauges = gauges
        self._most = most_consumers
        self._wall = wall
        self._open = workers
        self._workers: Workers | None = None
        self.tally = Tally(most_consumers, wall)
        self.history = History()

    @property
    def is_shared(self) -> bool:
        """Tell whether there are other workers."""
        return self._open is not None

    async def publish(self) -> None:
        """Tell the other workers what this one has counted."""
        note = self._note()
        await apart(lambda: self._place().publish(note))

    async def tidy(self) -> None:
        """Add up what workers left that have ended."""
        await apart(lambda: self._place().tidy())

    async def gather(self) -> Gathered:
        """Return what all workers have counted; it never goes back, whichever is asked."""
        note = self._note()
        if self._open is None:
            return self._sum([note], [])

        def exchange() -> Gathered:
            place = self._place()
            place.publish(note)
            alive, ended = place.read()
            return self._sum(alive, ended)

        return await apart(exchange)

    def _place(self) -> Workers:
        if self._workers is None:
            if self._open is None:
                raise RuntimeError("this worker is alone")
            self._workers = self._open()
        return self._workers

    def _note(self) -> Note:
        return {
            "tally": self.tally.to_json(),
            "history": self.history.to_json(),
            "gauges": [*self._gauges(), ("workers", (), 1)],
        }

    def _sum(self, alive: Iterable[Note], ended: Iterable[Note]) -> Gathered:
        alive, every = list(alive), [*alive, *ended]
        return Gathered(
            merge((one["tally"] for one in every), self._most),
            merge_histories((one["history"] for one in every), self._wall()),
            join(one["gauges"] for one in alive),
        )

    def fold(self, notes: Iterable[Note]) -> Note:
        """Return the notes of ended workers as one; what they had then is gone."""
        notes = list(notes)
        now = self._wall()
        history = merge_histories((one["history"] for one in notes), now)
        first = int(now // 60) - len(history["minutes"]) + 1
        return {
            "tally": merge((one["tally"] for one in notes), self._most),
            "history": {
                "minutes": [[first + i, rows] for i, rows in enumerate(history["minutes"]) if rows],
                "failovers": history["failovers"],
            },
            "gauges": [],
        }


def join(all_: Iterable[Iterable[Any]]) -> Values:
    """Return the gauges of several workers as one of each."""
    values: dict[tuple[str, tuple[str, ...]], float] = {}
    for gauges in all_:
        for name, labels, value in gauges:
            if name not in METRICS:
                continue
            key = (name, tuple(labels))
            if key not in values:
                values[key] = value
            elif METRICS[name].join == "min":
                values[key] = min(values[key], value)
            else:
                values[key] += value
    return [(name, labels, value) for (name, labels), value in values.items()]
