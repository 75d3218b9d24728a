"""What a file says, with the catalogue's facts and the defaults filled in: a `Config`.

Builds from whatever could be read, so that the rules can judge a file that has mistakes; whether
the result may be used is theirs to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from .catalogue import Limits, Provider, Region
from .config import (
    Budget,
    Cache,
    Config,
    Deployment,
    Gateway,
    Group,
    Health,
    Key,
    Matryoshka,
    Metrics,
    Parity,
    Proving,
    RequestLog,
)
from .schema import (
    BudgetEntry,
    File,
    GroupEntry,
    GroupParityEntry,
    HealthEntry,
    MatryoshkaEntry,
    ModelInfo,
    ModelListEntry,
    Params,
    ParityEntry,
    RouterSection,
    RouterSettings,
)
from .schema_observing import MetricsEntry, RequestLogEntry
from .sections import Section
from .shape import OWN_PREFIX, our_groups
from .yamltext import Document

__all__ = ["OTHER_LIMITS", "aliases_of", "build", "fallbacks_of"]

# For a deployment that LiteLLM serves by itself: what OpenAI allows, since nothing else is known.
OTHER_LIMITS = Limits(max_inputs=2048, max_tokens_per_input=32_768, concurrency=100)


def build(document: Document, file: File, catalogue: Mapping[str, Provider]) -> Config:
    """Return the configuration in *file*, which was read from *document*."""
    ours = our_groups(document.value)
    entries = [entry for entry in enumerate(file.model_list or ()) if entry[1].model_name]
    deployments = [
        _deployment(index, entry, catalogue) for index, entry in entries if entry.model_name in ours
    ]
    section = file.embedding_router or RouterSection()
    return Config(
        path=Path(document.file),
        sha256=document.sha256,
        since=document.since,
        ledger=section.ledger or "sqlite",
        groups={
            group.name: group
            for group in _groups(file, section, deployments, Path(document.file).parent)
        },
        foreign_models=frozenset(str(entry.model_name) for _, entry in entries) - ours,
        aliases={
            alias: name for alias, name in aliases_of(file.router_settings).items() if name in ours
        },
        keys={
            alias: Key(
                alias=alias,
                sha256=entry.sha256 or (),
                team=entry.team,
                groups=None if entry.groups is None else tuple(entry.groups),
                region=entry.region,
                rpm=entry.rpm,
                tpm=entry.tpm,
                not_after=entry.not_after,
            )
            for alias, entry in (section.keys or {}).items()
        },
        budgets={name: _budget(name, one) for name, one in (section.budgets or {}).items()},
        health=_health(section.health),
        max_body_mb=_or(section.max_body_mb, 16),
        gateway=Gateway(**_given(section.gateway)),
        cache=Cache(**_given(section.cache)),
        proving=_proving(section.parity),
        metrics=_metrics(section.metrics),
        status_page=_or(section.status_page, True),
        request_log=_request_log(section.request_log),
        raw=document.value,
    )


def aliases_of(settings: RouterSettings | None) -> dict[str, str]:
    """Return what each alias of `model_group_alias` leads to, in one step, as LiteLLM does."""
    written = (settings.model_extra or {}).get("model_group_alias") if settings else None
    found = {}
    for alias, entry in (written if isinstance(written, dict) else {}).items():
        target = entry.get("model") if isinstance(entry, dict) else entry
        if isinstance(target, str):
            found[str(alias)] = target
    return found


def fallbacks_of(settings: RouterSettings | None, group: str) -> tuple[str, ...]:
    """Return the groups to try after *group*, as LiteLLM reads them, by their own names.

    Its own list, else the one for "*", else `default_fallbacks` without the group itself.
    """
    if settings is None:
        return ()
    lists = {name: targets for item in settings.fallbacks or () for name, targets in item.items()}
    common = lists.get("*") or settings.default_fallbacks or ()
    aliases = aliases_of(settings)
    names = [aliases.get(target, target) for target in lists.get(group, common)]
    return tuple(dict.fromkeys(t for t in names if group in lists or t != group))


def _groups(
    file: File, section: RouterSection, all_: list[Deployment], folder: Path
) -> Iterator[Group]:
    listed = section.groups or {}
    for name in dict.fromkeys([*(one.group for one in all_), *listed]):
        entry = listed.get(name) or GroupEntry()
        yield Group(
            name=name,
            deployments=tuple(one for one in all_ if one.group == name),
            fallbacks=fallbacks_of(file.router_settings, name),
            region="eu" if name.endswith("-eu") else entry.region,
            required=_or(entry.required, False),
            attempts=_or(entry.attempts, _or(section.attempts, 3)),
            deadline_s=_or(entry.deadline_s, _or(section.deadline_s, 30.0)),
            matryoshka=_matryoshka(entry.matryoshka or section.matryoshka),
            token_inputs=entry.token_inputs,
            parity=_parity((section.parity, entry.parity), folder),
            cache=_or(entry.cache, True),
            **({"instruct": entry.instruct} if entry.instruct else {}),
        )


def _metrics(entry: MetricsEntry | None) -> Metrics:
    if entry is None:
        return Metrics()
    return Metrics(
        enabled=_or(entry.enabled, True),
        open=_or(entry.open, False),
        token=entry.token,
        consumers=_or(entry.consumers, 100),
    )


def _request_log(entry: RequestLogEntry | None) -> RequestLog | None:
    if entry is None or (entry.file is None and not entry.stdout):
        return None
    return RequestLog(file=entry.file, max_mb=_or(entry.max_mb, 64), keep=_or(entry.keep, 5))


def _matryoshka(entry: MatryoshkaEntry | None) -> Matryoshka:
    if entry is None:
        return Matryoshka()
    allowed = None if entry.allowed is None else tuple(entry.allowed)
    return Matryoshka(default=entry.default, allowed=allowed)


def _health(entry: HealthEntry | None) -> Health:
    if entry is None:
        return Health()
    said = {name: getattr(entry, name) for name in HealthEntry.model_fields}
    budget = entry.probe_budget
    if budget is not None:
        name = Health().probe_budget.name
        said["probe_budget"] = _budget(name, budget)
    return Health(**{name: value for name, value in said.items() if value is not None})


def _budget(name: str, one: BudgetEntry) -> Budget:
    return Budget(name=name, usd=one.usd, tokens=one.tokens, period=one.period or "lifetime")


def _parity(entries: tuple[GroupParityEntry | None, ...], folder: Path) -> Parity:
    """Return what *entries* say, the later over the earlier; a file is beside the config."""
    said: dict[str, Any] = {}
    for entry in entries:
        for name in Parity.model_fields:
            value = getattr(entry, name, None)
            if value is not None:
                said[name] = folder / value if name == "reference" else value
    return Parity(**said)


def _proving(entry: ParityEntry | None) -> Proving:
    said = {name: getattr(entry, name, None) for name in Proving.model_fields}
    return Proving(**{name: value for name, value in said.items() if value is not None})


def _deployment(index: int, entry: ModelListEntry, catalogue: Mapping[str, Provider]) -> Deployment:
    params, info = entry.litellm_params or Params(), entry.model_info or ModelInfo()
    model = params.model or ""
    provider = catalogue.get(model.removeprefix(OWN_PREFIX)) if _is_own(model) else None
    fact: Any = provider  # every use below has its own value for "no provider"
    return Deployment(
        id=info.id or "",
        group=str(entry.model_name),
        index=index,
        model=model,
        provider=provider,
        wire_model=info.wire_model or (fact.wire_model if fact else model.partition("/")[2]),
        api_base=params.api_base or (fact.api_base if fact else None),
        api_key=params.api_key,
        order=_or(params.order, 1),
        weight=_or(params.weight, 1.0),
        timeout_s=params.timeout,
        budget=info.budget,
        rpm=info.rpm,
        tpm=info.tpm,
        limits=_limits(info, fact.limits if fact else OTHER_LIMITS),
        usd_per_million_tokens=_price(info, fact),
        region=info.region or _region(fact),
        base64=_or(info.base64, fact.base64 if fact else False),
        normalised=_or(info.normalised, fact.normalised if fact else False),
        options={**(fact.options if fact else {}), **(info.options or {})},
    )


def _is_own(model: str) -> bool:
    return model.startswith(OWN_PREFIX)


def _region(provider: Provider | None) -> Region:
    return provider.region if provider else "global"


def _price(info: ModelInfo, provider: Provider | None) -> Decimal:
    if info.input_cost_per_token is not None:
        return info.input_cost_per_token * 1_000_000
    return provider.price.usd_per_million_tokens if provider else Decimal(0)


def _limits(info: ModelInfo, base: Limits) -> Limits:
    try:
        return Limits(
            max_inputs=_or(info.max_inputs, base.max_inputs),
            max_tokens_per_input=_or(info.max_input_tokens, base.max_tokens_per_input),
            max_tokens_per_call=_or(info.max_tokens_per_call, base.max_tokens_per_call),
            concurrency=_or(info.concurrency, base.concurrency),
        )
    except ValidationError:  # two overrides that contradict each other: a rule says so
        return base


def _given(entry: Section | None) -> dict[str, Any]:
    """Return what is written in *entry*; the rest has its defaults in the `Config`."""
    return entry.model_dump(exclude_none=True) if entry is not None else {}


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value
