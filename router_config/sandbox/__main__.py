"""Start the emulators: `python -m router_config.sandbox [--mode e5] [--providers a,b]`.

Prints one JSON line when everything answers, then lives until SIGTERM, the end of a piped standard
input, or the end of its parent.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence

from .e5 import StandInMissing
from .emulators import EMULATORS
from .lifetime import Lifetime
from .server import Server

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run until told to end; return 2 and say why if that cannot begin."""
    parser = argparse.ArgumentParser(
        prog="python -m router_config.sandbox",
        description="Emulate embedding providers on loopback ports, with a stand-in model.",
    )
    parser.add_argument("--mode", choices=("hash", "e5"), default="hash")
    parser.add_argument("--providers", default="", help=f"comma list of {', '.join(EMULATORS)}")
    parser.add_argument("--seed", type=int, default=0, help="another number, another vector space")
    asked = parser.parse_args(argv)
    providers = [name for name in asked.providers.split(",") if name]
    try:
        asyncio.run(_run(asked.mode, providers, asked.seed))
    except (StandInMissing, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


async def _run(mode: str, providers: Sequence[str], seed: int) -> None:
    lifetime = Lifetime()
    server = Server("e5" if mode == "e5" else "hash", providers, seed)
    await server.start()
    sys.stdout.write(json.dumps({**server.ready(), "pid": os.getpid()}) + "\n")
    sys.stdout.flush()
    await lifetime.ended()


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # Not sys.exit: nothing here needs to be finished, and a thread may be inside the model.
    os._exit(code)
