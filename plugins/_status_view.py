"""What the status page shows, worked out before anything is written: plain values, no HTML.

Pure: the configuration, what is known of each endpoint, the last half hour, and what is left of the
budgets go in; names of words (`_status_words`) and numbers come out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from plugins._history import quantile_ms
from plugins._ledger import UNITS, Room
from plugins._ledger_forecast import Forecast
from plugins._pool import Candidate
from plugins._standing import Standing
from router_config import Config, Provider

__all__ = [
    "BudgetView",
    "DeploymentView",
    "FailoverView",
    "GroupView",
    "PageView",
    "ParityView",
    "PriceView",
    "view",
]

_STALE_DAYS = 90
_OUT = frozenset({"ejected", "resting", "quarantined", "drained"})


@dataclass(frozen=True, slots=True)
class DeploymentView:
    """One deployment; *standing* is one of `fine`, `returning`, `ejected`, … or `off`.

    *share* is its part of its group's calls of the last half hour, *spark* that part minute by
    minute (None: no calls), *bad* the failed part of its own. Times are seconds since 1970.
    """

    id: str
    provider: str
    region: str
    order: int
    weight: float
    standing: str
    reason: str
    since: float | None
    until: float | None
    calls: int
    success: float | None
    p50_ms: float | None
    p95_ms: float | None
    share: float | None
    spark: tuple[float | None, ...]
    bad: tuple[float, ...]
    usd_per_million: Decimal


@dataclass(frozen=True, slots=True)
class GroupView:
    """One model group: *up* of its *on* deployments can be used; *off* are without a key."""

    name: str
    region: str | None
    fallbacks: tuple[str, ...]
    up: int
    on: tuple[DeploymentView, ...]
    off: tuple[DeploymentView, ...]


@dataclass(frozen=True, slots=True)
class BudgetView:
    """One budget in one unit; amounts in nano-dollars, tokens or requests."""

    name: str
    unit: str
    period: str
    spent: int
    held: int
    limit: int | None
    ends: float | None
    forecast: Forecast | None

    @property
    def used(self) -> float:
        """Return which part is spent, from 0 to 1."""
        return min(1.0, self.spent / self.limit) if self.limit else 1.0 if self.spent else 0.0

    @property
    def held_part(self) -> float:
        """Return which part is held, at most what is left."""
        return min(1.0 - self.used, self.held / self.limit) if self.limit else 0.0


@dataclass(frozen=True, slots=True)
class FailoverView:
    """One request that did not go through at once: who failed and why, who answered."""

    at: float
    group: str
    tried: tuple[tuple[str, str], ...]
    served_by: tuple[str, ...]
    status: int
    request: str


@dataclass(frozen=True, slots=True)
class ParityView:
    """The last proof of one endpoint's vector space."""

    deployments: tuple[str, ...]
    passed: bool | None
    cosine: float | None
    what: str
    at: float


@dataclass(frozen=True, slots=True)
class PriceView:
    """What a provider costs, and by the model card; *stale*: old or undated.

    *set_here*: the file names the price, in place of the catalogue's.
    """

    title: str
    usd: Decimal
    as_of: date | None
    stale: bool
    card_usd: Decimal | None
    own: bool
    set_here: bool


@dataclass(frozen=True, slots=True)
class PageView:
    """All of the page. *load_problems* are those of a changed file that is not in force.

    *several* servers may share the ledger: calls and failovers are of the one that shows them.
    """

    now: float
    groups: tuple[GroupView, ...]
    budgets: tuple[BudgetView, ...]
    budgets_up: bool
    failovers: tuple[FailoverView, ...]
    parity: tuple[ParityView, ...]
    prices: tuple[PriceView, ...]
    calls: int
    workers: int
    several: bool
    config_file: str
    config_sha256: str
    config_loaded: float
    load_problems: tuple[str, ...]
    versions: tuple[tuple[str, str], ...]

    @property
    def worst(self) -> str:
        """Return `down` if a group has nobody, `degraded` if somebody is out, else `up`."""
        served = [one for one in self.groups if one.on]
        if not served or any(one.up == 0 for one in served):
            return "down"
        return "degraded" if any(one.up < len(one.on) for one in served) else "up"


def view(
    config: Config,
    pool: Mapping[str, Sequence[Candidate]],
    standings: Mapping[str, Standing],
    history: Mapping[str, Any],
    rooms: Sequence[Room],
    forecasts: Mapping[str, Forecast],
    *,
    now: float,
    today: date,
    rooms_up: bool = True,
    parity: Sequence[ParityView] = (),
    workers: int = 1,
    several: bool = False,
    loaded: float = 0.0,
    load_problems: Sequence[str] = (),
    versions: Sequence[tuple[str, str]] = (),
) -> PageView:
    """Return the page; *standings* are by endpoint key, *history* is all workers'."""
    minutes = history["minutes"]
    return PageView(
        now=now,
        groups=tuple(
            _group(config, name, candidates, standings, minutes)
            for name, candidates in pool.items()
        ),
        budgets=tuple(one for room in rooms for one in _budget(room, forecasts)),
        budgets_up=rooms_up,
        failovers=tuple(_failover(one) for one in history["failovers"]),
        parity=tuple(parity),
        prices=tuple(_prices(config, today)),
        calls=sum(row[0] for rows in minutes for row in rows.values()),
        workers=workers,
        several=several,
        config_file=config.path.name,
        config_sha256=config.sha256,
        config_loaded=loaded,
        load_problems=tuple(load_problems),
        versions=tuple(versions),
    )


def _group(
    config: Config,
    name: str,
    candidates: Sequence[Candidate],
    standings: Mapping[str, Standing],
    minutes: Sequence[Mapping[str, list[int]]],
) -> GroupView:
    # What the group's deployments served, for other groups as a fallback too.
    ids = {one.id for one in candidates}
    totals = [sum(row[0] for id_, row in rows.items() if id_ in ids) for rows in minutes]
    all_ = [
        _deployment(one, standings.get(one.endpoint.key), minutes, totals)
        for one in sorted(candidates, key=lambda one: (one.order, -one.weight))
    ]
    on = tuple(one for one in all_ if one.standing != "off")
    group = config.groups[name]
    return GroupView(
        name=name,
        region=group.region,
        fallbacks=group.fallbacks,
        up=sum(one.standing not in _OUT for one in on),
        on=on,
        off=tuple(one for one in all_ if one.standing == "off"),
    )


def _deployment(
    one: Candidate,
    standing: Standing | None,
    minutes: Sequence[Mapping[str, list[int]]],
    totals: Sequence[int],
) -> DeploymentView:
    rows = [minute[one.id] for minute in minutes if one.id in minute]
    calls, good = sum(row[0] for row in rows), sum(row[1] for row in rows)
    total = sum(totals)
    off = one.off is not None
    if off:
        standing = None
    return DeploymentView(
        id=one.id,
        provider=one.endpoint.provider,
        region=one.region,
        order=one.order,
        weight=one.weight,
        standing="off" if off else standing.kind if standing is not None else "fine",
        reason=one.off or (standing.reason if standing is not None else ""),
        since=standing.since if standing is not None else None,
        until=standing.until if standing is not None else None,
        calls=calls,
        success=good / calls if calls else None,
        p50_ms=quantile_ms(rows, 0.5),
        p95_ms=quantile_ms(rows, 0.95),
        share=calls / total if total else None,
        spark=tuple(
            minute[one.id][0] / total if one.id in minute else 0.0 if total else None
            for minute, total in zip(minutes, totals, strict=True)
        ),
        bad=tuple(
            1 - minute[one.id][1] / minute[one.id][0] if one.id in minute else 0.0
            for minute in minutes
        ),
        usd_per_million=one.usd_per_million_tokens,
    )


def _budget(room: Room, forecasts: Mapping[str, Forecast]) -> list[BudgetView]:
    limited = [unit for unit in UNITS if room.budget.limit(unit) is not None]
    return [
        BudgetView(
            name=room.budget.name,
            unit=unit,
            period=room.budget.period,
            spent=getattr(room.spent, unit),
            held=getattr(room.held, unit),
            limit=room.budget.limit(unit),
            ends=room.end,
            forecast=forecasts.get(room.budget.name),
        )
        for unit in limited or ["nano_usd"]
    ]


def _failover(one: Mapping[str, Any]) -> FailoverView:
    return FailoverView(
        at=one["at"],
        group=one["group"],
        tried=tuple((id_, reason) for id_, reason in one["tried"]),
        served_by=tuple(one["served_by"]),
        status=one["status"],
        request=one["request"],
    )


def _prices(config: Config, today: date) -> list[PriceView]:
    # One row for each price that is in force at a provider.
    rows: dict[tuple[str, Decimal], Provider] = {}
    for group in config.groups.values():
        for one in group.deployments:
            if one.provider is not None:
                rows.setdefault((one.provider.name, one.usd_per_million_tokens), one.provider)
    found = []
    for (_, usd), provider in rows.items():
        price = provider.price
        here = usd != price.usd_per_million_tokens
        old = price.as_of is None or (today - price.as_of).days > _STALE_DAYS
        card = provider.model_card
        found.append(
            PriceView(
                title=provider.title,
                usd=usd,
                as_of=price.as_of,
                stale=provider.hosted and old and not here,
                card_usd=card.usd_per_million_tokens if card is not None else None,
                own=not provider.hosted and not here,
                set_here=here,
            )
        )
    return found
