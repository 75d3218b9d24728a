"""What the processes of a fleet have seen: each says it in a note, `stats:<process>`.

For people (`qwen3-router health`), and for the probes, which leave alone whoever is in use.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from plugins._health import Health
from plugins._notes import Notes
from plugins._pool import Candidate

__all__ = ["PREFIX", "SAY_EVERY_S", "Fleet", "Seen", "endpoints", "processes", "seen"]

PREFIX = "stats:"
SAY_EVERY_S = 3.0
# A process that said nothing for so long has ended.
GONE_S = 30.0
_AGAIN_S = 9.0
_MOST_KEYS = 400


@dataclass(frozen=True, slots=True)
class Seen:
    """The last calls of one endpoint: of one process, or of several together.

    Of several, the median is weighted by calls, and *p95_s* is that of the slowest. *probe_at* is
    when its next probe is due. Times are by the store's clock.
    """

    calls: int = 0
    success_rate: float | None = None
    p50_s: float | None = None
    p95_s: float | None = None
    last_at: float | None = None
    probe_at: float | None = None


class Fleet:
    """This process's part of it, *leads* telling whether it makes the probes."""

    def __init__(
        self,
        health: Health,
        notes: Notes,
        leads: Callable[[], bool],
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._health, self._notes, self._leads, self._wall = health, notes, leads, wall
        self._ids: dict[str, str] = {}
        self._used: dict[str, float] = {}
        self._others: dict[str, float] = {}
        self._said: Mapping[str, Any] | None = None
        self._said_at = float("-inf")
        notes.watch(PREFIX, self._hear)

    def use(self, pool: Mapping[str, Sequence[Candidate]]) -> None:
        """Name the endpoints of *pool* from now on: who reads the notes may not have its keys."""
        every = [one for group in pool.values() for one in group if one.off is None]
        self._ids = {one.id: one.endpoint.key for one in every[:_MOST_KEYS]}
        if self._said is not None:
            self._say()  # before anything can be told of an endpoint that is new

    async def say(self) -> None:
        """Say what this process has seen, if that is news, and forget who has ended."""
        self._say()
        now = self._notes.to_store(self._wall())
        if self._leads():
            for name, at in list(self._others.items()):
                if now - at > GONE_S:
                    self._notes.put(name, None)
                    del self._others[name]

    def _say(self) -> None:
        keys = self._keys()
        now = self._notes.to_store(self._wall())
        news = {"leads": self._leads(), "ids": self._ids, "keys": keys}
        if news != self._said or not 0 <= now - self._said_at < _AGAIN_S:
            self._said, self._said_at = news, now
            self._notes.put(PREFIX + self._notes.me, orjson.dumps({"at": now, **news}))

    def used(self, key: str) -> float | None:
        """Return when the endpoint was last called by anybody, by this machine's clock."""
        at = self._used.get(key)
        heard = float("-inf") if at is None else self._notes.from_store(at)
        mine = self._health.stats(key).last_at
        last = max(heard, float("-inf") if mine is None else mine)
        return None if last == float("-inf") else last

    def leave(self) -> None:
        """Say that this process ends."""
        self._notes.put(PREFIX + self._notes.me, None)

    def _keys(self) -> dict[str, list[Any]]:
        found = []
        for key, case in self._health.cases.items():
            stats = self._health.stats(key)
            out = case.standing is not None and case.standing.is_out
            if stats.calls or out:
                last_at = stats.last_at and self._notes.to_store(stats.last_at)
                probe_at = self._notes.to_store(case.next_probe) if out else None
                numbers = (stats.success_rate, stats.p50_s, stats.p95_s, last_at, probe_at)
                found.append((key, [stats.calls, *map(_short, numbers)]))
        found.sort(key=lambda one: one[1][4] or 0.0, reverse=True)
        return dict(found[:_MOST_KEYS])

    def _hear(self, name: str, value: bytes | None) -> None:
        if value is None:
            self._others.pop(name, None)
            return
        said = _read(value)
        if said is not None:
            self._others[name] = said["at"]
            for key, one in _by_key(said).items():
                self._used[key] = max(self._used.get(key, 0.0), one.last_at or 0.0)


def processes(notes: Mapping[str, bytes | None], now: float) -> dict[str, bool]:
    """Return the processes that have said something lately, and whether each makes the probes."""
    found = _alive(notes, now)
    return {name: said["leads"] for name, said in found.items()}


def endpoints(notes: Mapping[str, bytes | None], now: float) -> dict[str, str]:
    """Return the endpoint key of every deployment that a process of the fleet has on, by its id."""
    found: dict[str, str] = {}
    for said in sorted(_alive(notes, now).values(), key=lambda one: one["at"]):
        found.update(said["ids"])
    return found


def seen(notes: Mapping[str, bytes | None], now: float) -> dict[str, Seen]:
    """Return what all processes have seen together, by endpoint key; *now* by the store's clock."""
    parts: dict[str, list[tuple[bool, Seen]]] = {}
    for said in _alive(notes, now).values():
        for key, one in _by_key(said).items():
            parts.setdefault(key, []).append((said["leads"], one))
    return {key: _together(found) for key, found in parts.items()}


def _alive(notes: Mapping[str, bytes | None], now: float) -> dict[str, dict[str, Any]]:
    found = {}
    for name, value in notes.items():
        if name.startswith(PREFIX) and value is not None:
            said = _read(value)
            if said is not None and now - said["at"] <= GONE_S:
                found[name.removeprefix(PREFIX)] = said
    return found


def _read(value: bytes) -> dict[str, Any] | None:
    """Return a note's content, or None for one of another release."""
    try:
        said = orjson.loads(value)
        found = {name: dict(said[name]) for name in ("ids", "keys")}
        return {"leads": bool(said["leads"]), "at": float(said["at"]), **found}
    except (orjson.JSONDecodeError, TypeError, KeyError, ValueError):
        return None


def _by_key(said: Mapping[str, Any]) -> dict[str, Seen]:
    try:
        return {key: Seen(*numbers) for key, numbers in said["keys"].items()}
    except TypeError:
        return {}


def _together(found: Iterable[tuple[bool, Seen]]) -> Seen:
    parts = list(found)
    every = [one for _, one in parts]
    of_leader = [one.probe_at for leads, one in parts if leads and one.probe_at is not None]
    return Seen(
        sum(one.calls for one in every),
        _mean((one.success_rate, one.calls) for one in every),
        _mean((one.p50_s, one.calls) for one in every),
        max((one.p95_s for one in every if one.p95_s is not None), default=None),
        max((one.last_at for one in every if one.last_at is not None), default=None),
        min(of_leader, default=None),
    )


def _mean(pairs: Iterable[tuple[float | None, int]]) -> float | None:
    known = [(value, weight) for value, weight in pairs if value is not None and weight]
    total = sum(weight for _, weight in known)
    return sum(value * weight for value, weight in known) / total if total else None


def _short(number: float | None) -> float | None:
    return None if number is None else round(number, 4)
