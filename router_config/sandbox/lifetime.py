"""When the sandbox process ends: on SIGTERM, with its input, or with the process that started it.

Both ways to notice a dead parent work on every Unix. The end of a piped standard input is
immediate; a changed parent id is found within a second and also covers a parent whose pipe lives on
in a forked sibling. (A death signal from the kernel would follow the parent's thread instead.)
"""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import sys
import threading

__all__ = ["until_the_end"]

_LOOK_EVERY_S = 0.5


async def until_the_end() -> None:
    """Return when this process should end."""
    loop = asyncio.get_running_loop()
    end = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end.set)
    if _piped():
        # A thread, since a pipe shared with others must not be made non-blocking for them too.
        def wait_for_eof() -> None:
            while os.read(0, 4096):
                pass
            loop.call_soon_threadsafe(end.set)

        threading.Thread(target=wait_for_eof, daemon=True, name="stdin").start()
    parent = os.getppid()
    while not end.is_set() and os.getppid() == parent:
        try:
            await asyncio.wait_for(end.wait(), _LOOK_EVERY_S)
        except TimeoutError:
            continue


def _piped() -> bool:
    # A terminal or /dev/null says nothing about who started us.
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (AttributeError, OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
