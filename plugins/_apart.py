"""Work that would hold the event loop, done beside it in a few threads of our own.

Not in the loop's own pool: LiteLLM sends every request through that one, and a few large bodies (a
megabyte of "/" takes a second to count) would hold up all others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["apart"]

_T = TypeVar("_T")
_THREADS = ThreadPoolExecutor(max_workers=4, thread_name_prefix="qwen3-router")


async def apart(work: Callable[[], _T]) -> _T:
    """Return what *work* returns, called in another thread."""
    return await asyncio.get_running_loop().run_in_executor(_THREADS, work)
