"""The SQLite ledger's file: private, local, one and the same, and clear about what is wrong."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import stat
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from plugins._ledger import Amount, Budget, LedgerUnavailable, LedgerUnfit, Reservation
from plugins._ledger_file import LedgerFile
from plugins._ledger_mounts import mounts_here, network_type, on_linux, on_macos, type_of
from plugins._ledger_open import open_ledger, sqlite_path
from plugins._ledger_sqlite import SqliteLedger
from plugins._ledger_writer import Job, Writer
from plugins._state import state_folder
from router_config import EnvRef

BUDGET = Budget("b", "lifetime", tokens=100)
ONE = Amount(tokens=10)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.db"


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))


async def spent(ledger: SqliteLedger) -> int:
    (room,) = await ledger.rooms(["b"])
    return room.spent.tokens


def remove(path: Path) -> None:
    """Remove the database, and leave its lock."""
    for one in path.parent.glob("ledger.db*"):
        if one.suffix != ".lock":
            one.unlink()


async def used(path: Path, *, apart: bool = False) -> SqliteLedger:
    """A ledger in which ten tokens of *BUDGET* are spent."""
    ledger = SqliteLedger(path, apart=apart)
    await ledger.define([BUDGET])
    await ledger.settle(await ledger.reserve(["b"], ONE, 30), ONE)
    return ledger


def test_only_the_user_can_read_it(path: Path) -> None:
    old = os.umask(0)
    try:
        run(lambda: _use_and_close(path))
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()} == {0o600}


async def _use_and_close(path: Path) -> None:
    await (await used(path)).close()


def test_it_is_there_again_after_the_process(path: Path) -> None:
    async def test() -> None:
        await _use_and_close(path)
        ledger = SqliteLedger(path)
        assert await spent(ledger) == 10
        await ledger.close()

    run(test)


@pytest.mark.parametrize("opened", [True, False])
def test_a_removed_ledger_is_refused_until_somebody_accepts(path: Path, opened: bool) -> None:
    async def test() -> None:
        ledger = await used(path)
        if not opened:
            await ledger.close()
            ledger = SqliteLedger(path)
        remove(path)
        with pytest.raises(LedgerUnfit, match=r"gone.*--accept"):
            await ledger.reserve(["b"], ONE, 30)
        other = SqliteLedger(path)
        await other.accept("the disk was exchanged", "ann")
        await other.define([BUDGET])
        assert await spent(ledger) == 0
        for one in (ledger, other):
            await one.close()

    run(test)


def test_a_ledger_exchanged_for_another_is_refused(path: Path, tmp_path: Path) -> None:
    async def test() -> None:
        ledger, other = await used(path), await used(tmp_path / "other" / "ledger.db")
        await other.close()
        remove(path)
        shutil.copy(tmp_path / "other" / "ledger.db", path)
        with pytest.raises(LedgerUnfit, match="exchanged"):
            await ledger.rooms(["b"])
        await ledger.close()

    run(test)


@pytest.mark.parametrize("stopped", [True, False])
def test_an_older_copy_is_refused_until_somebody_accepts(path: Path, stopped: bool) -> None:
    async def test() -> None:
        ledger = await used(path)
        await ledger.close()
        copy = path.with_name("copy")
        shutil.copy(path, copy)
        ledger = SqliteLedger(path)
        await ledger.settle(await ledger.reserve(["b"], ONE, 30), ONE)
        if stopped:
            await ledger.close()
            ledger = SqliteLedger(path)
        remove(path)
        copy.rename(path)
        with pytest.raises(LedgerUnfit, match=r"older copy.*--accept"):
            await ledger.reserve(["b"], ONE, 30)
        with pytest.raises(LedgerUnfit, match="older copy"):
            await ledger.check()
        await ledger.accept("a copy was put back", "ann")
        assert await spent(ledger) == 10
        await ledger.reserve(["b"], ONE, 30)
        await ledger.close()
        ledger = SqliteLedger(path)
        assert await ledger.check() == []
        await ledger.close()

    run(test)


def test_a_removed_lock_stops_nobody(path: Path) -> None:
    async def test() -> None:
        ledger = await used(path)
        path.with_name("ledger.db.lock").unlink()
        other = SqliteLedger(path)
        held = [await one.reserve(["b"], ONE, 30) for one in (ledger, other)]
        assert len({one.id for one in held}) == 2
        for one in (ledger, other):
            await one.close()

    run(test)


def test_a_damaged_ledger_says_so_and_what_to_do(path: Path) -> None:
    async def test() -> None:
        await _use_and_close(path)
        with path.open("r+b") as file:
            file.write(b"\0" * 4096)
        ledger = SqliteLedger(path)
        with pytest.raises(LedgerUnfit, match=r"damaged.*put a copy back"):
            await ledger.start()
        await ledger.close()

    run(test)


def test_a_database_of_something_else_is_left_alone(path: Path) -> None:
    async def test() -> None:
        path.parent.mkdir()
        with sqlite3.connect(path) as db:
            db.execute("CREATE TABLE theirs (x)")
        ledger = SqliteLedger(path)
        with pytest.raises(LedgerUnfit, match="something else"):
            await ledger.start()
        await ledger.close()
        with sqlite3.connect(path) as db:
            assert db.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]

    run(test)


def test_a_ledger_of_a_later_release_is_refused(path: Path) -> None:
    async def test() -> None:
        await _use_and_close(path)
        with sqlite3.connect(path) as db:
            db.execute("PRAGMA user_version = 99")
        ledger = SqliteLedger(path)
        with pytest.raises(LedgerUnfit, match="version 99"):
            await ledger.start()
        await ledger.close()

    run(test)


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        ("UPDATE counters SET spent_tokens = 3", "3 tokens spent, but 10 in the journal"),
        ("UPDATE counters SET held_requests = 2", "2 requests held, but 0 in open reservations"),
        ("DELETE FROM counters", "counter 1 is missing"),
    ],
)
def test_check_finds_what_does_not_add_up(path: Path, statement: str, finding: str) -> None:
    async def test() -> None:
        ledger = await used(path)
        with sqlite3.connect(path) as db:
            db.execute(statement)
        (found,) = await ledger.check()
        assert finding in found.what
        await ledger.close()

    run(test)


def test_a_step_that_breaks_takes_nothing_of_the_others_with_it(path: Path) -> None:
    """What the writer remembers of a transaction that was rolled back must not be believed."""
    file = LedgerFile(path)
    writer = Writer(file, lambda: 1_795_000_000_000_000, lambda _: None)
    writer.work([Job("define", ((BUDGET,),))], list)
    first, broken = Job("reserve", ("id-1", ("b",), ONE, 1, "")), Job("reserve", ("id-2",))
    writer.work([first, broken], list)  # the first of its period: its counter is made anew
    assert isinstance(first.result, Reservation)
    assert isinstance(broken.error, LedgerUnavailable)
    second = Job("reserve", ("id-3", ("b",), ONE, 1, ""))
    writer.work([second], list)
    assert isinstance(second.result, Reservation)
    writer.close()

    async def test() -> None:
        ledger = SqliteLedger(path)
        assert await ledger.check() == []
        await ledger.close()

    run(test)


def test_upkeep_that_breaks_is_answered_and_stops_nobody(path: Path) -> None:
    async def test() -> None:
        ledger = await used(path)
        with pytest.raises(LedgerUnavailable, match="internal error"):
            await ledger._do("fold", "not a time", timeout_s=5)
        assert await spent(ledger) == 10
        await ledger.reserve(["b"], ONE, 30)
        await ledger.close()

    run(test)


def test_a_ledger_of_the_first_version_is_read_on(path: Path) -> None:
    async def test() -> None:
        await (await used(path)).close()
        with sqlite3.connect(path) as db:
            db.execute("ALTER TABLE budgets DROP COLUMN since")
            db.execute("PRAGMA user_version = 1")
        ledger = SqliteLedger(path)
        await ledger.define([BUDGET])
        assert await spent(ledger) == 10
        assert await ledger.check() == []
        await ledger.close()

    run(test)


def test_accepting_makes_the_counters_what_the_journal_says(path: Path) -> None:
    async def test() -> None:
        ledger = await used(path)
        with sqlite3.connect(path) as db:
            db.execute("UPDATE counters SET spent_tokens = 3")
        await ledger.accept("counted again", "ann")
        assert await ledger.check() == []
        assert await spent(ledger) == 10
        await ledger.close()

    run(test)


def test_who_waits_too_long_is_refused_and_holds_nothing_afterwards(path: Path) -> None:
    async def test() -> None:
        ledger = await used(path)
        slow = SqliteLedger(path, timeout_s=0.2)
        await slow.start()
        with sqlite3.connect(path, isolation_level=None) as db:
            db.execute("BEGIN IMMEDIATE")
            with pytest.raises(LedgerUnavailable, match=r"not free for 0\.2 s"):
                await slow.reserve(["b"], ONE, 3600)
            db.execute("ROLLBACK")
        await slow.close()
        (room,) = await ledger.rooms(["b"])
        assert room.held == Amount()
        await ledger.close()

    run(test)


def test_nothing_is_answered_before_it_is_on_the_disk(path: Path) -> None:
    async def test() -> None:
        flushing = threading.Event()
        ledger = SqliteLedger(
            path, step=lambda name: flushing.wait() and None if name == "committed" else None
        )
        asked = asyncio.ensure_future(ledger.define([BUDGET]))
        assert await asyncio.wait([asked], timeout=0.3) == (set(), {asked})
        flushing.set()
        await asked
        await ledger.close()

    run(test)


@pytest.mark.parametrize("apart", [False, True])
def test_an_outcome_that_cannot_be_booked_now_is_booked_later(path: Path, apart: bool) -> None:
    async def test() -> None:
        ledger = await used(path, apart=apart)
        held = await ledger.reserve(["b"], ONE, 3600)
        hidden = path.with_name("hidden")
        os.rename(path, hidden)
        assert await ledger.settle(held, Amount(tokens=40)) == ()
        os.rename(hidden, path)
        while await spent(ledger) != 50:  # noqa: ASYNC110 (another thread does it)
            await asyncio.sleep(0.05)
        assert [one.level for one in await ledger.sweep()] == [50]  # told late, but told
        assert await ledger.sweep() == ()
        await ledger.close()

    run(test)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_names_the_variable(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)

    async def test() -> None:
        ledger = SqliteLedger(tmp_path / "state" / "ledger.db")
        with pytest.raises(LedgerUnfit, match="QWEN3_ROUTER_STATE"):
            await ledger.start()
        await ledger.close()

    run(test)


MOUNTINFO = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 22 0:35 / /mnt/team\\040share rw,relatime shared:2 - nfs4 nas:/team rw,vers=4.2
41 22 0:36 / /home rw shared:3 master:1 - ext4 /dev/vdb rw
42 41 0:37 / /home/ann/cloud rw - fuse.sshfs ann@host: rw
43 22 0:38 / /mnt/twice rw - cifs //nas/x rw
44 43 0:39 / /mnt/twice rw - tmpfs tmpfs rw
"""
MACOS = """\
/dev/disk3s1s1 on / (apfs, sealed, local, read-only, journaled)
/dev/disk3s5 on /System/Volumes/Data (apfs, local, journaled, nobrowse)
//ann@nas/share on /Volumes/share (smbfs, nodev, nosuid, mounted by ann)
nas:/export on /Volumes/two words (nfs, nodev, nosuid)
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/var/lib/x", "ext4"),
        ("/mnt/team share/state", "nfs4"),
        ("/home/ann/.local/state", "ext4"),
        ("/home/ann/cloud/state", "fuse.sshfs"),
        ("/mnt/twice", "tmpfs"),
    ],
)
def test_the_nearest_mount_tells_the_file_system(folder: str, kind: str) -> None:
    assert type_of(Path(folder), on_linux(MOUNTINFO)) == kind


@pytest.mark.parametrize(
    ("folder", "kind"),
    [("/Users/ann", "apfs"), ("/Volumes/share/a", "smbfs"), ("/Volumes/two words", "nfs")],
)
def test_mounts_of_macos_are_read_too(folder: str, kind: str) -> None:
    assert type_of(Path(folder), on_macos(MACOS)) == kind


def test_a_folder_of_this_machine_is_local(tmp_path: Path) -> None:
    assert network_type(tmp_path, mounts_here()) is None


def test_a_network_file_system_is_refused_with_a_way_out(path: Path) -> None:
    file = LedgerFile(path, lambda: {"/": "nfs4"})
    with pytest.raises(LedgerUnfit, match=r"nfs4.*QWEN3_ROUTER_STATE.*redis"), file.locked():
        pass
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"QWEN3_ROUTER_STATE": "/srv/state", "XDG_STATE_HOME": "/xdg"}, "/srv/state"),
        ({"XDG_STATE_HOME": "/xdg"}, "/xdg/qwen3-router"),
        ({"XDG_STATE_HOME": "relative"}, f"{Path.home()}/.local/state/qwen3-router"),
        ({}, f"{Path.home()}/.local/state/qwen3-router"),
    ],
)
def test_the_state_folder_is_the_users(environ: dict[str, str], folder: str) -> None:
    assert state_folder(environ) == Path(folder)


def test_the_configuration_names_the_file() -> None:
    environ = {"QWEN3_ROUTER_STATE": "/srv", "LEDGER": "sqlite:///var/lib/ledger.db"}
    assert sqlite_path("sqlite", environ) == Path("/srv/ledger.db")
    assert sqlite_path("sqlite:///data/l.db", environ) == Path("/data/l.db")
    assert sqlite_path(EnvRef("LEDGER"), environ) == Path("/var/lib/ledger.db")
    assert sqlite_path("redis://host:6379/0", environ) is None


@pytest.mark.parametrize(
    ("environ", "reason"), [({}, "LEDGER is not set"), ({"LEDGER": "mysql://x"}, "not a ledger")]
)
def test_a_variable_that_names_no_ledger_is_named(environ: dict[str, str], reason: str) -> None:
    with pytest.raises(LedgerUnfit, match=reason):
        open_ledger(EnvRef("LEDGER"), environ)


def test_nothing_is_granted_before_it_is_on_the_disk(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a power cut may take must not have been answered: the log is flushed before that."""
    flushed: list[str] = []
    real = os.fsync

    def fsync(fd: int) -> None:
        flushed.append(os.readlink(f"/proc/self/fd/{fd}"))
        real(fd)

    async def test() -> None:
        ledger = await used(path)
        monkeypatch.setattr(os, "fsync", fsync)
        for do in (
            lambda: ledger.reserve(["b"], ONE, 30),
            lambda: ledger.adjust("b", ONE, "a reason", "somebody"),
        ):
            flushed.clear()
            await do()
            assert f"{path}-wal" in flushed
        await ledger.close()

    run(test)
