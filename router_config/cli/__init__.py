"""`qwen3-router`: one small module per command, loaded only when it is called for.

A command module has `HELP` (one line), `add_arguments(parser)` and `run(args) -> int`; imports that
cost time wait inside `run`. A new command is a module and a line in `COMMANDS`.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

__all__ = ["COMMANDS", "file_hint", "main", "not_installed"]

PROGRAM = "qwen3-router"

COMMANDS: Mapping[str, str] = {
    "demo": "router_config.cli.demo",
    "init": "router_config.cli.init",
    "serve": "router_config.cli.serve",
    "validate": "router_config.cli.validate",
    "explain": "router_config.cli.explain",
    "health": "router_config.cli.health",
    "doctor": "router_config.cli.doctor",
    "budget": "router_config.cli.budget",
    "estimate": "router_config.cli.estimate",
    "reload": "router_config.cli.reload",
    "simulate": "router_config.cli.simulate",
    "parity": "router_config.cli.parity",
    "key": "router_config.cli.key",
    "bench": "router_config.cli.bench",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command in *argv* (default: the process's own) and return its exit code.

    Raises:
        SystemExit: 2 for wrong usage, 0 after --help.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] not in COMMANDS:
        _overview().parse_args(words or ["--help"])
        return 2  # not reached: the overview takes nothing else
    module: Any = importlib.import_module(COMMANDS[words[0]])
    parser = _Parser(prog=f"{PROGRAM} {words[0]}", description=module.HELP)
    module.add_arguments(parser)
    args = parser.parse_args(words[1:])
    try:
        return int(module.run(args))
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "plugins", "router_config"):
            raise  # a bug or a broken install, which no extra mends
        extra = "plot" if package == "matplotlib" else "demo" if words[0] == "demo" else "proxy"
        print(f"{PROGRAM} {words[0]}: {not_installed(package, extra)}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # as in `… | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        return 130


class _Parser(argparse.ArgumentParser):
    """Says how to name a config where one stands by itself and the command takes none there."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self._given = [str(one) for one in args or ()]
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        super().error(message + file_hint(word for word in self._given if word in message))


def file_hint(words: Iterable[str]) -> str:
    """Return how to name the config, if one of *words* stands where something else belongs."""
    file = next((word for word in words if word.endswith((".yaml", ".yml"))), None)
    return f"; name a config with --config {file}" if file is not None else ""


def not_installed(package: str, extra: str = "proxy") -> str:
    """Return what to say when *package*, which our *extra* brings, is missing.

    It names what works in a checkout, since this project is on no index.
    """
    return f"{package} is not installed; run `make install` or `pip install '.[{extra}]'`"


def _overview() -> argparse.ArgumentParser:
    """Return a parser that only knows --help, --version and which commands there are."""
    width = max(map(len, COMMANDS))
    lines = [
        f"  {name.ljust(width)}  {importlib.import_module(module).HELP}"
        for name, module in COMMANDS.items()
    ]
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        usage=f"{PROGRAM} COMMAND …",
        description="commands:\n" + "\n".join(lines),
        epilog=f"{PROGRAM} COMMAND --help tells more about one of them.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    parser.add_argument("command", choices=COMMANDS, help=argparse.SUPPRESS)
    return parser


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import PackageNotFoundError, version

        try:
            number = version("qwen3-embedding-router")
        except PackageNotFoundError:
            number = "(a checkout that is not installed)"
        parser.exit(message=f"{PROGRAM} {number}\n")
