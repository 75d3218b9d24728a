"""This process's end of the shared notes: says what is new here, hears what others say.

Nothing waits for it: a note is put down and sent at the next step, and what others wrote is handed
to whoever watches. While the store is away all goes on with what this process knows; what was said
here is said again when the store is back, or when it has lost its data.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable

from plugins._shared import Shared, SharedAwayError

__all__ = ["STEP_S", "Notes"]

log = logging.getLogger("qwen3_router.shared")

# How often: what one process sees holds in the others within a second.
STEP_S = 0.3
_CLOCK_EVERY_S = 30.0
_REPAIR_EVERY_S = 10.0
_ROUNDS = 3
# Less is the noise of asking, and no reason to shift a time that was noted here.
_SAME_CLOCK_S = 0.2

Told = Callable[[str, "bytes | None"], None]


class Notes:
    """The notes of one process in *shared*, under the process's name *me*.

    *wall* is seconds since 1970 and *clock* monotonic seconds.
    """

    def __init__(
        self,
        shared: Shared,
        me: str,
        *,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.me = me
        self.is_away = False
        self._shared = shared
        self._wall = wall
        self._clock = clock
        self._watchers: list[tuple[str, Told]] = []
        self._keepers: list[tuple[Callable[[], Iterable[str]], Callable[[str], None]]] = []
        self._unsent: dict[str, bytes | None] = {}
        self._mine: dict[str, bytes | None] = {}
        self._version = 0
        self._offset_s = 0.0
        self._clock_at: float | None = None
        self._repair_at: float | None = None

    def watch(self, prefix: str, told: Told) -> None:
        """Call *told* with name and value of each note under *prefix* that another wrote.

        The value is None for a note that was deleted. What waits to be said under the same name
        is said after that, unless it is dropped.
        """
        self._watchers.append((prefix, told))

    def keep(self, kept: Callable[[], Iterable[str]], again: Callable[[str], None]) -> None:
        """Call *again* with each name of *kept* whose note the store does not have any more."""
        self._keepers.append((kept, again))

    def put(self, name: str, value: bytes | None) -> None:
        """Write or delete a note at the next step."""
        self._unsent.pop(name, None)  # the last place in the line
        self._unsent[name] = value

    def drop(self, name: str) -> None:
        """Leave unsaid what waits to be said under *name*: another's word holds."""
        self._unsent.pop(name, None)

    def ahead_s(self) -> float:
        """Return how far the store's clock is ahead of this machine's."""
        return self._offset_s

    def to_store(self, wall_s: float) -> float:
        """Return a time of this machine's clock by that of the store."""
        return wall_s + self._offset_s

    def from_store(self, store_s: float) -> float:
        """Return a time of the store's clock by that of this machine."""
        return store_s - self._offset_s

    async def lease(self, name: str, ttl_s: float) -> bool:
        """Tell whether this process has the lease *name*, and take or renew it.

        While the store is away nobody can know: then each process stands for itself.
        """
        try:
            return await self._shared.lease(name, self.me, ttl_s)
        except SharedAwayError as error:
            self._lose(error)
            return True

    async def step(self) -> None:
        """Say what is new here and hear what is new elsewhere."""
        try:
            await self.set_clock()
            await self._repair()
            for _ in range(_ROUNDS):
                self._version, changed = await self._shared.since(self._version)
                self._hear(changed)
                if await self._send():
                    break
        except SharedAwayError as error:
            self._lose(error)
            return
        if self.is_away:
            self.is_away = False
            log.warning("the shared notes are back")

    async def close(self) -> None:
        """Say what is unsaid, if the store can be reached, and let go of it."""
        if self._unsent and not self.is_away:
            await self.step()
        await self.hang_up()

    async def hang_up(self) -> None:
        """Let go of the store; the next step takes it up again."""
        await self._shared.close()

    async def set_clock(self) -> None:
        """Compare the clocks, now and then. Raises `SharedAwayError`."""
        now = self._clock()
        if self._clock_at is not None and now - self._clock_at < _CLOCK_EVERY_S:
            return
        offset_s = await self._shared.now() - self._wall()
        self._offset_s = offset_s if abs(offset_s) > _SAME_CLOCK_S else 0.0
        self._clock_at = now

    async def _send(self) -> bool:
        """Say what is unsaid; False if another has said something of the same since."""
        for name, value in list(self._unsent.items()):
            if not await self._shared.put(name, value, seen=self._version):
                return False
            self._mine[name] = value
            if self._unsent.get(name) is value:
                self._unsent.pop(name, None)
        return True

    def _hear(self, changed: dict[str, bytes | None]) -> None:
        for name, value in changed.items():
            if name in self._mine:
                if self._mine[name] == value:
                    continue
                del self._mine[name]
            for prefix, told in self._watchers:
                if name.startswith(prefix):
                    told(name, value)

    async def _repair(self) -> None:
        """Say again what was said here and is gone: the store may have lost its data."""
        now = self._clock()
        if self._repair_at is not None and now - self._repair_at < _REPAIR_EVERY_S:
            return
        self._repair_at = now
        _, found = await self._shared.since(0)
        for name, value in list(self._mine.items()):
            if value is None:
                del self._mine[name]
            elif name not in found:
                self._unsent.setdefault(name, value)
        for kept, again in self._keepers:
            for name in kept():
                if found.get(name) is None and name not in self._unsent:
                    again(name)

    def _lose(self, error: SharedAwayError) -> None:
        if not self.is_away:
            self.is_away = True
            log.warning("the shared notes are away, this process goes on alone: %s", error)
