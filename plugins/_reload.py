"""Hot reload: a changed file is judged whole, and takes effect in one step or not at all.

The new configuration is loaded and completed while the old one serves; then everything swaps,
between two turns of the event loop, and the ledger is told the limits that are in force now. A file
with problems, or one that asks for what only a start can do, changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from router_config import Config, ConfigError, load

__all__ = ["EVERY_S", "Reloader", "Word", "restart_needed"]

log = logging.getLogger("qwen3_router.reload")

# How often the file is looked at; a change counts once it was seen twice, so that a half-written
# file is not taken for a whole one.
EVERY_S = 1.0

_SHOWN_PROBLEMS = 20
# What LiteLLM takes from its sections while it runs; all else it reads at the start.
_LIVE_ROUTER_SETTINGS = frozenset({"fallbacks", "default_fallbacks", "model_group_alias"})
_LIVE_SECTIONS = frozenset({"model_list", "embedding_router", "router_settings"})


@dataclass(frozen=True, slots=True)
class Word:
    """What this process says of its configuration.

    *sha256* is of the file in force, *seen* of the newest file; *ok* tells that the last look ended
    well. *problems* are lines for the operator, *at* is when it was said (seconds since 1970).
    """

    sha256: str
    seen: str
    ok: bool
    problems: tuple[str, ...]
    at: float


def restart_needed(old: Config, new: Config) -> list[str]:
    """Return what differs between *old* and *new* that only a new start can put in force."""
    before, after = old.raw, new.raw
    found = [
        name
        for name in sorted(before.keys() | after.keys())
        if name not in _LIVE_SECTIONS and before.get(name) != after.get(name)
    ]
    found += [
        f"router_settings.{name}"
        for name in _differing(before.get("router_settings"), after.get("router_settings"))
        if name not in _LIVE_ROUTER_SETTINGS
    ]
    if old.ledger != new.ledger:
        found.append("embedding_router.ledger")
    return found


def _differing(before: object, after: object) -> list[str]:
    one = before if isinstance(before, Mapping) else {}
    two = after if isinstance(after, Mapping) else {}
    return [name for name in sorted({*one, *two}) if one.get(name) != two.get(name)]


class Reloader:
    """Watches the file *path* for one process.

    *current* gives the configuration in force. *stage* completes a new one and returns what puts it
    in force, without waiting for anything; what *stage* or that raises leaves the old one in force.
    *follow* is called afterwards, and must not raise.
    """

    def __init__(
        self,
        path: Path,
        current: Callable[[], Config],
        stage: Callable[[Config], Awaitable[Callable[[], None]]],
        follow: Callable[[], Awaitable[None]],
        *,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.path = path
        self._current = current
        self._stage = stage
        self._follow = follow
        self._wall = wall
        self._looking = asyncio.Lock()
        self._tasks: set[asyncio.Task[Word]] = set()
        self._mark: Any = None
        self._once = ""
        self.word = Word(current().sha256, current().sha256, True, (), wall())

    async def look(self) -> None:
        """Take the file if it has changed and lies still: the job of the background."""
        mark = await asyncio.to_thread(self._stat)
        if mark == self._mark and self._once == self.word.seen:
            return
        sha256 = await asyncio.to_thread(self._hash)
        if sha256 == self.word.seen:
            self._mark, self._once = mark, sha256
        elif sha256 == self._once:
            self._mark = mark
            await self.reload()
        else:
            self._once = sha256

    def on_hangup(self) -> None:
        """Reload on SIGHUP, if the running event loop may handle signals of this process."""
        # Not in a thread, and not on every system; the file is watched all the same.
        with contextlib.suppress(ValueError, RuntimeError, NotImplementedError, AttributeError):
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._hangup)

    def _hangup(self) -> None:
        task = asyncio.get_running_loop().create_task(self.reload())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def reload(self) -> Word:
        """Take the file as it is now, and return what is to be said of it."""
        async with self._looking:
            try:
                self.word = await self._take()
            except ConfigError as error:
                self._refuse("it has problems", [str(one) for one in error.problems])
            except OSError as error:
                self._refuse("it cannot be read", [f"{self.path}: {error.strerror}"])
            except _Restart as error:
                self._refuse("restart needed", [f"{name} has changed" for name in error.args])
            except Exception as error:
                # Whatever it was, the running configuration serves on.
                self._refuse("it cannot be put in force", [str(error) or type(error).__name__])
            self._once = self.word.seen
            return self.word

    async def _take(self) -> Word:
        old = self._current()
        new = await asyncio.to_thread(load, self.path)
        if new.sha256 == old.sha256 and new.since <= old.since:
            await self._follow()
            return Word(old.sha256, old.sha256, True, (), self._wall())
        changed = restart_needed(old, new)
        if changed:
            raise _Restart(*changed)
        put_in_force = await self._stage(new)
        put_in_force()
        await self._follow()
        for problem in new.warnings:
            log.warning("%s", problem)
        log.info("configuration %s is in force, in place of %s", new.sha256[:12], old.sha256[:12])
        return Word(new.sha256, new.sha256, True, (), self._wall())

    def _refuse(self, why: str, problems: list[str]) -> None:
        in_force = self._current().sha256
        try:
            seen = self._hash()
        except OSError:
            seen = ""
        log.error(
            "the changed configuration is not taken, %s; the running one (%s) stays:\n  %s",
            why,
            in_force[:12],
            "\n  ".join(problems[:_SHOWN_PROBLEMS]),
        )
        shown = (why, *problems[:_SHOWN_PROBLEMS])
        self.word = Word(in_force, seen, False, shown, self._wall())

    def _stat(self) -> object:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return (found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev)

    def _hash(self) -> str:
        try:
            return hashlib.sha256(self.path.read_bytes()).hexdigest()
        except OSError:
            return ""


class _Restart(Exception):
    """Only a new start can put the file in force; the arguments are what has changed."""
