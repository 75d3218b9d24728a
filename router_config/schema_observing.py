"""The shape of what a running router tells about itself: its metrics and its log of requests."""

from __future__ import annotations

from pydantic import Field

from .sections import Section
from .values import Key, Text

__all__ = ["MetricsEntry", "RequestLogEntry"]


class MetricsEntry(Section):
    """Who may read the metrics, and how many consumers have series of their own."""

    enabled: bool | None = Field(default=None, description="false: no such page; default true.")
    open: bool | None = Field(
        default=None, description="true: answers without a key; default false."
    )
    token: Key | None = Field(
        default=None, description="os.environ/NAME: what Prometheus sends, beside the master key."
    )
    consumers: int | None = Field(
        default=None, ge=0, le=1000, description="The rest count as other; default 100."
    )


class RequestLogEntry(Section):
    """Where a line of JSON goes for each request and each attempt: a file, or standard output."""

    file: Text | None = Field(
        default=None, description="A path; a relative one is below $QWEN3_ROUTER_STATE."
    )
    stdout: bool | None = Field(default=None, description="true: to standard output.")
    max_mb: int | None = Field(
        default=None, ge=1, le=102_400, description="Then the file is moved aside; default 64."
    )
    keep: int | None = Field(
        default=None, ge=0, le=1000, description="Older files that stay; default 5."
    )
