"""`qwen3-router reload`: have every running proxy take its changed file, and hear what it says."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from typing import Any

from router_config.cli.common import add_config, config_path

__all__ = ["HELP", "add_arguments", "run"]

HELP = "have the running proxies take their changed config, and wait for their word"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `reload`."""
    add_config(parser)
    parser.add_argument("--timeout", type=float, default=15.0, help="seconds to wait; 15")
    parser.add_argument("--format", choices=["text", "json"], default="text")


def run(args: argparse.Namespace) -> int:
    """Reload; 0 if every process took the file, 1 if one did not or the file has problems."""
    from plugins._ledger import LedgerUnfit
    from plugins._shared import SharedAwayError
    from router_config import ConfigError, load

    try:
        config = load(config_path(args))
    except ConfigError as error:
        print(f"{error}\nqwen3-router reload: nobody was asked to take this file", file=sys.stderr)
        return 1
    try:
        words = asyncio.run(_ask(config.ledger, args.timeout))
    except (SharedAwayError, LedgerUnfit) as error:
        print(f"qwen3-router reload: {error}", file=sys.stderr)
        return 1
    if not words:
        print(
            "qwen3-router reload: no running proxy shares this ledger; is QWEN3_ROUTER_STATE the "
            "one that it runs with?",
            file=sys.stderr,
        )
        return 1
    if args.format == "json":
        print(json.dumps(words, indent=2))
    else:
        for process, word in words.items():
            print(f"{process}: {_said(word, config.sha256)}")
    good = all(word is not None and word["ok"] for word in words.values())
    return 0 if good else 1


async def _ask(ledger: Any, timeout_s: float) -> Any:
    from plugins._reload_words import ask
    from plugins._shared_open import open_shared

    shared = open_shared(ledger, os.environ)
    try:
        return await ask(shared, timeout_s)
    finally:
        await shared.close()


def _said(word: Any, sha256: str) -> str:
    if word is None:
        return "no answer; it keeps what it has, or has ended"
    in_force = word["sha256"]
    if not word["ok"]:
        why, *problems = word["problems"]
        return "\n  ".join([f"not taken, {why}; {in_force[:12]} stays in force", *problems])
    other = "" if in_force == sha256 else " (another file than the one named here)"
    return f"{in_force[:12]} is in force{other}"
