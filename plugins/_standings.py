"""Standings between the health of this process and the shared notes: `standing:<endpoint key>`.

Times in a note are the store's, so that machines whose clocks differ mean the same by them.
"""

from __future__ import annotations

from dataclasses import replace

from plugins._health import Health
from plugins._notes import Notes
from plugins._standing import Standing

__all__ = ["PREFIX", "Standings", "read", "written"]

PREFIX = "standing:"


class Standings:
    """Tells others through *notes* what *health* found here, and *health* what others found."""

    def __init__(self, health: Health, notes: Notes) -> None:
        self._health = health
        self._notes = notes
        health.on_own_change.append(self._say)
        notes.watch(PREFIX, self._hear)

    def _say(self, key: str, standing: Standing | None) -> None:
        value = None if standing is None else written(standing, self._notes)
        self._notes.put(PREFIX + key, value)

    def _hear(self, name: str, value: bytes | None) -> None:
        key = name.removeprefix(PREFIX)
        try:
            said = None if value is None else read(value, self._notes)
        except ValueError:
            return  # of another release: what it means is not known here
        self._health.merge({key: said})
        if self._health.standing(key) == said:
            self._notes.drop(name)


def written(standing: Standing, notes: Notes) -> bytes:
    """Return *standing* as a note."""
    until = None if standing.until is None else notes.to_store(standing.until)
    return replace(standing, since=notes.to_store(standing.since), until=until).to_json()


def read(value: bytes, notes: Notes) -> Standing:
    """Return the standing in a note. Raises ValueError."""
    standing = Standing.from_json(value)
    until = None if standing.until is None else notes.from_store(standing.until)
    return replace(standing, since=notes.from_store(standing.since), until=until)
