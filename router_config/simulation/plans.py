"""A request of the traffic as the proxy's own plan, without texts, key or door."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from plugins._budgets import of_client
from plugins._health import View
from plugins._ledger import Budget
from plugins._plan import Plan
from plugins._pool import Candidate
from plugins._request import Asked
from router_config import Config
from router_config.simulation.traffic import Request

__all__ = ["Plans"]

_NoRoom = Callable[[Candidate, int, int, tuple[Budget, ...]], "str | None"]


class _Way(NamedTuple):
    """Whom a group's requests may go to, in the order of the fallbacks."""

    names: tuple[str, ...]
    groups: tuple[tuple[Candidate, ...], ...]
    asked: Asked


class Plans:
    """Makes plans by *config* over *pool*; *group* is asked by requests that name none."""

    def __init__(
        self,
        config: Config,
        pool: Mapping[str, tuple[Candidate, ...]],
        group: str,
        no_room: _NoRoom,
        view: View,
    ) -> None:
        self._config = config
        self._pool = pool
        self._group = group
        self._no_room = no_room
        self._view = view
        self._ways: dict[str, _Way] = {}
        self._rows: dict[tuple[str, str | None, str | None, str | None], tuple[Budget, ...]] = {}
        self._texts: dict[int, tuple[str, ...]] = {}

    def plan(self, request: Request, id_: str, now: float) -> Plan | None:
        """Return the plan of *request* as it comes in at *now*, None for an unknown group."""
        group = self._config.groups.get(request.group or self._group)
        if group is None:
            return None
        way = self._way(group.name)
        key = self._config.keys.get(request.key or "")
        n = len(request.counts)
        texts = self._texts.get(n)
        if texts is None:
            texts = self._texts[n] = tuple(map(str, range(n)))
        plan = Plan(
            id=id_,
            asked=way.asked,
            dimensions=group.matryoshka.default,
            texts=texts,
            counts=request.counts,
            groups=way.groups,
            group_names=way.names,
            attempts=group.attempts,
            deadline=now + group.deadline_s,
            region=key.region if key is not None else None,
            budgets=self._budgets(group.name, request),
            no_room=self._no_room,
        )
        self._view.onto(plan)
        return plan

    def _way(self, name: str) -> _Way:
        found = self._ways.get(name)
        if found is None:
            fallbacks = self._config.groups[name].fallbacks
            names = (name, *(one for one in fallbacks if one in self._pool))
            asked = Asked(name, name, ("",), (), None, "float", None, False, None, False)
            found = _Way(names, tuple(self._pool[one] for one in names), asked)
            self._ways[name] = found
        return found

    def _budgets(self, group: str, request: Request) -> tuple[Budget, ...]:
        who = (group, request.key, request.team, request.user)
        found = self._rows.get(who)
        if found is None:
            found = self._rows[who] = of_client(
                self._config, group=group, key=who[1], team=who[2], user=who[3]
            )
        return found
