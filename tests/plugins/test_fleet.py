"""What each process says that it has seen, and what comes of it together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import orjson
import pytest

from plugins import _fleet
from plugins._attempt import Attempt, Outcome
from plugins._errors import Fault, ProviderFault
from plugins._fleet import GONE_S, PREFIX, Fleet, Seen
from plugins._health import Health
from plugins._notes import Notes
from plugins._shared_sqlite import SqliteShared
from tests.plugins.plans import candidate

AT = 1_795_000_000.0
ONE, OTHER = candidate("one"), candidate("other")


class Process:
    """One process, whose clock is *ahead_s* ahead of the store's."""

    def __init__(self, folder: Path, me: str, time: list[float], ahead_s: float = 0.0) -> None:
        def clock() -> float:
            return time[0] + ahead_s

        self.clock = clock
        self.shared = SqliteShared(folder / "shared.db", wall=lambda: time[0])
        self.notes = Notes(self.shared, me, wall=clock, clock=lambda: time[0])
        pool = {"g": (ONE, OTHER)}
        self.health = Health(pool, clock=clock, draw=lambda: 0.5, me=me)
        self.leads = False
        self.fleet = Fleet(self.health, self.notes, lambda: self.leads, wall=clock)
        self.fleet.use(pool)

    async def call(self, seconds: float, times: int = 1, fault: Fault | None = None) -> None:
        failed = None if fault is None else ProviderFault(fault, "as the test says")
        for _ in range(times):
            what = Attempt("req", ONE, None, (), 1, 2)
            await self.health.after(what, Outcome(failed, 2, 0, True, seconds))

    async def step(self) -> None:
        await self.notes.step()
        await self.fleet.say()
        await self.notes.step()

    async def notes_there(self) -> dict[str, bytes | None]:
        return (await self.shared.since(0))[1]


def run(test: Callable[[list[float]], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await test([AT])

    asyncio.run(bounded())


def test_what_all_have_seen_is_put_together(tmp_path: Path) -> None:
    async def test(time: list[float]) -> None:
        a, b = Process(tmp_path, "a", time), Process(tmp_path, "b", time, ahead_s=3600)
        b.leads = True
        await a.call(0.2, 30)
        await b.call(0.4, 9)
        await b.call(0.5, 1, Fault.SERVER)
        for process in (a, b):
            await process.step()
        found = await a.notes_there()
        seen = _fleet.seen(found, time[0])["one"]
        assert (seen.calls, seen.success_rate) == (40, pytest.approx(39 / 40))
        assert seen.p50_s == pytest.approx((30 * 0.2 + 10 * 0.4) / 40)
        assert seen.p95_s == pytest.approx(0.4)
        assert seen.last_at == pytest.approx(AT, abs=0.01)  # by the store's clock
        assert _fleet.processes(found, time[0]) == {"a": False, "b": True}
        assert _fleet.endpoints(found, time[0]) == {"one": "one", "other": "other"}
        for process in (a, b):
            await process.shared.close()

    run(test)


def test_whoever_is_in_use_elsewhere_is_not_idle_here(tmp_path: Path) -> None:
    async def test(time: list[float]) -> None:
        a, b = Process(tmp_path, "a", time), Process(tmp_path, "b", time, ahead_s=-500)
        assert a.fleet.used("one") is None
        await b.call(0.1)
        await b.step()
        await a.step()
        assert a.fleet.used("one") == pytest.approx(a.clock(), abs=0.01)
        assert a.fleet.used("other") is None
        for process in (a, b):
            await process.shared.close()

    run(test)


def test_nothing_is_written_while_there_is_no_news_but_now_and_then(tmp_path: Path) -> None:
    async def test(time: list[float]) -> None:
        a = Process(tmp_path, "a", time)
        await a.step()
        version, _ = await a.shared.since(0)
        for _ in range(3):
            time[0] += 2
            await a.step()
        assert (await a.shared.since(0))[0] == version
        time[0] += 10
        await a.step()
        assert (await a.shared.since(0))[0] > version
        await a.shared.close()

    run(test)


def test_who_has_ended_is_forgotten_by_the_leader(tmp_path: Path) -> None:
    async def test(time: list[float]) -> None:
        a, dead, left = (Process(tmp_path, name, time) for name in ("a", "dead", "left"))
        for process in (dead, left, a):
            await process.call(0.1)
            await process.step()
        left.fleet.leave()
        await left.notes.step()
        assert set(_fleet.processes(await a.notes_there(), time[0])) == {"a", "dead"}
        time[0] += GONE_S + 1
        await a.step()
        assert set(_fleet.processes(await a.notes_there(), time[0])) == {"a"}
        assert (await a.notes_there())[PREFIX + "dead"] is not None  # only the leader tidies up
        a.leads = True
        await a.step()
        assert (await a.notes_there())[PREFIX + "dead"] is None
        for process in (a, dead, left):
            await process.shared.close()

    run(test)


@pytest.mark.parametrize(
    "note", [b"", b"[]", b'{"at": 1}', b'{"at": "x", "leads": 1, "ids": [], "keys": {"one": 1}}']
)
def test_a_note_of_another_release_is_left_out(tmp_path: Path, note: bytes) -> None:
    async def test(time: list[float]) -> None:
        a = Process(tmp_path, "a", time)
        odd = orjson.dumps({"at": AT, "leads": False, "ids": {}, "keys": {"one": ["many"] * 99}})
        await a.shared.put(PREFIX + "newer", note)
        await a.shared.put(PREFIX + "odd", odd)
        await a.call(0.1)
        await a.step()
        assert _fleet.seen(await a.notes_there(), AT)["one"].calls == 1
        assert a.fleet.used("one") == pytest.approx(AT, abs=0.01)
        await a.shared.close()

    run(test)


def test_nobody_has_seen_anything_at_first() -> None:
    assert _fleet.seen({}, AT) == {}
    assert Seen().calls == 0


def test_whose_endpoint_it_is_is_known_before_anything_is_said_of_it(tmp_path: Path) -> None:
    async def test(time: list[float]) -> None:
        a = Process(tmp_path, "a", time)
        order: list[str] = []
        watcher = Process(tmp_path, "w", time)
        watcher.notes.watch("", lambda name, value: order.append(name))
        await a.step()
        await watcher.notes.step()
        assert order == [f"{PREFIX}a"]
        new = candidate("new")
        a.fleet.use({"g": (ONE, OTHER, new)})  # a reload, and the new one fails at once
        a.notes.put("standing:new", b"{}")
        await a.notes.step()
        await watcher.notes.step()
        assert order[1:] == [f"{PREFIX}a", "standing:new"]
        found = await a.notes_there()
        assert _fleet.endpoints(found, time[0]) == {"one": "one", "other": "other", "new": "new"}
        for process in (a, watcher):
            await process.shared.close()

    run(test)
