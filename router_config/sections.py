"""What the sections of a configuration file are made of: ours are closed, LiteLLM's are open."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["OpenSection", "Seconds", "Section"]

Seconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]


class Section(BaseModel):
    """A mapping of ours: a key that is not listed is a problem."""

    model_config = ConfigDict(
        strict=True, frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True
    )
    needed: ClassVar[dict[str, str]] = {}


class OpenSection(Section):
    """A mapping of LiteLLM's, of which we read the listed keys."""

    model_config = ConfigDict(extra="allow")
