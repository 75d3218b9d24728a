"""The shape of what keeps a deployment out: its health, and the proof of its vector space."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from .schema_budget import BudgetEntry
from .sections import Seconds, Section
from .values import Text, Unfit

__all__ = ["GroupParityEntry", "HealthEntry", "ParityEntry"]

# YAML 1.1 reads a bare `off` as false.
Proof = Annotated[
    Literal["background", "required", "off"],
    BeforeValidator(lambda value: "off" if value is False else value),
]


def _word_or_more(schema: dict[str, Any]) -> None:
    more = {name: value for name, value in schema.items() if name != "title"}
    schema.clear()
    schema["anyOf"] = [{"enum": ["background", "required", "off", False]}, more]


class GroupParityEntry(Section):
    """How a group's vectors are proven to be of one space; one word is its mode."""

    model_config = ConfigDict(json_schema_extra=_word_or_more)

    mode: Proof | None = Field(
        default=None, description="background (default), required before first use, or off."
    )
    reference: Text | None = Field(
        default=None, description="File that `parity record` wrote, beside this one."
    )
    cosine: float | None = Field(
        default=None, ge=0.5, le=0.9999, allow_inf_nan=False, description="At least; default 0.99."
    )
    tolerance: float | None = Field(
        default=None,
        gt=0,
        le=0.2,
        allow_inf_nan=False,
        description="How far from the model card's similarities; default 0.02.",
    )

    @model_validator(mode="before")
    @classmethod
    def _word(cls, value: Any) -> Any:
        if value is False or value in ("background", "required", "off"):
            return {"mode": value}
        if isinstance(value, str | bool):
            raise Unfit("no mode of parity", "write background, required or off, or a mapping")
        return value


class ParityEntry(GroupParityEntry):
    """How, when and at what cost vectors are proven to be of one space; one word is its mode."""

    every_h: float | None = Field(
        default=None, ge=0.1, le=720, allow_inf_nan=False, description="Hours; default 24."
    )
    tokens_per_day: int | None = Field(
        default=None, ge=1, le=10**9, description="For all probes and samples; default 200000."
    )
    sample: float | None = Field(
        default=None,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Share of requests that a second deployment is asked too; default 0.",
    )


class HealthEntry(Section):
    """When a deployment leaves and when it comes back."""

    enabled: bool | None = Field(
        default=None, description="false: nobody is taken out by what calls show; default true."
    )
    panic_share: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = Field(
        default=None,
        description="At most this share of a group is out for being busy or slow; default 0.5.",
    )
    base_s: Seconds | None = Field(default=None, description="The first ejection; default 10.")
    max_s: Seconds | None = Field(default=None, description="The longest ejection; default 300.")
    longest_rest_s: Seconds | None = Field(
        default=None, description="The longest rest that a 429 can ask for; default 3600."
    )
    slow_start_s: Seconds | None = Field(
        default=None, description="Until one that came back has its whole share; default 30."
    )
    idle_s: Annotated[float, Field(ge=0, le=2_592_000, allow_inf_nan=False)] | None = Field(
        default=None,
        description="After so long without a call one is looked at; default 3600, 0 for never.",
    )
    probe_budget: BudgetEntry | None = Field(
        default=None,
        description="What probes may spend, all together; default {usd: 0.01, period: day}.",
    )
