"""`qwen3-router key new`: print a key once, and the YAML lines that admit it."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import secrets
import sys
from datetime import date

__all__ = ["HELP", "add_arguments", "run"]

HELP = "make an API key and the YAML lines with its hash"
_ALIAS = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `key`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    new = actions.add_parser("new", help="print a new key once and the lines to paste")
    new.add_argument("--alias", required=True, help="who uses it, such as search-team")
    new.add_argument("--team", help="the team it belongs to")
    new.add_argument("--groups", nargs="+", metavar="GROUP", help="model groups (default: all)")
    new.add_argument("--rpm", type=_positive, help="requests a minute (default: no limit)")
    new.add_argument("--region", choices=["eu"], help="use only deployments of this region")
    new.add_argument(
        "--not-after", type=_day, metavar="DATE", help="last day of validity, YYYY-MM-DD"
    )


def run(args: argparse.Namespace) -> int:
    """Print the key and its lines; 2 if the alias cannot stand in the file."""
    if not _ALIAS.fullmatch(args.alias):
        print(
            "qwen3-router key new: --alias takes letters, digits, `.`, `_` and `-`, at most 64",
            file=sys.stderr,
        )
        return 2
    key = "sk-" + secrets.token_urlsafe(32)
    fields: dict[str, object] = {"sha256": [hashlib.sha256(key.encode()).hexdigest()]}
    for name in ("team", "groups", "rpm", "region", "not_after"):
        value = getattr(args, name)
        if value is not None:
            fields[name] = value
    print("The key, shown this once. Give it to its user and keep no copy:")
    print(f"\n  {key}\n")
    print("Paste these two lines into the config, in place of its line `  # keys:` (in a file")
    print("without it: at the end of `embedding_router:`). Where `  keys:` stands without the `#`")
    print("already, paste only the second line, under it. Then start the proxy again.\n")
    print("  keys:")
    print(f"    {_name(args.alias)}: {_flow(fields)}")
    return 0


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("write a whole number from 1")
    return int(text)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("write a date as 2027-01-31") from None


def _name(alias: str) -> str:
    """Return *alias* as a YAML key, in quotes where YAML could take it for a number or `yes`."""
    import yaml

    plain = alias[0].isalpha() and yaml.safe_load(alias) == alias
    return alias if plain else json.dumps(alias)


def _flow(fields: dict[str, object]) -> str:
    """Return *fields* as YAML in flow style; strings are quoted as JSON, which YAML reads too."""
    return "{" + ", ".join(f"{name}: {_value(value)}" for name, value in fields.items()) + "}"


def _value(value: object) -> str:
    # A date in quotes would be text.
    return value.isoformat() if isinstance(value, date) else json.dumps(value, ensure_ascii=False)
