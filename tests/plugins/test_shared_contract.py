"""What every store of shared notes must do, held against each of them."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from plugins._shared import MAX_BYTES, Shared, SharedAwayError
from plugins._shared_open import open_shared
from plugins._shared_sqlite import SqliteShared
from tests.plugins.ledger_stores import RedisServer, fast_folder, redis_server
from tests.plugins.shared_child import ROUNDS
from tests.sizes import size


@dataclass
class Place:
    """A store that is empty at the start of each test; *server* is None for SQLite."""

    folder: Path
    server: RedisServer | None
    number: int = 0

    @property
    def url(self) -> str:
        return self.server.url if self.server else f"sqlite://{self.folder}/{self.number}/ledger.db"

    @property
    def file(self) -> Path:
        return self.folder / str(self.number) / "ledger-shared.db"

    def client(self) -> Shared:
        return open_shared(self.url, {})

    def lose(self) -> None:
        """Throw all data away, under whoever uses it."""
        if self.server is not None:
            self.server.empty()
        else:
            for path in self.file.parent.glob("*"):
                path.unlink()

    def child(self, action: str, *args: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.plugins.shared_child", self.url, action, *args]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.fixture(params=["sqlite", "redis"], scope="module")
def kind(request: pytest.FixtureRequest) -> Iterator[Place]:
    with fast_folder() as folder:
        if request.param == "sqlite":
            yield Place(folder, None)
        else:
            with redis_server() as server:
                yield Place(folder, server)


@pytest.fixture
def place(kind: Place) -> Place:
    if kind.server is None:
        kind.number += 1
    else:
        kind.server.empty()
    return kind


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await test()

    asyncio.run(bounded())


def test_what_one_writes_another_reads_once(place: Place) -> None:
    async def test() -> None:
        one, other = place.client(), place.client()
        assert await other.since(0) == (0, {})
        first = await one.put("a", b"\x00\xff")
        second = await one.put("b", b"")
        assert second > first
        assert await other.since(0) == (second, {"a": b"\x00\xff", "b": b""})
        assert await other.since(first) == (second, {"b": b""})
        assert await other.since(second) == (second, {})
        third = await other.put("a", b"new")
        assert await one.since(second) == (third, {"a": b"new"})
        await one.close()
        await other.close()

    run(test)


def test_a_deleted_note_is_told_to_those_who_come_later(place: Place) -> None:
    async def test() -> None:
        shared = place.client()
        first = await shared.put("a", b"1")
        gone = await shared.put("a", None)
        assert await shared.since(first) == (gone, {"a": None})
        assert await shared.since(0) == (gone, {"a": None})
        back = await shared.put("a", b"2")
        assert await shared.since(0) == (back, {"a": b"2"})
        await shared.close()

    run(test)


def test_a_note_that_is_newer_than_what_was_seen_is_left_alone(place: Place) -> None:
    async def test() -> None:
        shared = place.client()
        first = await shared.put("a", b"1", seen=0)
        assert first > 0
        assert await shared.put("a", b"2", seen=first - 1) == 0
        assert await shared.put("a", None, seen=0) == 0
        assert (await shared.since(0))[1] == {"a": b"1"}
        second = await shared.put("b", b"x", seen=0)
        assert await shared.put("a", b"2", seen=second) > second
        gone = await shared.put("a", None)
        assert await shared.put("a", b"3", seen=second) == 0
        assert await shared.put("a", b"3", seen=gone) > gone
        await shared.close()

    run(test)


def test_a_store_that_was_emptied_gives_what_it_has_and_versions_go_on(place: Place) -> None:
    async def test() -> None:
        shared = place.client()
        await shared.put("a", b"1")
        before = await shared.put("b", b"2")
        place.lose()
        assert await shared.since(before) == (0, {})
        after = await shared.put("c", b"3")
        assert after > before
        assert await shared.since(before) == (after, {"c": b"3"})
        await shared.close()

    run(test)


def test_a_lease_has_one_owner_until_it_ends_or_is_given_back(place: Place) -> None:
    async def test() -> None:
        one, other = place.client(), place.client()
        assert await one.lease("a", "one", 30)
        assert await one.lease("a", "one", 30)
        assert not await other.lease("a", "other", 30)
        assert await other.lease("b", "other", 0.05)
        await asyncio.sleep(0.1)
        assert await one.lease("b", "one", 30)
        assert not await other.lease("a", "other", 0)  # it has nothing to give back
        assert not await other.lease("a", "other", 30)
        assert not await one.lease("a", "one", 0)
        assert await other.lease("a", "other", 30)
        await one.close()
        await other.close()

    run(test)


def test_a_note_that_is_too_large_is_refused(place: Place) -> None:
    async def test() -> None:
        shared = place.client()
        await shared.put("a", bytes(MAX_BYTES))
        with pytest.raises(ValueError, match="at most 65536"):
            await shared.put("a", bytes(MAX_BYTES + 1))
        await shared.close()

    run(test)


def test_the_clock_is_the_machines_here(place: Place) -> None:
    async def test() -> None:
        shared = place.client()
        assert abs(await shared.now() - time.time()) < 5
        await shared.close()

    run(test)


def test_it_can_be_used_from_one_event_loop_after_another(place: Place) -> None:
    shared = place.client()

    async def test() -> None:
        await shared.put("a", b"1")

    run(test)
    run(test)
    run(shared.close)


def test_no_write_of_several_processes_is_lost_and_no_version_is_given_twice(place: Place) -> None:
    names = [f"process {i}" for i in range(size(3, 8))]
    children = [place.child("writes", name) for name in names]
    printed = [child.communicate(timeout=60)[0].split() for child in children]
    assert [child.returncode for child in children] == [0] * len(names)
    versions = [int(word) for words in printed for word in words]
    assert len(set(versions)) == len(versions) == len(names) * ROUNDS * 2
    for words in printed:
        assert sorted(words, key=int) == words

    async def test() -> None:
        shared = place.client()
        newest, notes = await shared.since(0)
        assert newest == max(versions)
        last = str(ROUNDS - 1)
        assert {name: notes[name] for name in names} == {
            name: f"{name} {last}".encode() for name in names
        }
        assert notes["everybody's"] in [f"{name} {last}".encode() for name in names]
        await shared.close()

    run(test)


def test_no_two_processes_have_a_lease_at_once(place: Place, tmp_path: Path) -> None:
    children = [place.child("takes_turns", f"process {i}", str(tmp_path)) for i in range(3)]
    printed = [child.communicate(timeout=60)[0] for child in children]
    assert printed == ["done\n"] * 3


def test_the_lease_of_a_killed_process_goes_to_another(place: Place) -> None:
    ttl_s = 0.5
    leader = place.child("holds", "leader", str(ttl_s))
    assert leader.stdout is not None
    assert leader.stdout.readline() == "held\n"

    async def test() -> None:
        shared = place.client()
        assert not await shared.lease("held", "me", ttl_s)
        leader.send_signal(signal.SIGKILL)
        leader.communicate()
        killed = time.monotonic()
        while not await shared.lease("held", "me", ttl_s):
            assert time.monotonic() - killed < ttl_s + 5
            await asyncio.sleep(0.01)
        await shared.close()

    run(test)


# -- each store's own ways to be lost


def test_a_redis_that_is_away_says_so_and_is_used_again(tmp_path: Path) -> None:
    with redis_server() as server:
        shared = open_shared(server.url, {})

        async def test() -> None:
            await shared.put("a", b"1")
            server.kill()
            with pytest.raises(SharedAwayError, match=r"127\.0\.0\.1:\d+ does not answer"):
                await shared.put("a", b"2")
            server.start()
            await shared.put("a", b"3")
            await shared.close()

        run(test)


def test_the_redis_store_uses_only_keys_under_its_prefix() -> None:
    with redis_server() as server:
        shared = open_shared(server.url, {})

        async def test() -> None:
            await shared.put("a", b"1")
            await shared.put("a", None)
            await shared.lease("b", "me", 30)
            await shared.close()

        run(test)
        with redis.Redis.from_url(server.url) as client:
            keys = [key.decode() for key in client.scan_iter()]
        assert len(keys) == 4
        assert all(key.startswith("qwen3-router:shared:") for key in keys)


def test_a_file_that_is_no_database_is_thrown_away(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "notes.db"
    path.parent.mkdir()
    path.write_bytes(b"not a database " * 1000)
    shared = SqliteShared(path)

    async def test() -> None:
        with pytest.raises(SharedAwayError, match="not a database"):
            await shared.put("a", b"1")
        await shared.put("a", b"2")
        assert (await shared.since(0))[1] == {"a": b"2"}
        await shared.close()

    run(test)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    async def test() -> None:
        shared = SqliteShared(tmp_path / "file" / "notes.db")
        with pytest.raises(SharedAwayError, match="cannot be used"):
            await shared.since(0)
        await shared.close()

    run(test)


def test_a_lease_outlives_no_clock_that_goes_back(tmp_path: Path) -> None:
    at = [1_795_000_000.0]
    shared = SqliteShared(tmp_path / "notes.db", wall=lambda: at[0])

    async def test() -> None:
        assert await shared.lease("a", "dead", 30)
        at[0] -= 3600
        assert await shared.lease("a", "me", 30)
        await shared.close()

    run(test)


def test_versions_grow_while_the_clock_goes_back(tmp_path: Path) -> None:
    at = [1_795_000_000.0]
    shared = SqliteShared(tmp_path / "notes.db", wall=lambda: at[0])

    async def test() -> None:
        first = await shared.put("a", b"1")
        at[0] -= 3600
        second = await shared.put("b", b"2")
        assert second > first
        assert await shared.since(first) == (second, {"b": b"2"})
        await shared.close()

    run(test)


def test_a_deleted_note_is_forgotten_after_a_day(tmp_path: Path) -> None:
    at = [1_795_000_000.0]
    shared = SqliteShared(tmp_path / "notes.db", wall=lambda: at[0])

    async def test() -> None:
        await shared.put("old", b"1")
        await shared.put("old", None)
        at[0] += 2 * 86_400
        await shared.put("other", None)
        assert (await shared.since(0))[1] == {"other": None}
        await shared.close()

    run(test)
