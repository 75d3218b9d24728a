"""What a request need not ask for: vectors of the cache, and those that another one is fetching.

    known → taken at once · under way for somebody else → waited for · the rest → asked for

Who asks pays, from its own budgets and with its own attempts; who follows or finds pays nothing and
makes no wire call. A request whose leader failed asks for itself and follows nobody again, so that
a text that cannot be served costs each no more than it would alone. Nobody waits for longer than
half of the time that is left to it.

What is known or comes is handed out only where the request itself could have used the endpoint that
it is of: same group and vector space (both are in the name of an entry), and the endpoint proven as
the group wants it, now. A key with a region gets only what was computed there: its texts would
never have left, but a vector from elsewhere would not be what was promised.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Hashable, Sequence

import numpy as np
import numpy.typing as npt

from plugins._cache import Cache, Entry
from plugins._flights import Flights, Follower
from plugins._plan import Plan
from plugins._pool import Candidate
from plugins._standing import Standing
from router_config import Cache as Settings
from router_config import Group

__all__ = ["Share", "Sharing"]

log = logging.getLogger("qwen3_router.cache")

Matrix = npt.NDArray[np.float32]
_PATIENCE = 0.5


class Sharing:
    """The cache and the flights of one process; *clock* is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.cache: Cache | None = None
        self.flights = Flights()
        self._clock = clock
        self._max_bytes = 0
        self._quarantined: set[str] = set()

    def use(self, settings: Settings) -> None:
        """Keep as much as *settings* say; what is known stays if that did not change."""
        max_bytes = settings.max_mb * 1024 * 1024 if settings.enabled else 0
        if max_bytes == self._max_bytes:
            return
        self._max_bytes = max_bytes
        self.cache = Cache(max_bytes) if max_bytes else None
        self.flights = Flights()  # names of texts are those of a cache
        for endpoint in self._quarantined:
            self._ban(endpoint)

    def entries(self) -> float:
        """Return how many vectors are known."""
        return len(self.cache) if self.cache is not None else 0

    def used_bytes(self) -> float:
        """Return how much memory they take."""
        return self.cache.used_bytes if self.cache is not None else 0

    def on_standing(self, endpoint: str, standing: Standing | None) -> None:
        """Drop what a quarantined endpoint gave, and take it again once it is well."""
        if standing is not None and standing.kind == "quarantined":
            self._quarantined.add(endpoint)
            self._ban(endpoint)
        elif endpoint in self._quarantined:
            self._quarantined.discard(endpoint)
            if self.cache is not None:
                self.cache.allow(endpoint)

    def _ban(self, endpoint: str) -> None:
        gone = self.cache.ban(endpoint) if self.cache is not None else 0
        if gone:
            log.info("%d vectors of the quarantined endpoint %s left the cache", gone, endpoint)

    def of(self, plan: Plan, group: Group, space: str) -> Share | None:
        """Return *plan*'s part in it, None if it must not have one.

        *space* names the vector space that *group* has now. Groups share nothing with each other:
        they may differ in their space, and in where they compute.
        """
        if self.cache is None or not group.cache or plan.asked.no_store:
            return None
        return Share(plan, f"{group.name} {space}", self.cache, self.flights, self._clock)


class Share:
    """One request's part: fills its plan, and the cache with what its plan was given."""

    def __init__(
        self, plan: Plan, space: str, cache: Cache, flights: Flights, clock: Callable[[], float]
    ) -> None:
        self._plan = plan
        self._cache = cache
        self._flights = flights
        self._clock = clock
        self._form = (plan.dimensions, plan.asked.encoding)
        self._keys = {i: cache.key(space, plan.texts[i]) for i in plan.missing()}
        self._places = {self._flight(i): i for i in self._keys}
        self._found: dict[int, Entry] = {}
        self._known: set[int] = set()
        self._leads: set[int] = set()
        self._alone: set[int] = set()

    async def complete(
        self, serve: Callable[[], Awaitable[None]], has_left: Callable[[], bool]
    ) -> None:
        """Fill the plan; *serve* asks for what it is missing, or raises.

        *has_left* tells whether the client is gone, so that followers are not told of a failure.

        Raises: what *serve* raises.
        """
        plan = self._plan
        self._find()
        if not plan.missing():
            return
        plan.on_accept = self._accepted
        follower = Follower(self._came)
        until: float | None = None
        try:
            while True:
                self._claim(follower)
                if plan.missing():
                    await self._ask(serve, has_left)
                if not follower.waiting and not follower.lost:
                    return
                if until is None:
                    now = self._clock()
                    until = now + _PATIENCE * max(0.0, plan.left_s(now))
                await self._wait(follower, until)
        finally:
            self._flights.leave(follower)
            plan.on_accept = lambda *_: None

    def keep_printed(self, pieces: Sequence[bytes]) -> None:
        """Keep the JSON of vectors that were asked for before; *pieces* are those of the reply."""
        for i, entry in self._found.items():
            self._cache.keep_printed(entry, self._form, pieces[i])

    def hits(self) -> int:
        """Return how many inputs were not asked for because they were known or under way."""
        repeats = self._plan.repeats
        return sum(repeats.get(i, i) in self._known for i in range(len(self._plan.texts)))

    def header(self) -> str:
        """Return what the cache did: HIT, MISS or PARTIAL n/m, in inputs."""
        count, known = len(self._plan.texts), self.hits()
        if known == count:
            return "HIT"
        return f"PARTIAL {known}/{count}" if known else "MISS"

    def _flight(self, i: int) -> Hashable:
        return self._keys[i], self._plan.region

    def _find(self) -> None:
        plan = self._plan
        rest: dict[int, Entry] = {}
        unfit = functools.cache(plan.unfit)  # many texts, few endpoints
        for i, key in self._keys.items():
            entry = self._cache.find(key, plan.region, unfit)
            if entry is None:
                continue
            self._known.add(i)
            piece = self._cache.printed(entry, self._form)
            if piece is not None:
                plan.take_piece(i, piece, entry.deployment)
            else:
                rest[i] = entry
        if rest:
            rows = self._cache.rows(list(rest.values()))
            for deployment in dict.fromkeys(one.deployment for one in rest.values()):
                which = [k for k, one in enumerate(rest.values()) if one.deployment == deployment]
                indices = list(rest)
                plan.take([indices[k] for k in which], rows[which], deployment)
            self._found = rest

    def _claim(self, follower: Follower) -> None:
        """Lead what nobody leads, and leave to others what they do."""
        plan = self._plan
        if follower.lost:
            plan.take_back([self._places[one] for one in follower.lost])
            self._alone.update(self._places[one] for one in follower.failed)
            follower.left.clear()
            follower.failed.clear()
        theirs = []
        for i in plan.missing():
            if self._flights.lead(self._flight(i)):
                self._leads.add(i)
            elif i not in self._alone:
                self._flights.follow(self._flight(i), follower)
                theirs.append(i)
        plan.leave(theirs)

    async def _ask(
        self, serve: Callable[[], Awaitable[None]], has_left: Callable[[], bool]
    ) -> None:
        failed = False
        try:
            await serve()
        except Exception:
            failed = not has_left()
            raise
        finally:
            self._flights.give_up(map(self._flight, self._leads), failed=failed)
            self._leads.clear()

    async def _wait(self, follower: Follower, until: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, until - self._clock())):
                await follower.settled()
        except TimeoutError:
            late = set(follower.waiting)
            self._flights.leave(follower)
            follower.failed.update(late)

    def _accepted(self, indices: Sequence[int], rows: Matrix, candidate: Candidate) -> None:
        self._cache.keep(
            [self._keys[i] for i in indices],
            rows,
            endpoint=candidate.endpoint.key,
            deployment=candidate.id,
            region=candidate.region,
        )
        for i, row in zip(indices, rows, strict=True):
            if i in self._leads:
                self._leads.discard(i)
                self._flights.land(self._flight(i), row, candidate.id)

    def _came(self, flight: Hashable, row: npt.NDArray[np.float32], deployment: str) -> None:
        i = self._places[flight]
        self._known.add(i)
        self._plan.take([i], row[np.newaxis], deployment)
