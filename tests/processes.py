"""Which processes a process has started, for tests that none stays behind."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

__all__ = ["descendants", "gone"]


def descendants(pid: int) -> set[int]:
    """Return the processes below *pid*, whatever session they are in."""
    parents = _parents()
    found: set[int] = set()
    frontier = {pid}
    while frontier:
        frontier = {child for child, parent in parents.items() if parent in frontier}
        found |= frontier
    return found


def gone(pids: Iterable[int], within_s: float = 60.0) -> set[int]:
    """Wait until none of *pids* runs; return those that still do."""
    ends = time.monotonic() + within_s
    while True:
        running = set(pids) & _parents().keys()
        if not running or time.monotonic() > ends:
            return running
        time.sleep(0.1)


def _parents() -> dict[int, int]:
    """Return the parent of every running process; one that only waits to be reaped has ended."""
    if Path("/proc/self/stat").exists():
        rows = [_stat(path) for path in Path("/proc").glob("[0-9]*/stat")]
    else:
        command = ["ps", "-A", "-o", "pid=,stat=,ppid="]
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        rows = [(int(a), b, int(c)) for a, b, c in map(str.split, listed.splitlines())]
    return {pid: parent for pid, state, parent in rows if state and state[0] != "Z"}


def _stat(path: Path) -> tuple[int, str, int]:
    try:
        # The name in brackets may hold spaces and brackets itself.
        state, parent = path.read_text(errors="replace").rpartition(")")[2].split()[:2]
    except OSError:  # it has just ended
        return 0, "", 0
    return int(path.parent.name), state, int(parent)
