"""What the workers of one server tell each other: a small file each, read by whoever is asked.

A scrape reaches one worker and must answer for all. Each worker writes what it has counted into a
file of its own, and the one that is asked writes first and reads then, so that no count ever goes
back, whichever worker is asked next. The counts of a worker that has ended stay, added up in
`ended`. A server with one worker writes nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import multiprocessing
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from plugins._state import state_folder

__all__ = ["Workers", "folder_of", "server_of"]

Note = dict[str, Any]
Fold = Callable[[Iterable[Note]], Note]
_ENDED = "ended.json"
_FORGOTTEN_S = 30 * 86_400


def server_of(environ: Mapping[str, str]) -> str | None:
    """Return a name of the server whose worker this process is, None if it has no others.

    uvicorn and granian start workers through `multiprocessing`, gunicorn says who it is.
    """
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None:
        pid = parent.pid
    elif environ.get("SERVER_SOFTWARE", "").startswith("gunicorn"):
        pid = os.getppid()
    else:
        return None
    return _name(pid)


def folder_of(server: str, environ: Mapping[str, str]) -> Path:
    """Return the folder of *server*, made; those of servers that have ended go.

    Machines that share the state folder, such as containers, have one each: a process is known by
    its number, which means nothing on another.
    """
    spare = Path(tempfile.gettempdir()) / f"qwen3-router-{os.getuid()}"
    for base in (state_folder(environ), spare):
        here = base / "workers" / socket.gethostname()
        try:
            (here / server).mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError:  # a read-only root
            continue
        for other in here.iterdir():
            if not _lives(other.name):
                shutil.rmtree(other, ignore_errors=True)
        for other in (base / "workers").iterdir():  # containers that will not come back
            if other != here and time.time() - other.stat().st_mtime > _FORGOTTEN_S:
                shutil.rmtree(other, ignore_errors=True)
        return here / server
    raise OSError("no folder for the workers of this server can be made")


class Workers:
    """This worker's place in *folder*; *fold* adds the notes of ended workers up."""

    def __init__(self, folder: Path, fold: Fold) -> None:
        self._folder = folder
        self._fold = fold
        self._me = _name(os.getpid())

    def publish(self, note: Note) -> None:
        """Write *note* in place of the last one."""
        data = orjson.dumps(note)
        with self._lock(fcntl.LOCK_SH):
            _replace(self._folder / f"{self._me}.json", data)

    def read(self) -> tuple[list[Note], list[Note]]:
        """Return the last notes of those that are alive, and of those that have ended."""
        with self._lock(fcntl.LOCK_SH):
            alive, dead, ended = self._read()
        return alive, [*dead, *ended]

    def tidy(self) -> None:
        """Add the notes of workers that have ended up into one file."""
        with self._lock(fcntl.LOCK_EX):
            _, dead, ended = self._read()
            if not dead:
                return
            # A reader knows by this list what it must not count twice, should we end half way.
            done = [one["worker"] for one in dead]
            folded = {**self._fold([*dead, *ended]), "done": done}
            _replace(self._folder / _ENDED, orjson.dumps(folded))
            for name in done:
                (self._folder / f"{name}.json").unlink(missing_ok=True)

    def _read(self) -> tuple[list[Note], list[Note], list[Note]]:
        alive: list[Note] = []
        dead: list[Note] = []
        ended = _load(self._folder / _ENDED)
        done = set((ended or {}).get("done", ()))
        for path in self._folder.glob("*.json"):
            name = path.stem
            if path.name == _ENDED or name in done:
                continue
            note = _load(path)
            if note is not None:
                note["worker"] = name
                (alive if _lives(name) else dead).append(note)
        return alive, dead, [ended] if ended is not None else []

    @contextlib.contextmanager
    def _lock(self, how: int) -> Iterator[None]:
        file = os.open(self._folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, how)
            yield
        finally:
            os.close(file)


def _replace(path: Path, data: bytes) -> None:
    new = path.with_suffix(f".{os.getpid()}.new")
    new.write_bytes(data)
    os.replace(new, path)


def _load(path: Path) -> Note | None:
    try:
        note: Note = orjson.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return note


def _name(pid: int) -> str:
    """Return pid and start time, which no other process ever has together."""
    return f"{pid}-{_started(pid)}"


def _lives(name: str) -> bool:
    pid, _, started = name.partition("-")
    if not pid.isdigit():
        return True  # none of ours
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return _started(int(pid)) == started


def _started(pid: int) -> str:
    """Return when a process began, in the kernel's ticks; empty where that cannot be read."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
