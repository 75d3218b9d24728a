"""A process that uses the shared notes; started by their contract tests, and killed at will.

python -m tests.plugins.shared_child URL ACTION NAME…     URL is sqlite:///path or redis://…
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys

from plugins._shared import Shared
from plugins._shared_open import open_shared

__all__ = ["ROUNDS"]

ROUNDS = 60


async def writes(shared: Shared, name: str) -> None:
    """Write a note of its own and one that all write; print every version."""
    for i in range(ROUNDS):
        for note in (name, "everybody's"):
            print(await shared.put(note, f"{name} {i}".encode()))


async def takes_turns(shared: Shared, name: str, folder: str) -> None:
    """Take the lease and give it back, again and again; print a line when another has it too."""
    mark = os.path.join(folder, "held")
    turns = 0
    while turns < ROUNDS // 4:
        if not await shared.lease("turn", name, 30):
            await asyncio.sleep(0.002)
            continue
        try:
            os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            print("two have the lease")
        turns += 1
        await asyncio.sleep(0.002)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(mark)
        assert not await shared.lease("turn", name, 0)
    print("done")


async def holds(shared: Shared, name: str, ttl_s: str) -> None:
    """Hold the lease until killed; print once it has it."""
    assert await shared.lease("held", name, float(ttl_s))
    print("held", flush=True)
    while True:
        await asyncio.sleep(float(ttl_s) / 4)
        assert await shared.lease("held", name, float(ttl_s))


async def _main(url: str, action: str, *args: str) -> None:
    shared = open_shared(url, {})
    try:
        await globals()[action](shared, *args)
    finally:
        await shared.close()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
