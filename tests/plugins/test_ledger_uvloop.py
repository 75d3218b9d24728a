"""The ledger's process is spoken to from uvloop too, on which `serve` runs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import uvloop

from plugins._ledger import Amount, Budget
from plugins._ledger_sqlite import SqliteLedger


def test_the_ledger_s_process_is_spoken_to_from_uvloop(tmp_path: Path) -> None:
    async def test() -> None:
        ledger = SqliteLedger(tmp_path / "ledger.db", apart=True)
        async with asyncio.timeout(60):
            await ledger.define([Budget("b", "lifetime", tokens=100)])
            await ledger.settle(await ledger.reserve(["b"], Amount(tokens=5), 60), Amount(tokens=4))
            (room,) = await ledger.rooms(["b"])
            await ledger.close()
        assert (room.spent.tokens, room.held.tokens) == (4, 0)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(test())
