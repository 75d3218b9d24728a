"""How many cases a run tries: the small fixed ones by default, the documented ones on request."""

from __future__ import annotations

import os

__all__ = ["FULL", "VARIABLE", "size"]

VARIABLE = "QWEN3_ROUTER_TEST_SIZE"

_given = os.environ.get(VARIABLE, "small")
if _given not in ("small", "full"):
    raise ValueError(f'{VARIABLE} must be "small" or "full"')

FULL: bool = _given == "full"


def size(small: int, full: int) -> int:
    """The number of cases for this run: `full` under `make test-full`, else `small`."""
    return full if FULL else small
