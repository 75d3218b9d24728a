"""What one process notes another hears, and nobody waits while the store is away."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from plugins._notes import Notes
from plugins._shared import Shared, has_ended, process_name
from plugins._shared_redis import RedisShared
from plugins._shared_sqlite import SqliteShared
from tests.plugins.ledger_stores import redis_server

AT = 1_795_000_000.0


class Heard:
    """What a watcher was told, in order."""

    def __init__(self, notes: Notes, prefix: str = "") -> None:
        self.told: list[tuple[str, bytes | None]] = []
        notes.watch(prefix, lambda name, value: self.told.append((name, value)))

    def all(self) -> list[tuple[str, bytes | None]]:
        told, self.told = self.told, []
        return told


class Clock:
    """A clock that the test sets."""

    def __init__(self, at: float) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await test()

    asyncio.run(bounded())


def notes_of(shared: Shared, me: str, ahead_s: float = 0.0, clock: Clock | None = None) -> Notes:
    return Notes(shared, me, wall=lambda: AT + ahead_s, clock=clock or Clock(0.0))


def at_path(path: Path) -> SqliteShared:
    return SqliteShared(path, wall=lambda: AT)


def lose(folder: Path) -> None:
    for path in folder.glob("*"):
        path.unlink()


def test_each_hears_what_the_other_said_and_not_its_own(tmp_path: Path) -> None:
    async def test() -> None:
        one = notes_of(at_path(tmp_path / "notes.db"), "one")
        other = notes_of(at_path(tmp_path / "notes.db"), "other")
        here, there = Heard(one, "a:"), Heard(other, "a:")
        one.put("a:1", b"x")
        one.put("b:1", b"not watched")
        other.put("a:2", b"y")
        for _ in range(2):
            await one.step()
            await other.step()
        assert here.all() == [("a:2", b"y")]
        assert there.all() == [("a:1", b"x")]
        other.put("a:1", None)
        await other.step()
        await one.step()
        assert here.all() == [("a:1", None)]
        await one.close()
        await other.close()

    run(test)


def test_a_newcomer_hears_everything_at_its_first_step(tmp_path: Path) -> None:
    async def test() -> None:
        one = notes_of(at_path(tmp_path / "notes.db"), "one")
        one.put("a:1", b"x")
        await one.close()  # what is unsaid is said at the end
        newcomer = notes_of(at_path(tmp_path / "notes.db"), "newcomer")
        heard = Heard(newcomer)
        await newcomer.step()
        assert heard.all() == [("a:1", b"x")]
        await newcomer.close()

    run(test)


def test_of_two_words_on_one_name_the_last_one_holds_everywhere(tmp_path: Path) -> None:
    async def test() -> None:
        one = notes_of(at_path(tmp_path / "notes.db"), "one")
        other = notes_of(at_path(tmp_path / "notes.db"), "other")
        here, there = Heard(one), Heard(other)
        one.put("a", b"first")
        await one.step()
        other.put("a", b"second")
        await other.step()
        await one.step()
        assert here.all() == [("a", b"second")]
        assert there.all() == [("a", b"first")]
        await one.close()
        await other.close()

    run(test)


def test_what_another_said_is_heard_before_it_is_overruled(tmp_path: Path) -> None:
    async def test() -> None:
        one = notes_of(at_path(tmp_path / "notes.db"), "one")
        other = notes_of(at_path(tmp_path / "notes.db"), "other")
        one.put("a", b"an operator's word")
        one.put("b", b"another word")
        await one.step()
        heard: list[tuple[str, bytes | None]] = []

        def told(name: str, value: bytes | None) -> None:
            heard.append((name, value))
            if name == "a":
                other.drop(name)

        other.watch("", told)
        other.put("a", b"mine")
        other.put("b", b"mine")
        await other.step()
        assert sorted(heard) == [("a", b"an operator's word"), ("b", b"another word")]
        here = Heard(one)
        await one.step()
        assert here.all() == [("b", b"mine")]
        await one.close()
        await other.close()

    run(test)


def test_what_was_said_is_said_again_when_the_store_lost_its_data(tmp_path: Path) -> None:
    async def test() -> None:
        clock = Clock(0.0)
        one = notes_of(at_path(tmp_path / "notes.db"), "one", clock=clock)
        one.put("a", b"x")
        one.put("b", b"y")
        one.put("b", None)
        await one.step()
        lose(tmp_path)
        clock.at += 60
        await one.step()
        await one.step()
        other = notes_of(at_path(tmp_path / "notes.db"), "other")
        heard = Heard(other)
        await other.step()
        assert heard.all() == [("a", b"x")]
        await one.close()
        await other.close()

    run(test)


def test_while_the_store_is_away_it_is_told_once_and_nothing_is_lost(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "qwen3_router")
    with redis_server() as server:

        async def test() -> None:
            one = notes_of(RedisShared(server.url), "one")
            other = notes_of(RedisShared(server.url), "other")
            heard = Heard(other)
            await one.step()
            server.kill()
            one.put("a", b"x")
            for _ in range(3):
                await one.step()
            assert await one.lease("leader", 30)  # each for itself
            server.start()
            await one.step()
            await other.step()
            assert heard.all() == [("a", b"x")]
            await one.close()
            await other.close()

        run(test)
    lines = [one.message for one in caplog.records]
    assert len(lines) == 2
    assert lines[0].startswith(
        "the shared notes are away, this process goes on alone: Redis on 127"
    )
    assert lines[1] == "the shared notes are back"


@pytest.mark.parametrize("ahead_s", [-3600.0, -5.0, 0.0, 5.0, 3600.0])
def test_a_time_means_the_same_on_machines_whose_clocks_differ(
    tmp_path: Path, ahead_s: float
) -> None:
    async def test() -> None:
        notes = notes_of(at_path(tmp_path / "notes.db"), "one", ahead_s)
        await notes.step()
        assert notes.to_store(AT + ahead_s + 60) == pytest.approx(AT + 60, abs=0.01)
        assert notes.from_store(AT + 60) == pytest.approx(AT + ahead_s + 60, abs=0.01)
        await notes.close()

    run(test)


def test_clocks_that_differ_by_less_than_asking_takes_are_left_alone(tmp_path: Path) -> None:
    async def test() -> None:
        notes = notes_of(at_path(tmp_path / "notes.db"), "one", 0.1)
        await notes.step()
        assert notes.to_store(AT) == AT
        await notes.close()

    run(test)


def test_a_process_of_this_machine_that_has_ended_is_known_as_such() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    host = process_name().partition(".")[0]
    assert has_ended(f"{host}.{child.pid}.abcdef")
    assert not has_ended(process_name())
    assert not has_ended(f"elsewhere-{host}.{child.pid}.abcdef")
