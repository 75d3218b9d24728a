"""Who is used although overloaded, so that those who are left do not get the load of all others.

At most a share of a group is out for being busy or slow; beyond it the least bad come back in.
Nobody who is dead, closed by an operator or of another vector space does.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from plugins._ejections import Case
from plugins._pool import Candidate

__all__ = ["Panic", "let_in"]

log = logging.getLogger("qwen3_router.health")

_KEPT_S = 0.25
_TELL_EVERY_S = 60.0


def let_in(cases: Iterable[Case], members: int, share: float, now: float) -> list[Case]:
    """Return who of a group with *members* endpoints is used although out, the least bad first."""
    busy = [one for one in cases if one.is_overloaded(now)]
    surplus = max(0, len(busy) - int(share * members))
    return sorted(busy, key=_badness)[:surplus]


def _badness(case: Case) -> tuple[Any, ...]:
    standing = case.standing
    if standing is None:
        return (False, 0, 0.0)
    return (standing.kind == "resting", case.strikes, standing.until or 0.0)


class Panic:
    """The answer per group of *pool*, kept for a moment; *share* is how many may be out."""

    def __init__(
        self, pool: Mapping[str, Sequence[Candidate]], cases: Mapping[str, Case], share: float
    ) -> None:
        self._cases = cases
        self._share = share
        self._members = {
            name: sorted({one.endpoint.key for one in group if one.off is None and one.weight > 0})
            for name, group in pool.items()
        }
        self._known: dict[str, tuple[int, float, frozenset[str]]] = {}
        self._told: dict[str, float] = {}

    def let_in(self, group: str, now: float, version: int) -> frozenset[str]:
        """Return the endpoint keys; *version* changes with every change of a standing."""
        known = self._known.get(group)
        if known is not None and known[0] == version and 0 <= now - known[1] < _KEPT_S:
            return known[2]
        members = self._members.get(group, [])
        cases = [self._cases[key] for key in members]
        found = frozenset(one.key for one in let_in(cases, len(members), self._share, now))
        self._known[group] = (version, now, found)
        if found and abs(now - self._told.get(group, float("-inf"))) >= _TELL_EVERY_S:
            self._told[group] = now
            log.warning(
                "group %s: more than its share is overloaded; %d of %d are used all the same",
                group,
                len(found),
                len(members),
            )
        return found
