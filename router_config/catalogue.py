"""The catalogue: what is known about each provider, with a source and a date for every fact.

`providers.yaml` holds one entry per provider or server. A fact without a source does not load; an
unknown is a choice of ours and says so (`trust: choice`). Field descriptions below are the
documentation: `providers.schema.json` is generated from them for editors.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self, get_args

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic.json_schema import SkipJsonSchema

from .facts import (
    FACTS,
    Balance,
    FreeAllowance,
    Frozen,
    HealthProbe,
    Limits,
    ModelCard,
    Price,
    Quirk,
    RateLimits,
    Source,
)
from .problems import ConfigError, Finding
from .yamltext import read

__all__ = [
    "DIALECTS",
    "FACTS",
    "SHIPPED_CATALOGUE",
    "Balance",
    "Catalogue",
    "Dialect",
    "FreeAllowance",
    "HealthProbe",
    "Limits",
    "ModelCard",
    "Price",
    "Provider",
    "Quirk",
    "RateLimits",
    "Region",
    "Source",
    "UsageCounts",
    "catalogue_schema",
    "load_catalogue",
]

SHIPPED_CATALOGUE = Path(__file__).with_name("providers.yaml")

Dialect = Literal[
    "openai",
    "scaleway",
    "siliconflow",
    "deepinfra",
    "fireworks",
    "openrouter",
    "nebius",
    "novita",
    "ollama",
    "vllm",
    "tei",
    "infinity",
    "llamacpp",
]
DIALECTS: tuple[Dialect, ...] = get_args(Dialect)
Region = Literal["eu", "us", "cn", "global", "local"]
UsageCounts = Literal["tokens", "characters", "none"]


class Provider(Frozen):
    """One provider or server: how it is reached, what it costs, what it can and cannot do."""

    name: SkipJsonSchema[str] = Field(default="", description="Filled in from the entry's key.")
    title: str = Field(min_length=2, description="Name for people.")
    dialect: Dialect = Field(description="Shape of its requests, replies and errors.")
    hosted: bool = Field(description="true: somebody else's machines; false: your own server.")
    api_base: str | None = Field(
        pattern=r"^https?://[^\s?#@]+[^\s?#@/]$",
        description="Base URL without a trailing slash; null: the deployment must say it.",
    )
    wire_model: str = Field(min_length=1, description="Model id in the request.")
    key_env: str | None = Field(
        pattern="^[A-Z][A-Z0-9_]*$",
        description="Environment variable that conventionally holds the key; null: none needed.",
    )
    region: Region = Field(
        description="Where texts are processed; global: unknown or anywhere; local: your machine."
    )
    upstreams: tuple[str, ...] = Field(
        description="Owners of the machines behind it. Providers with a common owner fail together."
    )
    price: Price
    model_card: ModelCard | None
    free: FreeAllowance | None = Field(description="null: none known.")
    limits: Limits
    base64: bool = Field(description="Answers encoding_format=base64; true only if verified.")
    normalised: bool = Field(
        description="Vectors have length 1, verified: another length is then a fault. "
        "false: unknown or not; the router normalises in either case."
    )
    usage_counts: UsageCounts = Field(
        description="What usage.prompt_tokens counts; none: unknown or absent, own count is used."
    )
    attempt_timeout_s: float = Field(gt=0, le=600, description="Longest wait for one call.")
    timeout_s_per_1k_tokens: float = Field(
        ge=0, le=60, description="Added to the wait per thousand tokens of the call."
    )
    options: Mapping[str, int] = Field(
        default_factory=dict, description="Server options sent with each call (Ollama only)."
    )
    rate_limits: RateLimits | None = Field(description="null: nothing documented.")
    health: HealthProbe | None = Field(description="null: no free probe known.")
    balance: Balance | None = Field(description="null: the provider has none, or none known.")
    retention: str | None = Field(description="What happens to the texts; null: unknown.")
    sources: tuple[Source, ...] = Field(description="Together they name every fact, each once.")
    quirks: tuple[Quirk, ...] = ()

    @model_validator(mode="after")
    def _every_fact_has_one_source(self) -> Self:
        named = [fact for source in self.sources for fact in source.facts]
        needed = [fact for fact in FACTS if fact != "options" or self.options]
        missing = [fact for fact in needed if fact not in named]
        if missing:
            raise ValueError(f"no source for {', '.join(missing)}")
        twice = sorted({fact for fact in named if named.count(fact) > 1})
        if twice:
            raise ValueError(f"more than one source for {', '.join(twice)}")
        return self

    @model_validator(mode="after")
    def _speed_ups_are_verified(self) -> Self:
        for fact, claimed in (("base64", self.base64), ("normalised", self.normalised)):
            if claimed and self.source_of(fact).trust != "vendor":
                raise ValueError(f"{fact}: true needs a source with trust: vendor")
        return self

    @model_validator(mode="after")
    def _free_of_charge_only_at_home(self) -> Self:
        # A zero in somebody's price list is a gap, and a gap would empty a budget unseen.
        if self.hosted and self.price.usd_per_million_tokens == 0:
            raise ValueError("price.usd_per_million_tokens: 0 is possible for own servers only")
        return self

    def source_of(self, fact: str) -> Source:
        """Return the source of *fact*, one of `FACTS`. Raises KeyError for an unknown fact."""
        for source in self.sources:
            if fact in source.facts:
                return source
        raise KeyError(fact)


class Catalogue(Frozen):
    """All providers that `model: qwen3/<name>` can name."""

    providers: dict[str, Provider] = Field(min_length=1)

    @field_validator("providers", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {
            name: {**entry, "name": name} if isinstance(entry, dict) else entry
            for name, entry in value.items()
        }


def load_catalogue(path: str | Path = SHIPPED_CATALOGUE) -> dict[str, Provider]:
    """Return the providers of the catalogue file *path* by name.

    Raises:
        ConfigError: with every problem of the file and its place.
    """
    return dict(_load(str(path), Path(path).stat().st_mtime_ns if Path(path).exists() else 0))


def catalogue_schema() -> str:
    """Return the JSON Schema of a catalogue file, as `providers.schema.json` holds it."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Catalogue.model_json_schema(),
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


@functools.lru_cache(maxsize=4)
def _load(path: str, _changed: int) -> dict[str, Provider]:
    document = read(path)
    if document.problems:
        raise ConfigError(document.problems)
    try:
        return Catalogue.model_validate(document.value).providers
    except ValidationError as error:
        raise ConfigError([document.problem(_finding(item)) for item in error.errors()]) from None


def _finding(item: Any) -> Finding:
    path = tuple(item["loc"])
    if item["type"] == "extra_forbidden":
        return Finding(path, "unknown key", "remove it, or see providers.schema.json")
    if item["type"] == "missing":
        return Finding(path, "missing", "say it, or null where the schema allows that")
    what = str(item["msg"]).removeprefix("Value error, ")
    return Finding(path, what[:1].lower() + what[1:], "see providers.schema.json")
