"""A configuration as the router uses it: groups of deployments, complete with every fact.

Everything here is immutable and complete: defaults are in, overrides are applied, nothing is read
from the environment. `environment.resolve` adds what only a running machine knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from .catalogue import Limits, Provider, Region
from .problems import Problem
from .schema import Period
from .values import EnvRef, Secret

__all__ = [
    "DEFAULT_INSTRUCT",
    "Budget",
    "Cache",
    "Config",
    "Deployment",
    "Gateway",
    "Group",
    "Health",
    "Key",
    "Matryoshka",
    "Metrics",
    "Parity",
    "Proving",
    "RequestLog",
]

# The task text of the model card, also the one behind its published similarities.
DEFAULT_INSTRUCT = "Given a web search query, retrieve relevant passages that answer the query"


class _Frozen(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, defer_build=True
    )


class Deployment(_Frozen):
    """One entry of `model_list`; *index* is its position there, from 0.

    *provider* is None for a deployment that LiteLLM serves by itself. *order* is tried lowest
    first; *weight* decides inside an order. *timeout_s* is None for the catalogue's own times.
    """

    id: str
    group: str
    index: int
    model: str
    provider: Provider | None = Field(repr=False)
    wire_model: str
    api_base: str | EnvRef | None
    api_key: Secret | EnvRef | None
    order: int = 1
    weight: float = 1.0
    timeout_s: float | None = None
    budget: str | None = None
    rpm: int | None = None
    tpm: int | None = None
    limits: Limits
    usd_per_million_tokens: Decimal
    region: Region
    base64: bool
    normalised: bool
    options: Mapping[str, Any] = Field(default_factory=dict)


class Matryoshka(_Frozen):
    """The `dimensions` of a group; *allowed* is None for every integer from 32 to 4096."""

    default: int = 4096
    allowed: tuple[int, ...] | None = None


class Parity(_Frozen):
    """How a group's vectors are proven to be of one space.

    *reference* is the recorded one's file, or None; two vectors of one text agree from *cosine* on;
    *tolerance* is what the model card's similarities may be off by.
    """

    mode: Literal["background", "required", "off"] = "background"
    reference: Path | None = None
    cosine: float = 0.99
    tolerance: float = 0.02


class Proving(_Frozen):
    """When parity is proven, in hours, and what that may cost.

    *sample* is the share of requests of which a text is repeated on a second deployment.
    """

    every_h: float = 24.0
    tokens_per_day: int = 200_000
    sample: float = 0.0


class Group(_Frozen):
    """A model group of ours: deployments of one model, in the order of the file.

    *fallbacks* are the groups to try after it, in that order. *region* is None where texts may go
    anywhere. *token_inputs* names the vocabulary of token arrays, or is None where none are taken.
    *cache* tells whether its vectors are kept in memory.
    """

    name: str
    deployments: tuple[Deployment, ...]
    fallbacks: tuple[str, ...] = ()
    region: Region | None = None
    required: bool = False
    attempts: int = 3
    deadline_s: float = 30.0
    matryoshka: Matryoshka = Matryoshka()
    token_inputs: Literal["cl100k_base", "qwen3"] | None = None
    instruct: str = DEFAULT_INSTRUCT
    parity: Parity = Parity()
    cache: bool = True


class Key(_Frozen):
    """One client key of the file.

    *sha256* are one or two hashes, 64 lower-case hexadecimal digits. *groups* is None for all. A
    *not_after* that is a plain date includes that day; both count in UTC.
    """

    alias: str
    sha256: tuple[str, ...]
    team: str | None = None
    groups: tuple[str, ...] | None = None
    region: Region | None = None
    rpm: int | None = None
    tpm: int | None = None
    not_after: date | datetime | None = None


class Budget(_Frozen):
    """What may be spent in a *period* (UTC calendar): either *usd* or *tokens* is not None."""

    name: str
    usd: Decimal | None
    tokens: int | None
    period: Period


class Health(_Frozen):
    """When a deployment leaves and when it comes back; see the shipped file for each."""

    enabled: bool = True
    panic_share: float = 0.5
    base_s: float = 10.0
    max_s: float = 300.0
    longest_rest_s: float = 3600.0
    slow_start_s: float = 30.0
    idle_s: float = 3600.0
    probe_budget: Budget = Budget(
        name="router:probes", usd=Decimal("0.01"), tokens=None, period="day"
    )


class Gateway(_Frozen):
    """What one worker takes in: requests in service and their texts, others that wait, bodies.

    *enabled* tells whether the front door may answer without LiteLLM's Router.
    """

    enabled: bool = True
    max_inflight: int = 256
    max_inflight_inputs: int = 8192
    max_queued: int = 1000
    max_queued_mb: int = 128


class Cache(_Frozen):
    """The vectors that a worker keeps in memory, at most *max_mb* of them."""

    enabled: bool = True
    max_mb: int = 128


class Metrics(_Frozen):
    """Who may read the metrics: all if *open*, else who has *token* or the master key."""

    enabled: bool = True
    open: bool = False
    token: Secret | EnvRef | None = None
    consumers: int = 100


class RequestLog(_Frozen):
    """Where request lines go: to *file*, as it is written in the config, or (None) to stdout."""

    file: str | None
    max_mb: int = 64
    keep: int = 5


class Config(_Frozen):
    """One configuration file.

    *groups* holds ours only: those with a `qwen3/` deployment and those listed under
    `embedding_router.groups`. *foreign_models* are the other model names; LiteLLM serves them.
    *aliases* are other names of our groups (LiteLLM's `model_group_alias`). *ledger* is where money
    is counted. *sha256* is of the file's bytes, *raw* its plain data. *since* is when the file last
    changed, in nanoseconds since 1970 (the last three digits are the content's): of two files
    that disagree on a limit the later one is right.
    """

    path: Path
    sha256: str
    since: int = 0
    ledger: str | EnvRef = "sqlite"
    groups: dict[str, Group]
    foreign_models: frozenset[str]
    aliases: dict[str, str] = {}
    keys: dict[str, Key]
    budgets: dict[str, Budget]
    health: Health = Health()
    max_body_mb: int = 16
    max_inputs: int = 2048
    proving: Proving = Proving()
    gateway: Gateway = Gateway()
    cache: Cache = Cache()
    metrics: Metrics = Metrics()
    status_page: bool = True
    request_log: RequestLog | None = None
    raw: dict[str, Any] = Field(repr=False)
    warnings: tuple[Problem, ...] = ()
