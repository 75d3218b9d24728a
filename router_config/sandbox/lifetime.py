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

__all__ = ["Lifetime"]

_LOOK_EVERY_S = 0.5


class Lifetime:
    """Watches for the end from the moment it is made, inside a running event loop."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        self._parent = os.getppid()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end.set)
        if _piped():
            # A thread, since a pipe shared with others must not be made non-blocking for them too.
            threading.Thread(target=self._read, args=[loop], daemon=True, name="stdin").start()

    async def ended(self) -> None:
        """Return when this process should end."""
        while not self._end.is_set() and os.getppid() == self._parent:
            try:
                await asyncio.wait_for(self._end.wait(), _LOOK_EVERY_S)
            except TimeoutError:
                continue

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        while os.read(0, 4096):
            pass
        loop.call_soon_threadsafe(self._end.set)


def _piped() -> bool:
    # A terminal or /dev/null says nothing about who started us.
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (AttributeError, OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
