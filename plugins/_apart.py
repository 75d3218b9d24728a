"""Work that would hold the event loop, done beside it in a few threads of our own.

Not in the loop's own pool: LiteLLM sends every request through that one, and a few large bodies (a
megabyte of "/" takes a second to count) would hold up all others.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["apart", "apart_in_turns"]

_T = TypeVar("_T")
_TURN_S = 0.1
_THREADS = ThreadPoolExecutor(max_workers=4, thread_name_prefix="qwen3-router")


async def apart(work: Callable[[], _T]) -> _T:
    """Return what *work* returns, called in another thread."""
    return await asyncio.get_running_loop().run_in_executor(_THREADS, work)


async def apart_in_turns(work: Iterator[object]) -> None:
    """Go through *work* in other threads, a turn at a time: whoever waits comes in between.

    One large request would else keep a thread for as long as it takes, four of them all threads.
    """
    while await apart(lambda: _turn(work)):
        pass


def _turn(work: Iterator[object]) -> bool:
    """Take steps of *work* for the length of a turn and tell whether there may be more."""
    ends = time.monotonic() + _TURN_S
    return any(time.monotonic() > ends for _ in work)
