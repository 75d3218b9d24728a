"""The shape of a configuration file as it is written: which keys, of which kinds, in which range.

`null` is the same as absent, so that a section whose lines are all commented out is allowed. What
must be there stands in `needed`, with the way to write it; only then can the rest of a file with a
gap still be judged. LiteLLM's sections are open: their keys are judged by `rules.litellm_keys`.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from .catalogue import Region
from .schema_budget import BudgetEntry, Period
from .schema_gateway import CacheEntry, GatewayEntry
from .schema_health import GroupParityEntry, HealthEntry, ParityEntry
from .schema_observing import MetricsEntry, RequestLogEntry
from .sections import OpenSection, Seconds, Section
from .values import (
    BudgetName,
    Day,
    DeploymentId,
    Hashes,
    Key,
    LedgerUrl,
    Price,
    Text,
    Url,
)

__all__ = [
    "BudgetEntry",
    "CacheEntry",
    "File",
    "GatewayEntry",
    "GeneralSettings",
    "GroupEntry",
    "GroupParityEntry",
    "HealthEntry",
    "KeyEntry",
    "LiteLLMSettings",
    "MatryoshkaEntry",
    "ModelInfo",
    "ModelListEntry",
    "Params",
    "ParityEntry",
    "Period",
    "ProviderMapEntry",
    "RouterSection",
    "RouterSettings",
]

Dimension = Annotated[int, Field(ge=32, le=4096)]
Attempts = Annotated[int, Field(ge=1, le=10)]
Alias = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


class Params(OpenSection):
    """How the deployment is reached and when it is chosen."""

    model: Text | None = Field(
        default=None, description="qwen3/<provider>, an entry of providers.yaml; or LiteLLM's own."
    )
    api_key: Key | None = Field(
        default=None, description="os.environ/NAME; default: the provider's usual variable."
    )
    api_base: Url | None = Field(
        default=None, description="Base URL or os.environ/NAME; default: the provider's."
    )
    order: int | None = Field(default=None, ge=0, le=1000, description="Lower first; default 1.")
    weight: float | None = Field(
        default=None,
        ge=0,
        le=1_000_000,
        allow_inf_nan=False,
        description="Chance among those of the same order; default 1.",
    )
    timeout: Seconds | None = Field(default=None, description="Seconds for one call.")
    needed: ClassVar[dict[str, str]] = {"model": "name a provider: model: qwen3/<provider>"}


class ModelInfo(OpenSection):
    """What is known about the deployment; in place of the catalogue's facts where given."""

    id: DeploymentId | None = Field(
        default=None, description="Its name in logs, metrics and replies; unique, and kept."
    )
    mode: Text | None = Field(default=None, description="embedding.")
    budget: BudgetName | None = Field(
        default=None, description="Entry of embedding_router.budgets that pays for it."
    )
    region: Region | None = Field(default=None, description="Where its machines stand.")
    wire_model: Text | None = Field(default=None, description="Model id in the request.")
    base_model: Text | None = Field(
        default=None, description="The model behind another name (LiteLLM's key)."
    )
    max_inputs: int | None = Field(default=None, ge=1, le=2048, description="Texts in one call.")
    max_input_tokens: int | None = Field(
        default=None, ge=2, le=32_768, description="Tokens of one text, its end token included."
    )
    max_tokens_per_call: int | None = Field(
        default=None, ge=2, description="Tokens of all texts of a call together."
    )
    concurrency: int | None = Field(default=None, ge=1, le=1000, description="Calls at once.")
    rpm: int | None = Field(default=None, ge=1, le=10**9, description="Calls per minute.")
    tpm: int | None = Field(default=None, ge=1, le=10**12, description="Tokens per minute.")
    input_cost_per_token: Price | None = Field(default=None, description="US dollars.")
    base64: bool | None = Field(default=None, description="Answers encoding_format=base64.")
    normalised: bool | None = Field(default=None, description="Its vectors have length 1.")
    options: dict[str, Any] | None = Field(
        default=None, description="Settings of the server or reseller, such as num_ctx (Ollama)."
    )


class ModelListEntry(OpenSection):
    """One deployment."""

    model_name: Text | None = Field(default=None, description="The group it belongs to.")
    litellm_params: Params | None = None
    model_info: ModelInfo | None = None
    needed: ClassVar[dict[str, str]] = {
        "model_name": "name its group: model_name: qwen3-embedding-8b",
        "litellm_params": "write litellm_params: {model: qwen3/<provider>}",
    }


class ProviderMapEntry(OpenSection):
    """One custom provider of LiteLLM's."""

    provider: Text | None = Field(default=None, description="qwen3.")
    custom_handler: Text | None = Field(default=None, description="plugins.provider.handler.")


class LiteLLMSettings(OpenSection):
    """LiteLLM's module settings."""

    callbacks: list[Text] | None = Field(
        default=None, description="plugins.gateway.handler and plugins.matryoshka.handler; more."
    )
    custom_provider_map: list[ProviderMapEntry] | None = Field(
        default=None, description="Who serves the prefix qwen3/."
    )


class RouterSettings(OpenSection):
    """LiteLLM's Router."""

    num_retries: int | None = Field(
        default=None, description="0: attempts are counted by embedding_router.attempts."
    )
    disable_cooldowns: bool | None = Field(
        default=None, description="true: this router's health is the one judge."
    )
    fallbacks: list[dict[str, list[Text]]] | None = Field(
        default=None, description="Groups to try after a group, in one vector space and region."
    )
    default_fallbacks: list[Text] | None = Field(
        default=None, description="Groups to try after every group."
    )


class GeneralSettings(OpenSection):
    """LiteLLM's proxy."""

    master_key: Key | None = Field(default=None, description="The admin's key: os.environ/NAME.")
    custom_auth: Text | None = Field(
        default=None, description="plugins.keys.handler, for embedding_router.keys."
    )
    database_url: Key | None = Field(
        default=None, description="With a database LiteLLM's own keys rule, not those of this file."
    )


class MatryoshkaEntry(Section):
    """Which `dimensions` a client may ask for."""

    default: Dimension = Field(default=4096, description="For a client that asks for none.")
    allowed: Annotated[list[Dimension], Field(min_length=1)] | None = Field(
        default=None, description="Default: every integer from 32 to 4096."
    )


class KeyEntry(Section):
    """One client key, known by its hash."""

    sha256: Hashes | None = Field(default=None, description="One hash, or two during a rotation.")
    team: Text | None = Field(default=None, description="Whose budget team:<id> it spends too.")
    groups: list[Text] | None = Field(default=None, description="Default: all groups.")
    region: Region | None = Field(default=None, description="Only deployments there.")
    rpm: int | None = Field(default=None, ge=1, le=10**9, description="Requests per minute.")
    tpm: int | None = Field(default=None, ge=1, le=10**12, description="Tokens per minute.")
    not_after: Day | None = Field(default=None, description="Last day, or last moment (UTC).")
    needed: ClassVar[dict[str, str]] = {
        "sha256": 'paste the line that "qwen3-router key new" prints'
    }


class GroupEntry(Section):
    """What differs for one group from the rest of the section."""

    region: Region | None = Field(
        default=None, description="Nothing leaves it. A name that ends in -eu means eu."
    )
    required: bool | None = Field(
        default=None, description="The proxy does not start unless somebody can serve the group."
    )
    attempts: Attempts | None = Field(default=None, description="Calls per request.")
    deadline_s: Seconds | None = Field(default=None, description="Seconds for a whole request.")
    matryoshka: MatryoshkaEntry | None = None
    token_inputs: Literal["cl100k_base", "qwen3"] | None = Field(
        default=None, description="Take token arrays and decode them with this vocabulary."
    )
    instruct: Text | None = Field(default=None, description="Task text for input_type: query.")
    parity: GroupParityEntry | None = None
    cache: bool | None = Field(
        default=None, description="Default true; false keeps no vector of this group in memory."
    )


class RouterSection(Section):
    """Everything of ours; LiteLLM does not read it."""

    attempts: Attempts | None = Field(default=None, description="Calls per request; default 3.")
    deadline_s: Seconds | None = Field(
        default=None, description="Seconds for a whole request; default 30."
    )
    max_body_mb: int | None = Field(default=None, ge=1, le=1024, description="Default 16.")
    matryoshka: MatryoshkaEntry | None = None
    parity: ParityEntry | None = None
    ledger: LedgerUrl | None = Field(
        default=None,
        description="Where money is counted: sqlite (default, one machine), sqlite:///path, or "
        "redis://host:port/db and rediss:// for several; with a password as os.environ/NAME.",
    )
    budgets: dict[BudgetName, BudgetEntry] | None = Field(
        default=None,
        description="An account of a provider, or key:<alias>, key:*, team:<id>, user:<id>, "
        "group:<model_name>.",
    )
    health: HealthEntry | None = None
    keys: dict[Alias, KeyEntry] | None = Field(default=None, description="Client keys by alias.")
    groups: dict[str, GroupEntry] | None = Field(
        default=None, description="What differs for one group, by its model_name."
    )
    gateway: GatewayEntry | None = None
    cache: CacheEntry | None = None
    metrics: MetricsEntry | None = Field(
        default=None, description="/router/metrics, and /metrics unless LiteLLM has its own there."
    )
    status_page: bool | None = Field(
        default=None, description="/router/, for the master key; default true."
    )
    request_log: RequestLogEntry | None = Field(
        default=None, description="One line of JSON per request and per attempt; default: none."
    )


class File(OpenSection):
    """A LiteLLM proxy configuration with our section."""

    model_list: list[ModelListEntry] | None = Field(default=None, description="The deployments.")
    litellm_settings: LiteLLMSettings | None = None
    router_settings: RouterSettings | None = None
    general_settings: GeneralSettings | None = None
    embedding_router: RouterSection | None = None
    needed: ClassVar[dict[str, str]] = {"model_list": "list the deployments"}
