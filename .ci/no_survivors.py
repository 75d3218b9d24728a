"""Run a command and fail if any process that it started is still there when it has ended.

Usage: no_survivors.py COMMAND [ARGUMENT…]

A proxy or an emulator that a test leaves behind holds ports and memory until the machine goes. On
Linux this process becomes the parent of every orphan below it, so none can hide by starting its own
session or by cleaning its environment. Elsewhere only the command's own exit code counts.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

GRACE_S = 5.0
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


def main(command: list[str]) -> int:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    sys.stdout.flush()
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    code = child.wait()
    survivors = _after_grace() if sys.platform == "linux" else {}
    for pid, line in survivors.items():
        print(f"left behind: process {pid}: {line}", file=sys.stderr)
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    if survivors and code == 0:
        return 1
    return code if code >= 0 else 128 - code


def _after_grace() -> dict[int, str]:
    """Children still running `GRACE_S` after the command: some need a moment to see it has gone."""
    deadline = time.monotonic() + GRACE_S
    while True:
        _reap()
        running = _descendants()
        if not running or time.monotonic() > deadline:
            return running
        time.sleep(0.1)


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _descendants() -> dict[int, str]:
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name in brackets may hold spaces and brackets itself.
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(stat.parent.name)] = int(fields[1])
    found: set[int] = set()
    frontier = {os.getpid()}
    while frontier:
        frontier = {pid for pid, parent in parents.items() if parent in frontier}
        found |= frontier
    return {pid: line for pid in sorted(found) if (line := _command_line(pid))}


def _command_line(pid: int) -> str:
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""
    return raw.replace(b"\0", b" ").decode(errors="replace").strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
