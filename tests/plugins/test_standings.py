"""What one process finds out about an endpoint holds in the others, whatever their clocks say."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins._attempt import Attempt, Outcome
from plugins._errors import Fault, ProviderFault
from plugins._health import Health
from plugins._notes import Notes
from plugins._said import Said
from plugins._shared_sqlite import SqliteShared
from plugins._standing import Standing
from plugins._standings import PREFIX, Standings
from tests.plugins.plans import candidate
from tests.sizes import size

AT = 1_795_000_000.0
SICK, WELL = candidate("sick"), candidate("well")


class Process:
    """One process of a fleet, whose clock is *ahead_s* ahead of the store's."""

    def __init__(self, folder: Path, me: str, time: list[float], ahead_s: float = 0.0) -> None:
        def clock() -> float:
            return time[0] + ahead_s

        self.clock = clock
        self.shared = SqliteShared(folder / "shared.db", wall=lambda: time[0])
        self.notes = Notes(self.shared, me, wall=clock, clock=lambda: time[0])
        self.health = Health({"g": (SICK, WELL)}, clock=clock, draw=lambda: 0.5, me=me)
        Standings(self.health, self.notes)

    async def fails(self, fault: Fault, times: int = 3) -> None:
        for _ in range(times):
            what = Attempt("req", SICK, None, (), 1, 2)
            outcome = Outcome(ProviderFault(fault, "as the test says"), 0, 0, True, 10.0)
            await self.health.after(what, outcome)

    @property
    def kind(self) -> str | None:
        standing = self.health.standing(SICK.endpoint.key)
        return None if standing is None else standing.kind

    @property
    def left_s(self) -> float | None:
        standing = self.health.standing(SICK.endpoint.key)
        if standing is None or standing.until is None:
            return None
        return standing.until - self.clock()


def run(test: Callable[[list[float]], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await test([AT])

    asyncio.run(bounded())


async def step(*processes: Process) -> None:
    for one in processes:
        await one.notes.step()


@pytest.mark.parametrize("ahead_s", [-3600.0, -3.0, 0.0, 3.0, 3600.0])
def test_an_ejection_holds_in_the_other_for_as_long(tmp_path: Path, ahead_s: float) -> None:
    async def test(time: list[float]) -> None:
        one, other = Process(tmp_path, "one", time), Process(tmp_path, "other", time, ahead_s)
        await one.fails(Fault.SERVER)
        await step(one, other)
        assert (one.kind, other.kind) == ("ejected", "ejected")
        assert other.left_s == pytest.approx(one.left_s, abs=0.01)
        assert other.health.standing(WELL.endpoint.key) is None
        await step(one, other, one)
        assert (one.kind, other.kind) == ("ejected", "ejected")
        for process in (one, other):
            await process.shared.close()

    run(test)


def test_a_newcomer_knows_at_once_who_is_out(tmp_path: Path) -> None:
    async def test(time: list[float]) -> None:
        one = Process(tmp_path, "one", time)
        await one.fails(Fault.AUTH, 2)
        await step(one)
        await one.shared.close()  # and it ends
        newcomer = Process(tmp_path, "newcomer", time)
        await step(newcomer)
        assert newcomer.kind == "ejected"
        assert newcomer.left_s is None  # until it is mended
        await newcomer.shared.close()

    run(test)


def test_a_return_seen_by_one_is_one_for_all(tmp_path: Path) -> None:
    async def test(time: list[float]) -> None:
        one, other = Process(tmp_path, "one", time), Process(tmp_path, "other", time)
        await one.fails(Fault.SERVER)
        await step(one, other)
        time[0] += 20
        for _ in range(2):
            time[0] += 2
            other.health.probe_result(SICK.endpoint.key, True)
        assert other.kind == "returning"
        await step(other, one)
        assert one.kind == "returning"
        time[0] += 40
        assert (one.kind, other.kind) == (None, None)
        await step(one, other, one)
        assert (one.kind, other.kind) == (None, None)
        for process in (one, other):
            await process.shared.close()

    run(test)


def test_what_an_operator_says_is_not_overruled_by_what_a_call_shows(tmp_path: Path) -> None:
    async def test(time: list[float]) -> None:
        one, other = Process(tmp_path, "one", time), Process(tmp_path, "other", time)
        await step(one, other)
        key = SICK.endpoint.key
        # In one interval an operator drains it, and a process finds it failing.
        drained = Standing(key, "drained", "maintenance", AT, AT + 3600, 0, "operator")
        operator = SqliteShared(tmp_path / "shared.db", wall=lambda: time[0])
        await operator.put(PREFIX + key, Said.of(drained).to_json())
        await one.fails(Fault.SERVER)
        for _ in range(3):
            time[0] += 1
            await step(one, other)
        assert (one.kind, other.kind) == ("drained", "drained")
        # And back, for all at once.
        back = Standing(key, "returning", "maintenance", time[0], time[0] + 30, 0, "operator")
        await operator.put(PREFIX + key, Said.of(back).to_json())
        await step(one, other)
        assert (one.kind, other.kind) == ("returning", "returning")
        for shared in (one.shared, other.shared, operator):
            await shared.close()

    run(test)


def test_an_operator_brings_back_what_a_process_took_out_itself(tmp_path: Path) -> None:
    async def test(time: list[float]) -> None:
        one, other = Process(tmp_path, "one", time), Process(tmp_path, "other", time)
        await one.fails(Fault.AUTH, 2)
        await step(one, other)
        time[0] += 1
        key = SICK.endpoint.key
        back = Standing(key, "returning", "by hand", time[0], time[0] + 30, 0, "operator")
        operator = SqliteShared(tmp_path / "shared.db", wall=lambda: time[0])
        await operator.put(PREFIX + key, Said.of(back).to_json())
        await step(one, other)
        assert (one.kind, other.kind) == ("returning", "returning")
        for shared in (one.shared, other.shared, operator):
            await shared.close()

    run(test)


@pytest.mark.parametrize("note", [b"", b"{}", b"[1]", b"\xff", b'{"key": "sick"}'])
def test_a_note_of_another_release_changes_nothing(tmp_path: Path, note: bytes) -> None:
    async def test(time: list[float]) -> None:
        one = Process(tmp_path, "one", time)
        await one.fails(Fault.SERVER)
        await step(one)
        operator = SqliteShared(tmp_path / "shared.db", wall=lambda: time[0] + 1)
        await operator.put(PREFIX + SICK.endpoint.key, note)
        await operator.put(PREFIX + "an endpoint that nobody has", note)
        await step(one)
        assert one.kind == "ejected"
        for shared in (one.shared, operator):
            await shared.close()

    run(test)


# -- what must never get lost


def lose(folder: Path) -> None:
    """Let the store lose all that it has."""
    for path in folder.glob("shared.db*"):
        path.unlink()


@pytest.mark.parametrize("value", [None, b"{}"])
def test_a_deletion_at_the_same_moment_ends_no_quarantine(
    tmp_path: Path, value: bytes | None
) -> None:
    async def test(time: list[float]) -> None:
        one, other = Process(tmp_path, "one", time), Process(tmp_path, "other", time)
        await other.fails(Fault.RATE, 1)
        await step(other, one)
        time[0] += 11
        one.health.quarantine(SICK.endpoint.key, "parity: wrong space")
        await other.shared.put(PREFIX + SICK.endpoint.key, value)
        await step(one, one, other)
        assert (one.kind, other.kind) == ("quarantined", "quarantined")
        for process in (one, other):
            await process.shared.close()

    run(test)


@pytest.mark.parametrize("how", ["quarantined", "drained"])
def test_an_ejection_seen_by_a_third_at_the_same_moment_ends_no_order(
    tmp_path: Path, how: str
) -> None:
    async def test(time: list[float]) -> None:
        names = ("one", "other", "third")
        one, other, third = every = [Process(tmp_path, name, time) for name in names]
        if how == "quarantined":
            one.health.quarantine(SICK.endpoint.key, "parity: wrong space")
        else:
            one.health.eject(SICK.endpoint.key, 3600, drain=True)
        time[0] += 0.1
        await other.fails(Fault.SERVER)
        await step(other, third)  # which hears of the ejection first
        for _ in range(2):
            time[0] += 0.1
            await step(*every)
        assert [process.kind for process in every] == [how] * 3
        time[0] += 400  # the ejection's time is over, and it may be tried no more than before
        assert third.health.why_out(SICK, third.clock(), last=True) is not None
        for process in every:
            await process.shared.close()

    run(test)


def test_what_a_process_has_only_heard_it_says_again_when_the_store_has_lost_it(
    tmp_path: Path,
) -> None:
    async def test(time: list[float]) -> None:
        one, other = Process(tmp_path, "one", time), Process(tmp_path, "other", time)
        one.health.quarantine(SICK.endpoint.key, "parity: wrong space")
        await step(one, other)
        await one.shared.close()  # it ends, and then the store loses its data
        await other.shared.close()
        lose(tmp_path)
        time[0] += 60
        newcomer = Process(tmp_path, "newcomer", time)
        await step(other, newcomer)
        assert newcomer.kind == "quarantined"
        for process in (other, newcomer):
            await process.shared.close()

    run(test)


def test_an_endpoint_that_comes_into_the_file_later_is_known_by_what_was_said_of_it(
    tmp_path: Path,
) -> None:
    async def test(time: list[float]) -> None:
        one, other = Process(tmp_path, "one", time), Process(tmp_path, "other", time)
        other.health.use({"g": (WELL,)}, other.health.settings)
        one.health.quarantine(SICK.endpoint.key, "parity: wrong space")
        await step(one, other)
        other.health.use({"g": (SICK, WELL)}, other.health.settings)
        assert other.kind == "quarantined"
        for process in (one, other):
            await process.shared.close()

    run(test)


DEEDS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from(
            ["fail", "rest", "quarantine", "step", "step", "delete", "lose", "again", "reload"]
        ),
        st.floats(0, 20),
    ),
    max_size=20,
)


@settings(max_examples=size(25, 500), deadline=None)
@given(deeds=DEEDS, last=st.permutations(range(3)))
def test_no_quarantine_gets_lost_between_processes_whatever_befalls_their_notes(
    deeds: Sequence[tuple[int, str, float]], last: Sequence[int]
) -> None:
    key, folder = SICK.endpoint.key, Path(tempfile.mkdtemp(prefix="standings-"))

    async def test(time: list[float]) -> None:
        every = [Process(folder, f"p{number}", time, 7.0 * number) for number in range(3)]
        quarantined, old = False, None
        for who, deed, passed in deeds:
            time[0] += passed
            process = every[who]
            if deed == "fail":
                await process.fails(Fault.SERVER)
            elif deed == "rest":
                await process.fails(Fault.RATE, 1)
            elif deed == "quarantine":
                process.health.quarantine(key, "parity: wrong space")
                quarantined = True
            elif deed == "step":
                await process.notes.step()
                _, found = await process.shared.since(0)
                old = old or found.get(PREFIX + key)
            elif deed == "delete":
                await process.shared.put(PREFIX + key, None)
            elif deed == "again" and old is not None:
                await process.shared.put(PREFIX + key, old)  # an old note comes again
            elif deed == "reload":
                process.health.use({"g": (WELL,)}, process.health.settings)
                process.health.use({"g": (SICK, WELL)}, process.health.settings)
            elif deed == "lose":
                for other in every:
                    await other.shared.close()
                lose(folder)
        for _ in range(3):  # more than ten seconds apart: what is lost is said again
            time[0] += 11
            await step(*(every[number] for number in last))
        if quarantined:
            assert [process.kind for process in every] == ["quarantined"] * 3
        assert len({process.health.said(key) for process in every}) == 1
        for process in every:
            await process.shared.close()

    try:
        run(test)
    finally:
        shutil.rmtree(folder)
