"""`qwen3-router explain MODEL`: who would be tried in which order, and why."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from router_config.cli import file_hint
from router_config.cli.common import add_config, config_path
from router_config.cli.fleet import read_fleet
from router_config.cli.left import left_of, no_room, read_rooms

if TYPE_CHECKING:
    from plugins._ledger import Budget, Room
    from plugins._pick import Rank
    from plugins._pool import Candidate
    from router_config import Config, Group
    from router_config.cli.fleet import Known

__all__ = ["HELP", "add_arguments", "run"]

HELP = "show in what order deployments would be tried, and why"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `explain`."""
    parser.add_argument("model", help="a model name, such as qwen3-embedding-8b")
    add_config(parser)
    parser.add_argument("--tokens", type=int, default=1, help="tokens of the longest input")
    parser.add_argument("--region", choices=["eu"], help="as for a key with this region")
    parser.add_argument(
        "--against", metavar="FILE", type=Path, help="an edited config: show what it would change"
    )
    parser.add_argument("--format", choices=["text", "json"], default="text")


def run(args: argparse.Namespace) -> int:
    """Print the order; 1 for a config with problems, 2 for an unknown model."""
    from router_config import ConfigError, load

    try:
        config = load(config_path(args))
        edited = load(args.against) if args.against is not None else None
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    group = _group_of(config, args.model)
    after = _group_of(edited, args.model) if edited is not None else None
    if group is None and after is None:
        known = ", ".join(config.groups)
        if config.aliases:
            known += f", and the aliases {', '.join(config.aliases)}"
        print(
            f"qwen3-router explain: no model group {args.model!r}; there are: {known}"
            f"{file_hint([args.model])}",
            file=sys.stderr,
        )
        return 2
    if edited is not None:
        return _against(args, (config, group), (edited, after))
    if group is None:
        return 2
    rooms, unread = read_rooms(config)
    fleet = read_fleet(config)
    ranks = _ranks(config, group, args.tokens, args.region, rooms, fleet)
    if args.format == "json":
        print(json.dumps(_rows(ranks, rooms, fleet), indent=2))
    else:
        print(_text(group, ranks, rooms, fleet))
        if fleet.unread is not None:
            print(f"\nWho is out was not read: {fleet.unread}.")
        if rooms is None and any(_budgets(rank.candidate) for rank in ranks):
            print(f"\nWhat is left of the budgets is unknown: {unread}.")
    return 0


def _against(args: argparse.Namespace, *sides: tuple[Config, Group | None]) -> int:
    """Print what differs between two configurations for one group."""
    from router_config.cli.against import compare, text

    told: list[Any] = []
    for config, group in sides:
        rooms, _ = read_rooms(config)
        fleet = read_fleet(config)
        ranks = _ranks(config, group, args.tokens, args.region, rooms, fleet) if group else []
        told += [group, _rows(ranks, rooms, fleet)]
    found = compare(*told)
    if args.format == "json":
        print(json.dumps(found, indent=2, default=str))
    else:
        files = (str(config_path(args)), str(args.against))
        print(text(args.model, found, files))
    return 0


def _group_of(config: Config, model: str) -> Group | None:
    from plugins._names import group_of

    return group_of(config, model)


def _ranks(
    config: Config,
    group: Group,
    tokens: int,
    region: str | None,
    rooms: Mapping[str, Room] | None,
    fleet: Known,
) -> list[Rank]:
    """Return the ranks by the very functions that the proxy picks with."""
    from plugins._budgets import of_group
    from plugins._pick import rank
    from plugins._plan import Plan
    from plugins._pool import build
    from plugins._request import Asked

    pool = build(config, os.environ)
    own = of_group(config, group.name)
    names = [group.name, *(name for name in group.fallbacks if name in pool)]
    asked = Asked(group.name, group.name, ("",), (), None, "float", None, False, None, False)
    plan = Plan(
        id="explain",
        asked=asked,
        dimensions=group.matryoshka.default,
        texts=("",),
        counts=(tokens,),
        groups=tuple(pool[name] for name in names),
        group_names=tuple(names),
        attempts=group.attempts,
        deadline=float("inf"),
        region=region,
        budgets=own,
        no_room=lambda one, inputs, count, besides: no_room(
            one, inputs, count, (*own, *besides), rooms
        ),
        out=lambda one: fleet.keeps_out(one.id),
    )
    return rank(plan.groups, plan.admits)


def _rows(
    ranks: list[Rank], rooms: Mapping[str, Room] | None, fleet: Known
) -> list[dict[str, Any]]:
    """Return what is said of each; of two that share an endpoint only one is called."""
    first: dict[str, str] = {}
    rows = []
    for rank in ranks:
        row = _row(rank, rooms, fleet)
        key, id_ = rank.candidate.endpoint.key, rank.candidate.id
        shares = rank.refused is None and first.setdefault(key, id_) != id_
        rows.append({**row, "same_endpoint_as": first[key] if shares else None})
    return rows


def _reach(ranks: list[Rank], attempts: int) -> int | None:
    """Return after how many ranks the attempts are used up, or None if all may be called.

    It is the end of an order, since any of its siblings may be drawn for the last attempt.
    """
    called: set[str] = set()
    done = 0
    for _, level in groupby(ranks, key=lambda rank: (rank.candidate.group, rank.candidate.order)):
        members = list(level)
        ready = {one.candidate.endpoint.key for one in members if one.refused is None}
        if len(called) >= attempts and ready - called:
            return done
        if len(called) < attempts:
            called |= ready
            done += len(members)
    return None


def _budgets(one: Candidate) -> tuple[Budget, ...]:
    return one.budgets if one.group_budget is None else (*one.budgets, one.group_budget)


def _row(rank: Rank, rooms: Mapping[str, Room] | None, fleet: Known) -> dict[str, Any]:
    one = rank.candidate
    standing = fleet.standing(one.id)
    budgets = _budgets(one)
    return {
        "group": one.group,
        "order": one.order,
        "weight": one.weight,
        "share": round(rank.share, 4),
        "id": one.id,
        "provider": one.endpoint.provider,
        "region": one.region,
        "usd_per_million_tokens": f"{one.usd_per_million_tokens.normalize():f}",
        "budgets": [budget.name for budget in budgets],
        "left": {budget.name: left_of(budget, rooms) for budget in budgets},
        "health": standing.words() if standing is not None else "fine",
        "refused": rank.refused,
    }


def _ready(row: dict[str, Any]) -> str:
    return "ready" if row["health"] == "fine" else f"ready, {row['health']}"


def _text(group: Group, ranks: list[Rank], rooms: Mapping[str, Room] | None, fleet: Known) -> str:
    rows = [("", "group", "order", "share", "deployment", "region", "$/1M", "left", "state")]
    place = 0
    for rank, row in zip(ranks, _rows(ranks, rooms, fleet), strict=True):
        shared = row["same_endpoint_as"]
        if rank.refused is None:
            place += 1
        rows.append(
            (
                str(place) if rank.refused is None else "-",
                row["group"],
                str(row["order"]),
                f"{row['share']:.0%}" if rank.refused is None else "",
                row["id"],
                row["region"],
                row["usd_per_million_tokens"],
                "; ".join(dict.fromkeys(row["left"].values())),
                rank.refused or (f"same endpoint as {shared}" if shared else _ready(row)),
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    reach = _reach(ranks, group.attempts)
    if reach is not None:
        end = f"-- {group.attempts} attempts end here; below is who is called if one is passed over"
        lines.insert(1 + reach, end)
    head = (
        f"{group.name}: at most {group.attempts} attempts and {group.deadline_s:g} s a request; no "
        "endpoint twice.\nSiblings of an order are drawn by weight; then the next order, then the "
        "fallback groups.\n"
    )
    return head + "\n".join(lines)
