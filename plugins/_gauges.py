"""What can be read off the router at a moment: gauges of this worker, and what all workers see.

Pure: the parts of the runtime are passed in, and nothing here waits or asks anybody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from plugins._board import Values
from plugins._ledger import Budget, Room
from plugins._pool import Candidate
from plugins._standing import Standing

__all__ = ["STANDINGS", "accounts", "budgets", "deployments"]

STANDINGS = ("fine", "off", "ejected", "resting", "quarantined", "drained", "returning")
_NANO = 1_000_000_000


def accounts(pool: Mapping[str, Sequence[Candidate]], declared: Iterable[Budget]) -> list[Budget]:
    """Return the budgets to show: those of the file and of its deployments.

    Not the quotas per minute, and not the rows that `key:*` makes: there may be any number.
    """
    every = [one for group in pool.values() for one in group]
    found = {one.name: one for one in declared}
    for candidate in every:
        found.update({one.name: one for one in candidate.budgets if one.period != "minute"})
    return list(found.values())


def deployments(
    pool: Mapping[str, Sequence[Candidate]],
    standings: Mapping[str, Standing],
    cosines: Mapping[str, float],
) -> Values:
    """Return what is known of each deployment; *standings* and *cosines* are by endpoint key."""
    values: Values = []
    for one in (one for group in pool.values() for one in group):
        endpoint = one.endpoint
        labels = (one.id, one.group, endpoint.provider, one.region, endpoint.key)
        values.append(("deployment_info", labels, 1))
        standing = standings.get(endpoint.key)
        now = "off" if one.off is not None else standing.kind if standing is not None else "fine"
        values += [
            ("deployment_standing", (one.id, kind), float(kind == now)) for kind in STANDINGS
        ]
        if endpoint.key in cosines:
            values.append(("parity_cosine", (one.id,), cosines[endpoint.key]))
    return values


def budgets(rooms: Iterable[Room]) -> Values:
    """Return limit and use of each budget, in dollars or tokens."""
    values: Values = []
    for room in rooms:
        name = room.budget.name
        for unit, label, scale in (("nano_usd", "usd", _NANO), ("tokens", "tokens", 1)):
            limit: int | None = getattr(room.budget, unit)
            spent, held = getattr(room.spent, unit), getattr(room.held, unit)
            if limit is not None:
                values.append(("budget_limit", (name, label), limit / scale))
                left = max(0, limit - spent - held)
                values.append(("budget_left", (name, label), left / scale))
            values.append(("budget_spent", (name, label), spent / scale))
            values.append(("budget_held", (name, label), held / scale))
        if room.end is not None:
            values.append(("budget_resets_timestamp_seconds", (name,), room.end))
    return values
