"""`qwen3-router init`: a config for the keys that are there, or our groups in a config that is."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

__all__ = ["HELP", "add_arguments", "run"]

HELP = "write a config for the provider keys in the environment, or add us to a LiteLLM config"

_EU = "-eu"  # how the names of groups end that never leave the EU
_BANNER = "# ── Deployments"
_PRODUCTION = "# Worth setting in production:"
_LEDGER = "\n  ledger: sqlite\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `init`."""
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="the file to write (default: config.yaml)"
    )
    parser.add_argument(
        "--merge",
        type=Path,
        metavar="EXISTING",
        help="add our groups and lines to this LiteLLM config; without -o only show what changes",
    )
    parser.add_argument(
        "--providers",
        metavar="NAMES",
        help="names of providers.yaml with commas between, or all (default: those with a key)",
    )
    parser.add_argument("--eu", action="store_true", help="only the group that never leaves the EU")
    parser.add_argument(
        "--ledger", metavar="URL", help="where money is counted (default: sqlite); os.environ/NAME"
    )
    parser.add_argument("--force", action="store_true", help="replace a file that is there")
    parser.add_argument("--yes", action="store_true", help="ask nothing, also on a terminal")


@dataclass(frozen=True, slots=True)
class _Choice:
    """What to write: *providers* is None for those whose variables are set."""

    providers: frozenset[str] | None
    eu: bool
    ledger: str


class _Refused(Exception):
    """Nothing is written; the text says why, *code* is the exit code."""

    def __init__(self, text: str, code: int = 1) -> None:
        super().__init__(text)
        self.code = code


def run(args: argparse.Namespace) -> int:
    """Write the file; 1 if it is not written, 2 for wrong usage."""
    try:
        return _run(args)
    except _Refused as refused:
        print(f"qwen3-router init: {refused}", file=sys.stderr)
        return refused.code


def _run(args: argparse.Namespace) -> int:
    from router_config import SHIPPED_CONFIG

    choice = _choice(args)
    if not args.yes and sys.stdin.isatty() and sys.stdout.isatty():
        choice = _asked(choice)
    shipped = SHIPPED_CONFIG.read_text(encoding="utf-8")
    ours = _cut_down(shipped, choice)
    if args.merge is None:
        target = args.output or Path("config.yaml")
        text = _with_header(ours, shipped, target.name)
    else:
        target = args.output
        text = _merged(args.merge, ours)
    before = args.merge or target
    known = _read(before) if before.exists() else None
    _show(known, text, before)
    _judge(text, target or args.merge)
    if target is None:
        print(f"Nothing is written: name a file with -o (-o {args.merge} --force for this one).")
        return 0
    return _write(target, text, force=args.force)


# -- what is wanted


def _choice(args: argparse.Namespace) -> _Choice:
    from router_config import load_catalogue

    known = load_catalogue()
    names = None
    if args.providers is not None and args.providers.strip() != "all":
        names = frozenset(one.strip() for one in args.providers.split(",") if one.strip())
        if strangers := sorted(names - known.keys()):
            what = f"no provider is called {', '.join(strangers)}; known: {', '.join(known)}"
            raise _Refused(what, 2)
    elif args.providers is not None:
        names = frozenset(known)
    return _Choice(names, args.eu, args.ledger or "sqlite")


def _asked(choice: _Choice) -> _Choice:
    """Return what the person at the terminal wants; return accepts what is in brackets."""
    from router_config import load_catalogue

    known = load_catalogue()
    found = sorted(choice.providers if choice.providers is not None else _with_keys())
    names = found
    while True:
        said = input(f"Providers, with commas between [{','.join(found) or 'none has a key'}]: ")
        names = [one.strip() for one in said.split(",") if one.strip()] or found
        if names and set(names) <= known.keys():
            break
        print(f"Known: {', '.join(known)}")
    providers = choice.providers if names == found else frozenset(names)
    eu = input(f"Only providers in the EU? [{'Y/n' if choice.eu else 'y/N'}]: ").strip().lower()
    ledger = input(f"Where money is counted, sqlite or redis://… [{choice.ledger}]: ").strip()
    return _Choice(
        providers, eu.startswith(("y", "д")) if eu else choice.eu, ledger or choice.ledger
    )


def _with_keys() -> set[str]:
    """Return the providers of the shipped file whose variables are set."""
    from router_config import SHIPPED_CONFIG
    from router_config.cli.spans import load

    entries = load(SHIPPED_CONFIG.read_text(encoding="utf-8"))["model_list"]
    return {_provider(entry) for entry in entries if _is_set(entry)}


def _provider(entry: Mapping[str, Any]) -> str:
    return str(entry["litellm_params"]["model"]).removeprefix("qwen3/")


def _is_set(entry: Mapping[str, Any]) -> bool:
    from router_config.cli.selection import variables

    return all(os.environ.get(name, "").strip() for name in variables(entry))


# -- the text


def _cut_down(shipped: str, choice: _Choice) -> str:
    """Return the shipped file with the deployments of *choice*."""
    from router_config.cli.selection import select, variables
    from router_config.cli.spans import load

    def keep(entry: Mapping[str, Any]) -> bool:
        in_eu = str(entry["model_name"]).endswith(_EU)
        if choice.eu and not in_eu:
            return False
        if choice.providers is None:
            return _is_set(entry)
        return _provider(entry) in choice.providers

    text = select(shipped, keep)
    if not load(text)["model_list"]:
        wanted = sorted(
            {name for entry in load(shipped)["model_list"] for name in variables(entry)}
        )
        raise _Refused(
            "no provider to write a config for. Set one of these variables and run it again, or "
            f"name providers with --providers:\n  {' '.join(wanted)}"
        )
    if _LEDGER not in text:
        raise _Refused("the shipped file has no line for the ledger")
    return text.replace(_LEDGER, f"\n  ledger: {choice.ledger}\n")


def _with_header(text: str, shipped: str, name: str) -> str:
    """Return *text* with a head that fits a file called *name*."""
    from router_config.cli.selection import variables
    from router_config.cli.spans import load

    data = load(text)
    group = data["model_list"][0]["model_name"]
    needed = dict.fromkeys(one for entry in data["model_list"] for one in variables(entry))
    names = "".join(f"#   {one}\n" for one in needed)
    production = shipped[shipped.index(_PRODUCTION) : shipped.index(_BANNER)]
    return (
        (
            "# A LiteLLM proxy config with one section of our own, by `qwen3-router init`.\n"
            "#\n"
            f"#   qwen3-router validate {name}\n"
            f"#   qwen3-router explain {group} --config {name}\n"
            f"#   qwen3-router serve --config {name}\n"
            "#\n"
            "# It names these variables and holds no key. Whose variable is unset is off.\n"
            "#\n"
            "#   LITELLM_MASTER_KEY    needed: the admin's key of this proxy, sk-…\n"
            f"{names}#\n"
        )
        + production
        + text[text.index(_BANNER) :]
    )


def _merged(path: Path, ours: str) -> str:
    import yaml

    from router_config.cli.insertion import MergeError
    from router_config.cli.merge import merge
    from router_config.yamltext import read

    document = read(path)
    if document.value is None and document.problems:
        raise _Refused("\n".join(map(str, document.problems)))
    try:
        return merge(_read(path), ours)
    except (MergeError, yaml.YAMLError) as error:
        raise _Refused(f"{path}: {error}") from None


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _Refused(f"{path} cannot be read: {error}") from None


# -- what comes of it


def _show(before: str | None, after: str, path: Path) -> None:
    """Print what changes; a key that stands in the old file is not shown."""
    from router_config.problems import masked

    if before is None or before == after:
        return
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), str(path), f"{path} (new)", lineterm=""
    )
    print("\n".join(masked(line) for line in lines))


def _judge(text: str, path: Path) -> None:
    """Refuse a *text* with errors, and say how many warnings there are."""
    from router_config import check

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.yaml"
        file.write_bytes(text.encode())
        problems = [replace(one, file=str(path)) for one in check(file)]
    errors = [str(one) for one in problems if one.severity == "error"]
    if errors:
        head = (
            "the result would have problems, so nothing is written. Line numbers are those of the "
            "result; what to change is in lines of yours:"
        )
        raise _Refused("\n".join([head, *errors]))
    found = f"{len(problems)} warning{'' if len(problems) == 1 else 's'}"
    shows = f" (`qwen3-router validate` shows {'it' if len(problems) == 1 else 'them'})"
    print(f"{path}: 0 errors, {found}{shows if problems else ''}")


def _write(target: Path, text: str, *, force: bool) -> int:
    if target.exists():
        if _read(target) == text:
            print(f"{target} is as it should be; nothing to do.")
            return 0
        if not force:
            raise _Refused(f"{target} is there already; --force replaces it")
    try:
        target.write_bytes(text.encode())
    except OSError as error:
        raise _Refused(f"{target} cannot be written: {error.strerror}") from None
    print(f"Wrote {target}.")
    return 0
