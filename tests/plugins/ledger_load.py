"""How many reservations a second: processes that reserve and settle as fast as the store lets them.

    python -m tests.plugins.ledger_load --processes 4 --waiting 16 --seconds 5
    python -m tests.plugins.ledger_load --store redis
    python -m tests.plugins.ledger_load --busy 0.3      in an event loop that never rests

Prints reservations a second, and per process p50, p99 and the longest wait of a `reserve`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from plugins._ledger import Amount, Budget, Ledger
from plugins._ledger_open import open_ledger
from tests.plugins.ledger_stores import RedisServer

NAMES = ("account", "key:a", "group:g")
BUDGETS = [Budget(name, "month", nano_usd=10**18) for name in NAMES]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", choices=["sqlite", "redis"], default="sqlite")
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--waiting", type=int, default=16, help="requests at a time, per process")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument(
        "--folder", type=Path, help="where the data goes (default: a temporary one)"
    )
    parser.add_argument("--busy", type=float, default=0.0, help="ms of other work, over and over")
    parser.add_argument("--worker", metavar="URL", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        print(json.dumps(asyncio.run(_work(args.worker, args))))
        return
    with tempfile.TemporaryDirectory(dir=args.folder) as folder, _store(args, folder) as url:
        os.environ["QWEN3_ROUTER_STATE"] = folder
        asyncio.run(_define(url))
        rows = _measure(args, url)
        _report(args, rows)


async def _define(url: str) -> None:
    ledger = open_ledger(url, os.environ)
    await ledger.start()
    await ledger.define(BUDGETS)
    await ledger.close()


def _measure(args: argparse.Namespace, url: str) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "tests.plugins.ledger_load", "--worker", url]
    command += ["--waiting", str(args.waiting), "--seconds", str(args.seconds)]
    command += ["--busy", str(args.busy)]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(args.processes)]
    return [json.loads(worker.communicate()[0]) for worker in workers]


async def _work(url: str, args: argparse.Namespace) -> dict[str, Any]:
    ledger = open_ledger(url, os.environ)
    await _loop(ledger, time.monotonic() + 0.3)  # warm
    waits: list[float] = []
    started, cpu = time.monotonic(), time.thread_time()
    until = started + args.seconds
    loops = [_loop(ledger, until, waits) for _ in range(args.waiting)]
    await asyncio.gather(*loops, _burn(until, args.busy))
    passed = time.monotonic() - started
    cpu = time.thread_time() - cpu  # of the event loop's thread alone
    await ledger.close()
    waits.sort()
    return {
        "reservations": len(waits),
        "per_second": len(waits) / passed,
        "p50_ms": waits[len(waits) // 2] * 1000,
        "p99_ms": waits[len(waits) * 99 // 100] * 1000,
        "max_ms": waits[-1] * 1000,
        "loop_us": cpu / len(waits) * 1_000_000,
    }


async def _burn(until: float, ms: float) -> None:
    while ms and time.monotonic() < until:
        end = time.perf_counter() + ms / 1000
        while time.perf_counter() < end:
            pass
        await asyncio.sleep(0)


async def _loop(ledger: Ledger, until: float, waits: list[float] | None = None) -> None:
    while time.monotonic() < until:
        before = time.monotonic()
        held = await ledger.reserve(NAMES, Amount(100, 10, 1), 60.0)
        if waits is not None:
            waits.append(time.monotonic() - before)
        await ledger.settle(held, Amount(90, 9, 1))


def _report(args: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    total = sum(row["per_second"] for row in rows)
    print(
        f"{args.store}: {args.processes} processes, {args.waiting} requests at a time in each, "
        f"{len(NAMES)} budgets: {total:,.0f} reservations/s, each settled"
    )
    for i, row in enumerate(rows):
        print(
            f"  process {i}: {row['per_second']:7,.0f}/s  p50 {row['p50_ms']:6.2f} ms  "
            f"p99 {row['p99_ms']:6.2f} ms  max {row['max_ms']:6.1f} ms  "
            f"event loop {row['loop_us']:4.0f} µs each"
        )


@contextlib.contextmanager
def _store(args: argparse.Namespace, folder: str) -> Iterator[str]:
    if args.store == "sqlite":
        yield f"sqlite://{folder}/ledger.db"
        return
    server = RedisServer(Path(folder))
    server.start()
    try:
        yield server.url
    finally:
        server.kill()


if __name__ == "__main__":
    main()
