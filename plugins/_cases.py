"""The cases of all endpoints: those of the file in force, and those that were heard of besides.

An endpoint may leave the file and come in again, and other processes may have another file: what
was said of it is kept meanwhile, and holds for requests that began with the file of before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from plugins._ejections import Case
from plugins._health_rules import Rules

__all__ = ["Cases"]

_MOST_AWAY = 1000


class Cases:
    """All cases; *make* makes one for an endpoint key. *here* are those of the file in force."""

    def __init__(self, make: Callable[[str], Case]) -> None:
        self.here: dict[str, Case] = {}
        self._away: dict[str, Case] = {}
        self._make = make

    def use(self, keys: Iterable[str], rules: Rules) -> None:
        """Watch the endpoints *keys*; what was said of any other is kept."""
        every = self._away | self.here
        self.here = {key: every[key] if key in every else self._make(key) for key in keys}
        rest = {key: case for key, case in every.items() if key not in self.here}
        self._away = {key: case for key, case in rest.items() if case.voice.said.stamp}
        for case in (*self.here.values(), *self._away.values()):
            case.rules = rules
        self._tidy()

    def get(self, key: str) -> Case | None:
        """Return the case, None if nothing is known of the endpoint."""
        return self.here.get(key) or self._away.get(key)

    def open(self, key: str) -> Case:
        """Return the case, a new one if need be."""
        found = self.get(key)
        if found is None:
            found = self._away[key] = self._make(key)
            self._tidy()
        return found

    def all(self) -> dict[str, Case]:
        """Return all by endpoint key."""
        return self._away | self.here

    def _tidy(self) -> None:
        surplus = len(self._away) - _MOST_AWAY
        if surplus > 0:  # whoever is closed goes last
            by_need = sorted(self._away, key=lambda key: _is_closed(self._away[key]))
            for key in by_need[:surplus]:
                del self._away[key]


def _is_closed(case: Case) -> bool:
    return case.standing is not None and case.standing.is_closed
