"""Proof that all deployments of a group give vectors of one space: when, by whom, and what follows.

One process of the fleet asks, by a lease; results and the space that was found are notes for all,
so that a process which has just started knows them and asks nobody again. Who fails is quarantined
with the reason; who passes again comes back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from plugins._attempt import Transport, Watcher
from plugins._health import Health
from plugins._ledger import Budget
from plugins._notes import Notes
from plugins._parity_ask import Asker
from plugins._parity_bars import Bars
from plugins._parity_judge import Reading, Verdict, find, judge
from plugins._parity_reference import Reference, from_note, to_note
from plugins._parity_result import Result
from plugins._parity_spaces import Space, Spaces
from plugins._parity_texts import CALLS
from plugins._pool import Candidate
from plugins._snapshot import Snapshot

__all__ = ["BUDGET", "EVERY_S", "PREFIX", "Parity"]

log = logging.getLogger("qwen3_router.parity")

EVERY_S = 2.0
"""How often `tick` looks whether somebody is due."""

BUDGET = "quota:parity"
"""What holds the day's tokens of all probes and samples."""

PREFIX = "parity:"
"""Of the names of all notes here."""

_SPACE = PREFIX + "space:"
_LEASE_S = 60.0
# What has answered by then is judged, so that one slow server keeps nobody else waiting.
_FIRST_S = 12.0
_RENEW_S = 20.0
_AT_ONCE = 8
# The long text is most of what a round costs, and what it shows rarely changes.
_LONG_EVERY_S = 7 * 86_400.0


class Parity:
    """The proofs of one process; *clock* is monotonic, *wall* since 1970, in seconds.

    *wire* gives the transport of the running event loop; *watchers* see every call, as they see
    those for clients.
    """

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        health: Health,
        notes: Notes,
        *,
        wire: Callable[[], Transport],
        watchers: Sequence[Watcher],
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._snapshot = snapshot
        self._health = health
        self._notes = notes
        self._wire, self._watchers = wire, watchers
        self._clock, self._wall = clock, wall
        self._found: dict[str, Reference] = {}
        self._suspects: set[str] = set()
        self._of: Snapshot | None = None
        self._spaces_of: Spaces | None = None
        self.bars = Bars(health, notes, self._spaces)
        notes.watch(_SPACE, self._hear)

    # -- what a request is told

    def unproven(self, candidate: Candidate) -> str | None:
        """Return why parity keeps *candidate* out of requests to its group, or None."""
        return self.bars.unfit(candidate.endpoint.key, candidate.group)

    # -- what happens beside the requests

    async def tick(self) -> None:
        """Ask those that are due, if nobody else of the fleet does; hold what is known."""
        self.bars.enforce()
        if not self.due():
            return
        await self._notes.step()  # what others found, before anything is spent
        due = self.due()
        if due and await self._notes.lease("parity", _LEASE_S):
            try:
                await self.run(due, leads=True)
                self.bars.enforce()
                await self._notes.step()
            finally:
                await self._notes.lease("parity", 0)

    def due(self) -> list[str]:
        """Return the keys of the endpoints whose proof is missing, old or in doubt."""
        spaces, now = self._spaces(), self._wall()
        every_s = self._snapshot().config.proving.every_h * 3600
        return [
            key
            for key, needed in spaces.needed.items()
            if self._may_be_asked(key)
            and (key in self._suspects or _is_due(self.results.get(key), needed, now, every_s))
        ]

    async def run(
        self, keys: Sequence[str], calls: Sequence[str] | None = None, *, leads: bool = False
    ) -> dict[str, Reading]:
        """Ask the endpoints *keys* now and judge them; *calls* are those of the probe texts.

        Who *leads* ends when another process has taken the lease meanwhile.
        """
        spaces, asker, turns = self._spaces(), self.asker(), asyncio.Semaphore(_AT_ONCE)
        began: dict[str, float] = {}

        async def ask(key: str) -> Reading:
            async with turns:
                began[key] = self._wall()
                return await asker.read(spaces.members[key], calls or self._calls(key))

        tasks = [asyncio.create_task(ask(key)) for key in keys if key in spaces.members]
        readings: dict[str, Reading] = {}
        try:
            wait_s = _FIRST_S
            while tasks:
                done, _ = await asyncio.wait(tasks, timeout=wait_s)
                tasks = [task for task in tasks if task not in done]
                if wait_s == _FIRST_S or done:
                    new = {one.key: one for one in (task.result() for task in done)}
                    self._conclude(spaces, new, began)
                    readings |= new
                wait_s = _RENEW_S
                if tasks and not await self._notes.lease("parity", _LEASE_S) and leads:
                    log.warning("parity: another process has taken over; it asks the rest")
                    break
        finally:
            for task in tasks:
                task.cancel()
        return readings

    def suspect(self, keys: Iterable[str]) -> None:
        """Have the endpoints *keys* asked at the next tick: their vectors did not agree."""
        self._suspects.update(keys)

    def accuse(self, key: str, witness: str, group: str, words: str) -> None:
        """Have the endpoint *key* out, which cannot be asked, if *witness* passes in *group*."""
        self.bars.accuse(key, group, witness, self._wall(), words)

    def asker(self) -> Asker:
        """Return how endpoints are asked, at the cost of the account and of the day's tokens."""
        most = self._snapshot().config.proving.tokens_per_day
        budgets = (Budget(BUDGET, "day", tokens=most),)
        return Asker(self._wire, self._watchers, budgets, self._clock, self._wall)

    def reference(self, space: Space) -> Reference | None:
        """Return what vectors are held against: the recorded reference, else what was found."""
        return space.reference or self._found.get(space.id)

    @property
    def results(self) -> dict[str, Result]:
        """The last result of each endpoint, by its key, whichever process asked."""
        return self.bars.results

    def cosines(self) -> dict[str, float]:
        """Return the least cosine of each endpoint's last proof, by endpoint key."""
        found = {}
        for key, result in self.results.items():
            known = [one.cosine for one in result.verdicts.values() if one.cosine is not None]
            if known:
                found[key] = min(known)
        return found

    @property
    def spaces(self) -> Spaces:
        """The spaces of the configuration in force."""
        return self._spaces()

    # -- inside

    def _conclude(
        self, spaces: Spaces, readings: Mapping[str, Reading], began: Mapping[str, float]
    ) -> None:
        """Judge what was read, keep and share it, and let health know.

        What another process has asked for since these calls *began* says more than they do.
        """
        me = self._notes.me
        known = {key: one for key, one in self.results.items() if one.gap is None and one.by != me}
        readings = {
            key: one
            for key, one in readings.items()
            if key not in known or known[key].at <= began[key]
        }
        for space in {one.id: one for one in spaces.of_group.values()}.values():
            if self.reference(space) is None:
                self._find(spaces, space, readings)
        for key, reading in readings.items():
            self._suspects.discard(key)
            self._tell_health(key, reading)
            self._keep(self._result(spaces, key, reading))

    def _find(self, spaces: Spaces, space: Space, readings: Mapping[str, Reading]) -> None:
        mine = [readings[key] for key in spaces.needed if key in readings]
        found = find([one for one in mine if space.id in spaces.needed[one.key]], space.terms)
        if found is None:
            return
        if found.warning is not None:
            log.warning("parity: %s", found.warning)
        self._found[space.id] = found.reference
        self._notes.put(_SPACE + space.id, to_note(found.reference))

    def _result(self, spaces: Spaces, key: str, reading: Reading) -> Result:
        now, before, gap = self._wall(), self.results.get(key), reading.gap
        needed = spaces.needed[key]
        verdicts: dict[str, Verdict] = {}
        if gap is not None and before is not None:
            verdicts = {id_: one for id_, one in before.verdicts.items() if id_ in needed}
        elif gap is None:
            verdicts = {
                id_: judge(reading, self.reference(space), space.terms)
                for id_, space in needed.items()
            }
        long_at = now if "long" in reading.rows else before.long_at if before else None
        tries = 1 if before is None or before.gap is None else before.tries + 1
        return Result(
            key,
            reading.deployment,
            now,
            self._notes.me,
            verdicts,
            long_at if gap is not None or all(one.passed for one in verdicts.values()) else None,
            gap,
            0 if gap is None else tries,
            reading.cost_nano_usd,
        )

    def _keep(self, result: Result) -> None:
        before = self.results.get(result.key)
        if result.gap is not None and before is not None and before.waived:
            result = replace(result, waived=True)  # it was asked, and nothing was found
        self.bars.keep(result)
        if result.gap is not None:
            log.info("parity: %s gave no answer to judge: %s", result.deployment, result.gap)
            return
        failed = self.bars.failed(result.key)
        if failed is not None:
            self.bars.quarantine(result.key, failed)
            return
        self._health.clear(result.key, by="parity")
        least = [one.cosine for one in result.verdicts.values() if one.cosine is not None]
        log.info(
            "parity: %s is proven (cosine %s)",
            result.deployment,
            f"{min(least):.4f}" if least else "-",
        )

    def _calls(self, key: str) -> list[str]:
        """Return what to send: the long text only once a week to who has read it."""
        result = self.results.get(key)
        read_at = None if result is None else result.long_at
        fresh = read_at is not None and self._wall() - read_at < _LONG_EVERY_S
        return [call for call in CALLS if call != "long" or not fresh]

    def _may_be_asked(self, key: str) -> bool:
        """Tell whether the endpoint is in, or out for parity, or waits for the probe texts.

        No request of a group that requires proof can try, and so bring back, one that was ejected
        before it was proven. Then the probe texts do, when its time is over.
        """
        standing = self._health.standing(key)
        if standing is None or not standing.is_out or standing.by == "parity":
            return True
        case, spaces = self._health.cases.get(key), self._spaces()
        return (
            case is not None
            and standing.kind == "ejected"
            and case.may_try(self._health.clock(), last=False)
            and any(
                self.bars.unfit(key, name) is not None
                for name in spaces.required
                if spaces.of_group[name].id in spaces.needed[key]
            )
        )

    def _tell_health(self, key: str, reading: Reading) -> None:
        """Have the answers count as probes of one that was ejected."""
        standing = self._health.standing(key)
        if standing is None or standing.kind != "ejected" or standing.is_closed:
            return
        fault = next(iter(reading.faults.values()), None)
        if fault is not None:
            self._health.probe_result(key, False, fault)
        elif reading.gap is None:
            for _ in reading.counts:
                self._health.probe_result(key, True)

    def _hear(self, name: str, value: bytes | None) -> None:
        """Take the space that another process found."""
        reference = None if value is None else from_note(value)
        if reference is not None:
            self._found[name.removeprefix(_SPACE)] = reference

    def _spaces(self) -> Spaces:
        snapshot = self._snapshot()
        if self._spaces_of is None or snapshot is not self._of:
            self._of = snapshot
            self._spaces_of = Spaces(snapshot.config, snapshot.pool, snapshot.references)
            self._release(self._spaces_of)
        return self._spaces_of

    def _release(self, spaces: Spaces) -> None:
        """Bring back whom parity took out and is not to judge any more."""
        for key, standing in self._health.standings().items():
            if standing.by == "parity" and key not in spaces.judged:
                self._health.clear(key, by="parity")


def _is_due(result: Result | None, needed: Mapping[str, Space], now: float, every_s: float) -> bool:
    if result is None:
        return True
    if result.gap is None and set(needed) - set(result.verdicts):
        return True  # the terms have changed, or the endpoint stands in another group too
    return now >= result.next_at(every_s)
