"""The parts of a catalogue entry: each kind of fact about a provider, with its source and date."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

__all__ = [
    "FACTS",
    "Balance",
    "FreeAllowance",
    "Frozen",
    "HealthProbe",
    "Limits",
    "ModelCard",
    "Price",
    "Quirk",
    "RateLimits",
    "Source",
    "Trust",
]

Trust = Literal["vendor", "report", "notes", "choice"]

# Every one of these must be named by a source of the entry.
FACTS = (
    "api_base",
    "wire_model",
    "key_env",
    "region",
    "upstreams",
    "limits.max_inputs",
    "limits.max_tokens_per_input",
    "limits.max_tokens_per_call",
    "limits.concurrency",
    "base64",
    "normalised",
    "usage_counts",
    "timeouts",
    "options",
)

_TRUST = (
    "How far to trust it. vendor: read in the provider's own page or the server's own code; "
    "report: a third party's page or a user's thread; notes: earlier notes or the model card, "
    "which nobody could check; choice: no fact, a decision of ours because the fact is unknown."
)
_AS_OF = "Date of the copy that was read; null if the copy carries no date."


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Source(Frozen):
    """Where some facts of an entry were read."""

    source: str = Field(min_length=3, description="Address of the page, file or thread.")
    as_of: date | None = Field(description=_AS_OF)
    trust: Trust = Field(description=_TRUST)
    facts: tuple[str, ...] = Field(
        alias="for", min_length=1, description="The facts it stands behind: names of FACTS."
    )
    note: str | None = Field(default=None, description="What it says, or why we chose so.")

    @field_validator("facts")
    @classmethod
    def _known(cls, facts: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [fact for fact in facts if fact not in FACTS]
        if unknown:
            raise ValueError(f"not a fact: {', '.join(unknown)}; known: {', '.join(FACTS)}")
        return facts


class _Dated(Frozen):
    source: str = Field(min_length=3, description="Address of the page, file or thread.")
    as_of: date | None = Field(description=_AS_OF)
    trust: Trust = Field(default="vendor", description=_TRUST)
    note: str | None = None


class Price(_Dated):
    """What one million input tokens cost."""

    usd_per_million_tokens: Decimal = Field(
        ge=0, le=1000, description="0 only where no provider bills: own servers."
    )
    currency: str = Field(
        default="USD", pattern="^[A-Z]{3}$", description="Currency of the bill, ISO 4217."
    )
    amount: Decimal | None = Field(
        default=None, gt=0, description="Price per million tokens in that currency."
    )
    usd_per_unit: Decimal | None = Field(
        default=None, gt=0, description="US dollars for one unit of that currency."
    )
    rate_as_of: date | None = Field(default=None, description="Date of that exchange rate.")
    rate_source: str | None = Field(default=None, description="Source of that exchange rate.")

    @model_validator(mode="after")
    def _converted(self) -> Self:
        given = [self.amount, self.usd_per_unit, self.rate_as_of, self.rate_source]
        if self.currency == "USD":
            if any(value is not None for value in given):
                raise ValueError("amount and rate belong to a price in another currency")
            return self
        if self.amount is None or self.usd_per_unit is None or None in given:
            raise ValueError(
                f"a price in {self.currency} needs amount, usd_per_unit, rate_as_of, rate_source"
            )
        if self.amount * self.usd_per_unit != self.usd_per_million_tokens:
            raise ValueError("usd_per_million_tokens is not amount x usd_per_unit")
        return self

    def is_stale(self, today: date, max_age_days: int = 90) -> bool:
        """Return True if nobody can say that the price was right in the last *max_age_days*.

        An undated price is stale. Own hardware has no list price that could age.
        """
        if self.trust == "choice" and self.usd_per_million_tokens == 0:
            return False
        dates = [self.as_of] if self.currency == "USD" else [self.as_of, self.rate_as_of]
        return any(day is None or (today - day).days > max_age_days for day in dates)


class ModelCard(Frozen):
    """What the project's model card said on 2026-02-20, kept beside today's facts."""

    usd_per_million_tokens: Decimal | None = Field(ge=0, description="null: not listed there.")
    free: str | None = Field(description="Free allowance as the card named it.")
    as_of: date
    note: str | None = Field(default=None, description="Where today's facts differ.")


class FreeAllowance(_Dated):
    """What may be used without paying."""

    tokens: int | None = Field(default=None, gt=0)
    usd: Decimal | None = Field(default=None, gt=0)
    resets: Literal["never", "month", "day", "unknown"] = Field(
        description="never: given once; unknown: treat it as given once."
    )
    shared_by: str | None = Field(default=None, description="What else draws on it.")
    expires_after_days: int | None = Field(default=None, gt=0)


class Limits(Frozen):
    """The largest call that is sent to a provider."""

    max_inputs: int = Field(gt=0, le=2048, description="Texts in one call.")
    max_tokens_per_input: int = Field(
        gt=1, le=32_768, description="Tokens of one text, its end token included."
    )
    max_tokens_per_call: int | None = Field(
        default=None, gt=1, description="Tokens of all texts of a call together; null: no limit."
    )
    concurrency: int = Field(gt=0, le=1000, description="Calls under way at once.")

    @model_validator(mode="after")
    def _one_input_fits(self) -> Self:
        if self.max_tokens_per_call and self.max_tokens_per_call < self.max_tokens_per_input:
            raise ValueError("max_tokens_per_call is smaller than max_tokens_per_input")
        return self


class RateLimits(_Dated):
    """What the provider allows per minute; null: unknown. Learned live from headers and 429s."""

    requests_per_minute: int | None = Field(default=None, gt=0)
    tokens_per_minute: int | None = Field(default=None, gt=0)
    concurrent_requests: int | None = Field(default=None, gt=0)
    scope: Literal["account", "account-and-model", "server", "unknown"]
    headers: tuple[str, ...] = Field(default=(), description="Reply headers that tell the rest.")


class HealthProbe(_Dated):
    """A request that tells whether the provider answers and costs nothing."""

    method: Literal["GET"] = "GET"
    path: str = Field(pattern="^/", description="Path on the server or below api_base.")
    below: Literal["origin", "api_base"] = Field(description="What the path is appended to.")
    needs_key: bool
    healthy_status: int = 200
    proves: str = Field(description="What a good answer means, and what it does not.")


class Balance(_Dated):
    """Where the account's money can be read; informational only, never a gate."""

    method: Literal["GET"] = "GET"
    url: str = Field(pattern=r"^https://[^\s?#@]+$")
    field: str | None = Field(
        description="Dotted path of the number in the JSON reply; null: unknown."
    )
    unit: Literal["USD", "CNY", "unknown"]
    negative_means_credit: bool = False


class Quirk(_Dated):
    """Something that surprises: what happens, and what the router does about it."""

    what: str = Field(min_length=10)
