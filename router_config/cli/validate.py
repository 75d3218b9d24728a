"""`qwen3-router validate [FILE…]`: all problems of configuration files, without keys or network."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from router_config.cli.common import add_config, config_path

if TYPE_CHECKING:
    from router_config import Problem

__all__ = ["HELP", "add_arguments", "run"]

HELP = "check configuration files: every problem, where it is and how to fix it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `validate`."""
    parser.add_argument(
        "files", nargs="*", type=Path, metavar="FILE", help="configs, or catalogues of providers"
    )
    add_config(parser)
    parser.add_argument("--format", choices=["text", "json", "github"], default="text")
    parser.add_argument(
        "--env", action="store_true", help="also say which environment variables are unset"
    )
    parser.epilog = "Exit code: 0 no errors (there may be warnings), 1 errors, 2 wrong usage."


def run(args: argparse.Namespace) -> int:
    """Print the problems of all files; 0 if none is an error, else 1, and 2 for wrong usage."""
    if args.files and args.config:
        print("qwen3-router validate: name the files, or one with --config", file=sys.stderr)
        return 2
    from router_config.outputs import FORMATS

    files = args.files or [config_path(args)]
    problems = [problem for file in files for problem in _check(file, env=args.env)]
    sys.stdout.write(FORMATS[args.format](problems))
    errors = sum(problem.severity == "error" for problem in problems)
    warnings = len(problems) - errors
    named = files[0] if len(files) == 1 else f"{len(files)} files"
    # Beside the lines it sums up, unless a program reads those: JSON has the counts inside.
    print(
        f"{named}: {_count(errors, 'error')}, {_count(warnings, 'warning')}",
        file=sys.stderr if args.format == "json" else sys.stdout,
    )
    return 1 if errors else 0


def _check(file: Path, *, env: bool) -> list[Problem]:
    """Return the problems of *file*, by what it is: a catalogue has `providers` at the top."""
    from router_config import ConfigError, check, load_catalogue
    from router_config.yamltext import read

    content = read(file).value
    if not isinstance(content, dict) or "providers" not in content:
        return check(file, environ=os.environ if env else None)
    try:
        load_catalogue(file)
    except ConfigError as error:
        return list(error.problems)
    return []


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
