"""Standings between the health of this process and the shared notes: `standing:<endpoint key>`.

A note holds all that is said of an endpoint, as far as its writer knew. Whoever reads one and knows
more writes what both know together; so nothing is lost, whoever writes when.
"""

from __future__ import annotations

from collections.abc import Iterable

from plugins._health import Health
from plugins._notes import Notes
from plugins._said import Said

__all__ = ["PREFIX", "Standings"]

PREFIX = "standing:"


class Standings:
    """Tells others through *notes* what *health* found here, and *health* what others found."""

    def __init__(self, health: Health, notes: Notes) -> None:
        self._health = health
        self._notes = notes
        health.ahead_s = notes.ahead_s
        health.on_own_change.append(lambda key, _: self._say(PREFIX + key))
        notes.watch(PREFIX, self._hear)
        notes.keep(self._kept, self._say)

    def _kept(self) -> Iterable[str]:
        return [PREFIX + key for key in self._health.spoken_of()]

    def _say(self, name: str) -> None:
        self._notes.put(name, self._health.said(name.removeprefix(PREFIX)).to_json())

    def _hear(self, name: str, value: bytes | None) -> None:
        key = name.removeprefix(PREFIX)
        try:
            heard = Said() if value is None else Said.from_json(value)
        except ValueError:
            return  # of another release: what it means is not known here
        self._health.merge(key, heard)
        if self._health.said(key) == heard:
            self._notes.drop(name)
        else:
            self._say(name)
