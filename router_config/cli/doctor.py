"""`qwen3-router doctor`: looks at everything that the router stands on, and says what to mend."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from typing import TYPE_CHECKING

from router_config.cli.common import add_config, config_path

if TYPE_CHECKING:
    from router_config.cli.doctor_there import Endpoints
    from router_config.cli.findings import Finding

__all__ = ["HELP", "add_arguments", "run"]

HELP = "check keys, endpoints, balances, prices, clock and ledger, and say what to mend"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `doctor`."""
    add_config(parser)
    parser.add_argument("--yes", action="store_true", help="make the calls that cost, unasked")
    parser.add_argument("--offline", action="store_true", help="ask no provider")
    parser.add_argument("--format", choices=["text", "json"], default="text")
    parser.epilog = (
        "Without --yes it asks before anything that costs; where nobody can answer, it leaves "
        "that out. Exit code: 0 nothing to mend, 1 something is, 2 wrong usage."
    )


def run(args: argparse.Namespace) -> int:
    """Look, print what was found; 1 if something has to be mended."""
    from router_config.cli.doctor_here import config_of, here
    from router_config.cli.findings import failed, rows, text

    if args.yes and args.offline:
        print("qwen3-router doctor: --yes and --offline do not go together", file=sys.stderr)
        return 2
    config, findings = config_of(config_path(args))
    if config is not None:
        findings += here(config, os.environ)
        from router_config.cli.doctor_there import endpoints, free, vectors

        found, told = endpoints(config, os.environ)
        findings += told
        if not args.offline:
            from router_config import load_catalogue

            findings += asyncio.run(free(found, load_catalogue()))
            if _agreed(args, found):
                from router_config.cli.doctor_parity import spaces

                findings += asyncio.run(vectors(found, config, os.environ))
                findings += asyncio.run(spaces(config))
            else:
                findings += _left_out(found)
    if args.format == "json":
        print(json.dumps({"findings": rows(findings)}, indent=2))
    else:
        print(text(findings))
    return 1 if failed(findings) else 0


def _left_out(found: Endpoints) -> list[Finding]:
    from router_config.cli.findings import Finding

    whom = ", ".join(ids[0] for one, ids in found.values() if one.endpoint.target is not None)
    skipped = ("vector", "parity") if whom else ()
    return [Finding(what, whom, "skip", "not asked for", "say --yes") for what in skipped]


def _agreed(args: argparse.Namespace, found: Endpoints) -> bool:
    """Tell whether calls that may cost something may be made."""
    asked = [one for one, _ in found.values() if one.endpoint.target is not None]
    if not asked:
        return False
    if args.yes or all(one.is_free for one in asked):
        return True
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    from router_config.cli.doctor_parity import most_tokens
    from router_config.cli.money import usd

    tokens = most_tokens() + 2  # and one text of one token
    cost = usd(sum(one.cost_nano_usd(tokens) for one in asked))
    print(
        f"Ask {len(asked)} endpoints for vectors of the probe texts, some {tokens:,} tokens each, "
        f"{cost} in all at most? [y/N] ",
        end="",
        file=sys.stderr,
        flush=True,
    )
    return sys.stdin.readline().strip().lower() in ("y", "yes")
