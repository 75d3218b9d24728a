"""What a running fleet knows about its deployments, read from the notes of its processes."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from plugins._fleet import Seen
    from plugins._notes import Notes
    from plugins._said import Said
    from plugins._shared import Shared
    from plugins._standing import Standing
    from router_config import Config

__all__ = ["Known", "keys_here", "known_to", "read_fleet", "with_notes"]

_T = TypeVar("_T")


@dataclass(frozen=True)
class Known:
    """What the notes say; times are by this machine's clock, seconds since 1970.

    *processes* says of each whether it makes the probes. *keys* are endpoint keys by deployment id:
    of the running fleet, and of what this environment can tell. *said* is where the standings come
    from, by the store's clock, which is *ahead_s* ahead; *version* is that of the newest note.
    *unread* is why nothing was read.
    """

    now: float
    standings: Mapping[str, Standing] = field(default_factory=dict)
    seen: Mapping[str, Seen] = field(default_factory=dict)
    processes: Mapping[str, bool] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)
    said: Mapping[str, Said] = field(default_factory=dict)
    version: int = 0
    ahead_s: Callable[[], float] = lambda: 0.0
    unread: str | None = None

    def standing(self, deployment: str) -> Standing | None:
        """Return what is known of the deployment's endpoint, None if it is simply fine."""
        return self.standings.get(self.keys.get(deployment, ""))

    def keeps_out(self, deployment: str) -> str | None:
        """Return why requests pass the deployment over, None if one may call it, be it to try."""
        standing = self.standing(deployment)
        if standing is None or not standing.is_out:
            return None
        tried = standing.kind == "ejected" and not standing.is_closed and standing.until is not None
        return None if tried and (standing.until or 0.0) <= self.now else standing.words()

    def sharing(self, key: str) -> list[str]:
        """Return the deployments of one endpoint."""
        return [id_ for id_, one in self.keys.items() if one == key]


def with_notes(config: Config, use: Callable[[Shared], Awaitable[_T]]) -> _T:
    """Run *use* with the notes of *config*.

    Raises:
        SharedAwayError: the store cannot be reached.
        LedgerUnfit: the variable that names it is not set.
    """
    import asyncio

    from plugins._shared_open import open_shared

    async def run() -> _T:
        shared = open_shared(config.ledger, os.environ)
        try:
            return await use(shared)
        finally:
            await shared.close()

    return asyncio.run(run())


def read_fleet(config: Config) -> Known:
    """Return what the processes on *config* know; nothing is made by looking."""
    from plugins._ledger import LedgerUnavailable
    from plugins._ledger_open import sqlite_path
    from plugins._shared import SharedAwayError
    from plugins._shared_open import beside

    keys = keys_here(config)
    try:
        path = sqlite_path(config.ledger, os.environ)
        if path is not None and not beside(path).exists():
            return Known(time.time(), keys=keys)
        slow_start_s = config.health.slow_start_s
        return with_notes(config, lambda shared: known_to(shared, keys, slow_start_s))
    except (SharedAwayError, LedgerUnavailable) as error:
        return Known(time.time(), keys=keys, unread=str(error))


async def known_to(shared: Shared, keys: Mapping[str, str], slow_start_s: float) -> Known:
    """Read everything; *keys* are those that this environment can tell."""
    from plugins import _fleet
    from plugins._notes import Notes

    notes = Notes(shared, "command line")
    await notes.set_clock()
    version, found = await shared.since(0)
    now = time.time()
    store_now = notes.to_store(now)
    said = _said(found)
    standings = {key: one.standing(store_now, slow_start_s) for key, one in said.items()}
    return Known(
        now,
        {key: one.shifted(-notes.ahead_s()) for key, one in standings.items() if one is not None},
        {key: _here(one, notes) for key, one in _fleet.seen(found, store_now).items()},
        _fleet.processes(found, store_now),
        {**keys, **_fleet.endpoints(found, store_now)},
        said,
        version,
        notes.ahead_s,
    )


def _said(found: Mapping[str, bytes | None]) -> dict[str, Said]:
    from plugins._said import Said
    from plugins._standings import PREFIX

    said = {}
    for name, value in found.items():
        if name.startswith(PREFIX) and value is not None:
            with contextlib.suppress(ValueError):  # of another release
                said[name.removeprefix(PREFIX)] = Said.from_json(value)
    return said


def _here(one: Seen, notes: Notes) -> Seen:
    last_at = None if one.last_at is None else notes.from_store(one.last_at)
    probe_at = None if one.probe_at is None else notes.from_store(one.probe_at)
    return replace(one, last_at=last_at, probe_at=probe_at)


def keys_here(config: Config) -> dict[str, str]:
    """Return the endpoint key of every deployment that is on in this environment, by its id."""
    from plugins._pool import build

    pool = build(config, os.environ)
    return {one.id: one.endpoint.key for group in pool.values() for one in group if one.off is None}
