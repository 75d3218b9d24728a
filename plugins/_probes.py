"""Active probes: what brings an endpoint back, or finds it sick, without a client's request.

One process of a fleet makes them, by a lease in the shared notes. An endpoint that is out is asked
for its free signal first; that shows a server, not vectors, so it ends no ejection for more than a
refused connection. Vectors are asked for (one text of one token, held in the ledger like any call)
where they cost nothing, where there is no free signal, where none could show what was wrong, and
where a group has nobody else: its clients should not wait until one of them may try.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence

from plugins import _tokens
from plugins._attempt import Attempt, Transport, Watcher, attempt
from plugins._errors import Fault, ProviderFault, TurnedDown, Unavailable
from plugins._health import Health
from plugins._ledger import Budget
from plugins._notes import Notes
from plugins._pool import Candidate
from plugins._signals import listen

__all__ = ["LEASE", "LEASE_S", "STEP_S", "Probes"]

log = logging.getLogger("qwen3_router.probes")

STEP_S = 1.0
LEASE = "probes"
LEASE_S = 5.0
_TEXT = "a"
_SIGNAL_TIMEOUT_S = 5.0
_AT_ONCE = 16
# After this long an endpoint that could not be asked (no room in a budget) may be looked at again.
_NOT_ASKED_S = 30.0
# Shows that the server is there and takes calls; whether it still makes vectors, a request finds.
_REACHABLE = {str(one) for one in (Fault.TIMEOUT, Fault.OVERLOAD, Fault.SERVER, Fault.RESET)}
# As many failures in a row take an endpoint out, whatever their class.
_IN_A_ROW = 3


class Probes:
    """The probes of one process; `use` says of whom.

    *money*, *health* and *also* are the watchers of a call. *used* tells when an endpoint was last
    called by any process, as far as is known. *clock* is monotonic seconds, *wall* seconds since
    1970.
    """

    def __init__(
        self,
        health: Health,
        money: Watcher,
        notes: Notes,
        *,
        also: tuple[Watcher, ...] = (),
        transport: Callable[[], Transport],
        used: Callable[[str], float | None],
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._health, self._notes = health, notes
        self._books: tuple[Watcher, ...] = (money, *also)
        self._transport = transport
        self._used = used
        self._clock, self._wall = clock, wall
        self._budgets: tuple[Budget, ...] = ()
        self._idle_s = 0.0
        self._by_key: dict[str, list[Candidate]] = {}
        self._born = wall()
        self._looked: dict[str, float] = {}
        self._not_before: dict[str, float] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._count = 0
        self.leads = False

    def use(
        self,
        pool: Mapping[str, Sequence[Candidate]],
        budgets: tuple[Budget, ...],
        idle_s: float,
    ) -> None:
        """Look at the endpoints of *pool* from now on.

        *budgets* are those of the probes; a deployment's own come with it. *idle_s* is after how
        long without a call an endpoint is looked at, 0 for never.
        """
        self._budgets, self._idle_s = budgets, idle_s
        self._by_key = {}
        for one in (one for group in pool.values() for one in group):
            if one.off is None and one.endpoint.target is not None:
                self._by_key.setdefault(one.endpoint.key, []).append(one)

    async def step(self) -> None:
        """Look at whoever is due, if this process leads."""
        leads = await self._notes.lease(LEASE, LEASE_S)
        if leads != self.leads:
            self.leads = leads
            log.info("this process %s the probes of the fleet", "makes" if leads else "leaves")
        if not leads:
            return
        for key in self._health.due():
            self._begin(key, self._return_probe)
        for key in self._idle():
            self._looked[key] = self._wall()
            self._begin(key, self._idle_probe)

    async def settled(self) -> None:
        """Wait until nobody is being looked at."""
        while self._tasks:
            await asyncio.wait(self._tasks.values())

    async def aclose(self) -> None:
        """End the probes that are under way, and let another process lead."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.leads:
            self.leads = False
            await self._notes.lease(LEASE, 0)

    def _begin(self, key: str, probe: Callable[[str, list[Candidate]], object]) -> None:
        candidates = self._by_key.get(key)
        if candidates is None or key in self._tasks or len(self._tasks) >= _AT_ONCE:
            return
        if self._wall() < self._not_before.get(key, 0.0):
            return

        async def run() -> None:
            try:
                await probe(key, candidates)  # type: ignore[misc]
            except Exception as error:
                log.error("probe of %s failed (%s)", self._health.names(key), type(error).__name__)
                self._not_before[key] = self._wall() + _NOT_ASKED_S
            finally:
                self._tasks.pop(key, None)

        self._tasks[key] = asyncio.create_task(run())

    # -- of one that is out

    async def _return_probe(self, key: str, candidates: list[Candidate]) -> None:
        standing = self._health.standing(key)
        if standing is None:
            return
        try:
            good = await self._listen(candidates[0])
        except ProviderFault as fault:
            self._health.probe_result(key, False, fault, free=True)
            return
        if good and not candidates[0].is_free:
            # Whose vectors are not proven serves no client when it is back: parity asks it then.
            if standing.reason == Fault.CONNECT or self._is_unproven(candidates):
                self._health.probe_result(key, True)
                return
            if standing.reason in _REACHABLE and self._has_others(candidates):
                self._health.probe_result(key, True, free=True)
                return
        asked, failed = await self._embed(candidates, self._books)
        if asked:
            self._health.probe_result(key, failed is None, failed)
        elif good:
            self._health.probe_result(key, True, free=True)

    def _is_unproven(self, candidates: Sequence[Candidate]) -> bool:
        return all(self._health.unproven(one) is not None for one in candidates)

    def _has_others(self, candidates: Sequence[Candidate]) -> bool:
        """Tell whether each of their groups can wait until a request tries this one."""
        return all(self._health.has_anybody(one.group) for one in candidates)

    # -- of one that nobody uses

    def _idle(self) -> list[str]:
        if not self._idle_s:
            return []
        oldest = self._wall() - self._idle_s
        return [
            key
            for key in self._by_key
            if max(self._used(key) or 0.0, self._looked.get(key, self._born)) < oldest
            and self._health.standing(key) is None
        ]

    async def _idle_probe(self, key: str, candidates: list[Candidate]) -> None:
        try:
            if await self._listen(candidates[0]):
                return
        except ProviderFault:
            pass  # a call decides
        for _ in range(_IN_A_ROW):
            asked, fault = await self._embed(candidates, (self._health, *self._books))
            if not asked or fault is None or self._health.standing(key) is not None:
                return

    # -- one call

    async def _listen(self, candidate: Candidate) -> bool:
        timeout_s = min(_SIGNAL_TIMEOUT_S, candidate.timeout_s)
        return await listen(candidate.endpoint, self._transport(), timeout_s)

    async def _embed(
        self, candidates: Sequence[Candidate], watchers: Sequence[Watcher]
    ) -> tuple[bool, ProviderFault | None]:
        """Ask the first that has room for a vector: whether one was asked, and what went wrong."""
        if not self._count:
            (self._count,) = _tokens.count([_TEXT])
        for candidate in candidates:
            budgets = () if candidate.is_free else self._budgets
            what = Attempt(
                f"probe_{secrets.token_hex(6)}", candidate, None, budgets, 1, self._count
            )
            try:
                await attempt(
                    what,
                    [_TEXT],
                    [self._count],
                    timeout_s=candidate.attempt_timeout_s(self._count),
                    transport=self._transport(),
                    watchers=watchers,
                    clock=self._clock,
                    wall=self._wall,
                )
            except ProviderFault as fault:
                return True, fault
            except TurnedDown:
                continue
            except Unavailable:  # the budget of the probes
                break
            return True, None
        self._not_before[candidates[0].endpoint.key] = self._wall() + _NOT_ASKED_S
        return False, None
