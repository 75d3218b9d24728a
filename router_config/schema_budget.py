"""The shape of a budget: what may be spent in a period."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .sections import Section
from .values import Usd

__all__ = ["BudgetEntry", "Period"]

Period = Literal["lifetime", "month", "day", "hour"]


class BudgetEntry(Section):
    """What may be spent in a period: an amount of money, or of tokens."""

    usd: Usd | None = Field(default=None, description="US dollars, read as a decimal.")
    tokens: int | None = Field(default=None, ge=1, le=10**15, description="Input tokens.")
    period: Period | None = Field(
        default=None,
        description="When it starts again (UTC calendar); without it never, which is `lifetime`. "
        "Another period counts anew: what was spent in the old one is not carried over.",
    )
