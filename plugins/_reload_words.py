"""`qwen3-router reload`: one asks, and every process of the fleet gives its word.

The question is the note `reload:ask`; each process takes its file anew and answers with a note of
its own, `reload:word:<process>`.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from plugins._fleet import processes
from plugins._notes import Notes
from plugins._reload import Reloader
from plugins._shared import Shared, has_ended

__all__ = ["Words", "ask"]

_ASK = "reload:ask"
_WORD = "reload:word:"
_LOOK_EVERY_S = 0.1
# Less than a note may hold, however long the problems are.
_MOST_CHARS = 2000


class Words:
    """This process's answers, given through *notes*; *wall* is seconds since 1970."""

    def __init__(
        self, reloader: Reloader, notes: Notes, wall: Callable[[], float] = time.time
    ) -> None:
        self._reloader, self._notes, self._began = reloader, notes, wall()
        self._tasks: set[asyncio.Task[None]] = set()
        notes.watch(_ASK, self._hear)

    def leave(self) -> None:
        """Take the last word back: this process ends."""
        self._notes.put(_WORD + self._notes.me, None)

    def _hear(self, name: str, value: bytes | None) -> None:
        try:
            asked = orjson.loads(value or b"null")
            at, nonce = float(asked["at"]), str(asked["nonce"])
        except (orjson.JSONDecodeError, TypeError, KeyError, ValueError):
            return
        if at <= self._notes.to_store(self._began):
            return  # asked before this process was there
        task = asyncio.get_running_loop().create_task(self._answer(nonce))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, nonce: str) -> None:
        word = await self._reloader.reload()
        said = {
            "nonce": nonce,
            "ok": word.ok,
            "sha256": word.sha256,
            "problems": [one[:_MOST_CHARS] for one in word.problems],
        }
        self._notes.put(_WORD + self._notes.me, orjson.dumps(said))


async def ask(shared: Shared, timeout_s: float) -> dict[str, Mapping[str, Any] | None]:
    """Ask every process that shares *shared* to reload; return its word, None for no answer.

    Raises:
        SharedAwayError: the store cannot be reached.
    """
    version, notes = await shared.since(0)
    now = await shared.now()
    # One that was killed says no farewell, and counts as there for a while.
    there = sorted(name for name in processes(notes, now) if not has_ended(name))
    words: dict[str, Mapping[str, Any] | None] = dict.fromkeys(there)
    if not words:
        return words
    nonce = secrets.token_hex(8)
    await shared.put(_ASK, orjson.dumps({"nonce": nonce, "at": now}))
    ends = time.monotonic() + timeout_s
    while None in words.values() and time.monotonic() < ends:
        await asyncio.sleep(_LOOK_EVERY_S)
        version, changed = await shared.since(version)
        for name, value in changed.items():
            said = orjson.loads(value) if name.startswith(_WORD) and value else None
            if said and said["nonce"] == nonce:
                words[name.removeprefix(_WORD)] = said
            elif name.startswith("stats:") and value is None:  # it has ended meanwhile
                words.pop(name.removeprefix("stats:"), None)
    return words
