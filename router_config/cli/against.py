"""What an edit changes for one group: two explanations side by side, before it is live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from router_config import Group

__all__ = ["compare", "text"]

Rows = Sequence[Mapping[str, Any]]
# What `explain` says of a deployment and what may differ, in the order in which it is shown.
_SHOWN = ("place", "order", "weight", "share", "usd_per_million_tokens", "budgets", "state")
_NAMES = {"usd_per_million_tokens": "$/1M"}


def compare(
    before: Group | None, before_rows: Rows, after: Group | None, after_rows: Rows
) -> dict[str, Any]:
    """Return the difference between two explanations of a group; None where it does not exist.

    `group` has what differs of the group itself, as [before, after]; `deployments` has an entry
    for each that differs, with `change` "added", "removed" or "changed" and the differing values.
    """
    one, two = _by_id(before_rows), _by_id(after_rows)
    deployments = []
    for id_ in [*two, *(id_ for id_ in one if id_ not in two)]:
        old, new = one.get(id_), two.get(id_)
        if old == new:
            continue
        change = "changed" if old and new else "added" if new else "removed"
        differing = {
            name: [old[name] if old else None, new[name] if new else None]
            for name in _SHOWN
            if (old or {}).get(name) != (new or {}).get(name)
        }
        deployments.append({"id": id_, "change": change, **differing})
    return {"group": _group(before, after), "deployments": deployments}


def text(name: str, found: Mapping[str, Any], files: tuple[str, str]) -> str:
    """Return *found* for people; *files* are the two names."""
    head = f"{name}: what changes from {files[0]} to {files[1]}\n"
    if not found["group"] and not found["deployments"]:
        return f"{head}\nNothing: the same deployments would be tried, in the same order."
    lines = [
        f"  {setting}: {_shown(old)} -> {_shown(new)}"
        for setting, (old, new) in found["group"].items()
    ]
    signs = {"added": "+", "removed": "-", "changed": "~"}
    for one in found["deployments"]:
        values = (
            f"{_NAMES.get(name, name)} {_arrow(one['change'], *one[name])}"
            for name in _SHOWN
            if name in one
        )
        lines.append(f"{signs[one['change']]} {one['id']}: " + ", ".join(values))
    return f"{head}\n" + "\n".join(lines)


def _by_id(rows: Rows) -> dict[str, dict[str, Any]]:
    found = {}
    place = 0
    for row in rows:
        ready = row["refused"] is None
        place += ready
        found[str(row["id"])] = {
            **{name: row[name] for name in _SHOWN if name in row},
            "place": place if ready else None,
            "state": row["refused"] or "ready",
        }
    return found


def _group(before: Group | None, after: Group | None) -> dict[str, list[Any]]:
    if before is None or after is None:
        return {"exists": [before is not None, after is not None]}
    old, new = before.model_dump(), after.model_dump()
    left_out = {"name", "deployments"}
    return {
        name: [old[name], new[name]]
        for name in old
        if name not in left_out and old[name] != new[name]
    }


def _arrow(change: str, old: Any, new: Any) -> str:
    if change == "added":
        return _shown(new)
    if change == "removed":
        return _shown(old)
    return f"{_shown(old)} -> {_shown(new)}"


def _shown(value: Any) -> str:
    if value is None or value == []:
        return "none"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(one)}" for name, one in value.items())
    return str(value)
