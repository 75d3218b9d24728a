"""The shape of the front door: what one worker takes in, and the vectors that it knows."""

from __future__ import annotations

from pydantic import Field

from .sections import Section

__all__ = ["CacheEntry", "GatewayEntry"]


class GatewayEntry(Section):
    """The front door: whether it answers by itself, and how much one worker takes in."""

    enabled: bool | None = Field(
        default=None, description="Default true; false sends every request through LiteLLM."
    )
    max_inflight: int | None = Field(
        default=None, ge=1, le=100_000, description="Requests in service at once; default 256."
    )
    max_inflight_inputs: int | None = Field(
        default=None, ge=1, le=10_000_000, description="Texts of all of them; default 8192."
    )
    max_queued: int | None = Field(
        default=None,
        ge=0,
        le=1_000_000,
        description="Requests that wait for their turn or are being received; default 1000.",
    )
    max_queued_mb: int | None = Field(
        default=None, ge=1, le=102_400, description="Bytes of all request bodies; default 128."
    )


class CacheEntry(Section):
    """The vectors that a worker keeps in memory."""

    enabled: bool | None = Field(default=None, description="Default true.")
    max_mb: int | None = Field(
        default=None, ge=1, le=1_048_576, description="Per worker; default 128: some 4,000 vectors."
    )
