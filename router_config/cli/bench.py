"""`qwen3-router bench`: our gateway against plain LiteLLM, in one run on this machine, as ratios.

A static upstream, LiteLLM's own proxy and ours are started side by side and asked one after the
other. Absolute numbers depend on the machine and on what else runs there; only the ratios of one
run say something.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from router_config.cli import not_installed

__all__ = ["HELP", "add_arguments", "run"]

HELP = "measure our gateway against plain LiteLLM, as ratios"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `bench`."""
    parser.add_argument(
        "--n", type=int, nargs="+", help="inputs per request (default: 1 32 256 2048)"
    )
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, help="per subject (default: 4)")
    parser.add_argument(
        "--quick", action="store_true", help="n of 1 and 32, a second each, nothing beside"
    )
    parser.add_argument("--only", metavar="WORD", help="subjects with this word in their name")
    parser.add_argument("--format", choices=["text", "json"], default="text")
    parser.add_argument(
        "--profile",
        metavar="FILE",
        help="profile our proxy in place of the table: a py-spy flame graph, or cProfile's numbers "
        "where py-spy is not installed",
    )
    parser.add_argument(
        "--soak", type=float, metavar="MINUTES", help="load our proxy and watch its memory instead"
    )


def run(args: argparse.Namespace) -> int:
    """Print the table; 1 if a subject did not answer, 2 for wrong usage."""
    for name in ("litellm", "uvicorn"):
        missing = _missing(name)
        if missing is not None:
            print(f"qwen3-router bench: {missing}", file=sys.stderr)
            return 1
    counts = args.n or ([1, 32] if args.quick else [1, 32, 256, 2048])
    if any(not 1 <= n <= 2048 for n in counts) or args.connections < 1:
        print("qwen3-router bench: --n is from 1 to 2048, --connections 1 or more", file=sys.stderr)
        return 2
    from router_config.cli import bench_processes as processes
    from router_config.cli import bench_rows, bench_watch

    seconds = args.seconds or (1.0 if args.quick else 4.0)
    # Words about the start do not belong into what a program reads.
    aside = sys.stderr if args.format == "json" else sys.stdout
    with contextlib.ExitStack() as stack, contextlib.redirect_stdout(aside):
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="qwen3-bench-")))
        base = stack.enter_context(processes.upstream("float"))
        base64 = stack.enter_context(processes.upstream("base64"))
        if args.profile is not None:
            return bench_watch.profile(
                folder, base, base64, Path(args.profile), counts[0], args.connections, seconds
            )
        router = stack.enter_context(processes.ours(folder, base, base64))
        if router is None:
            return 1
        if args.soak is not None:
            return bench_watch.soak(router, args.soak * 60, args.connections)
        litellm = stack.enter_context(processes.plain(folder, base))
        bare = None
        if not args.quick:
            bare = stack.enter_context(processes.ours(folder, base, base64, health=False))
        if litellm is None or (bare is None and not args.quick):
            return 1
        bench = bench_rows.Bench(base, litellm, router, bare, seconds, args.connections)
        rows = [
            bench.measure(subject, n)
            for n in counts
            for subject in bench_rows.subjects(n, beside=not args.quick)
            if args.only is None or args.only in subject.name
        ]
        extras = {} if args.quick else bench_rows.extras(bench, counts)
    if args.format == "json":
        print(json.dumps({"rows": rows, **extras}, indent=2))
    else:
        print(_head(args.connections, seconds))
        print("\n".join([*_table(rows), *_said(extras)]))
    return 0 if all(row["failures"] == 0 and row["per_second"] > 0 for row in rows) else 1


def _missing(package: str) -> str | None:
    """Return how to install *package* if it is not there."""
    from importlib.util import find_spec

    return None if find_spec(package) is not None else not_installed(package)


def _head(connections: int, seconds: float) -> str:
    return (
        f"{connections} connections, {seconds:g} s per subject, one worker; load generator and "
        f"upstream share the {os.cpu_count()} cores. A client key, the ledger and health are on."
    )


def _table(rows: Sequence[dict[str, Any]]) -> list[str]:
    lines = [
        (
            f"{'n':>5}  {'subject':42} {'req/s':>8} {'vectors/s':>9} {'× plain':>8} {'p50 ms':>8} "
            f"{'p99 ms':>8} {'CPU ms':>8} {'RSS MB':>7} {'peak':>6} {'failed':>6}"
        )
    ]
    plain = {row["n"]: row["per_second"] for row in rows if row["plain"]}
    for row in rows:
        against = plain.get(row["n"])
        ratio = f"{row['per_second'] / against:.1f}" if against else "-"
        lines.append(
            f"{row['n']:>5}  {row['subject']:42} {row['per_second']:>8.1f} "
            f"{row['vectors_per_second']:>9.0f} {ratio:>8} {row['p50_ms']:>8.2f} "
            f"{row['p99_ms']:>8.1f} {_or_dash(row['cpu_ms'], '.2f'):>8} "
            f"{_or_dash(row['rss_mb'], '.0f'):>7} {_or_dash(row['peak_mb'], '.0f'):>6} "
            f"{row['failures']:>6}"
        )
    return lines


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _said(extras: dict[str, Any]) -> list[str]:
    lines = []
    added = extras.get("added_ms")
    if added:
        lines += ["", "What a request costs more, n=1, 4096 floats:"]
        lines += [f"  {name:60} {value:>8.2f} ms" for name, value in added.items()]
    memory = extras.get("memory_mb")
    if memory:
        lines += ["", "The most memory at 200 connections, n=32, 4096 floats:"]
        lines += [f"  {name:60} {value:>8.0f} MB" for name, value in memory.items()]
    return lines
