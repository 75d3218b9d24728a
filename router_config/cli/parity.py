"""`qwen3-router parity run|record|show`: are all deployments of one vector space?"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from router_config.cli.common import add_config, config_path
from router_config.cli.money import table, usd

if TYPE_CHECKING:
    from plugins._parity_judge import Reading, Verdict
    from plugins._parity_reference import Reference
    from plugins._pool import Candidate
    from plugins._runtime import Runtime
    from router_config import Config

__all__ = ["HELP", "add_arguments", "run"]

HELP = "prove that all deployments give vectors of one space"

_PROGRAM = "qwen3-router parity"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `parity`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    run_ = actions.add_parser("run", help="send the probe texts now, and tell running proxies")
    record = actions.add_parser("record", help="write the reference that all are held against")
    show = actions.add_parser("show", help="what the last probes found; asks no provider")
    record.add_argument(
        "--from", dest="source", required=True, metavar="ID", help="deployment to record"
    )
    record.add_argument(
        "--out", type=Path, metavar="FILE", help="default: the group's parity.reference"
    )
    record.add_argument(
        "--anyway", action="store_true", help="also what does not pass the model card's check"
    )
    for one in (run_, show):
        one.add_argument("models", nargs="*", metavar="MODEL", help="groups (default: all)")
        one.add_argument("--format", choices=["text", "json"], default="text")
    for one in (run_, record):
        one.add_argument("--yes", action="store_true", help="spend without asking")
    for one in (run_, record, show):
        add_config(one)
    parser.epilog = (
        "Exit code: 0 if every deployment is proven, 1 if one is not or something failed, "
        "2 for wrong usage."
    )


def run(args: argparse.Namespace) -> int:
    """Do it."""
    from plugins._background import Background
    from plugins._ledger import LedgerUnavailable
    from plugins._parity_reference import UnreadableError
    from plugins._runtime import Runtime
    from router_config import ConfigError

    logging.getLogger("qwen3_router").setLevel(logging.ERROR)  # the table says it all,
    logging.getLogger("qwen3_router.parity").setLevel(logging.WARNING)  # but for a doubt
    action = {"run": _run, "record": _record, "show": _show}[args.action]

    async def work() -> int:
        runtime = Runtime(_load(args), os.environ)
        runtime.background = Background()  # only what this command is told to do
        try:
            await runtime.together.proofs.notes.step()
            return await action(args, runtime)
        finally:
            await runtime.aclose()

    try:
        return asyncio.run(work())
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    except (UnreadableError, LedgerUnavailable) as error:
        print(f"{_PROGRAM} {args.action}: {error}", file=sys.stderr)
        return 1


def _load(args: argparse.Namespace) -> Config:
    from router_config import load

    path = config_path(args)
    if args.action != "record":
        return load(path)
    config = load(path, forgive=lambda problem: problem.path.endswith("parity.reference"))
    args.files = {name: one.parity.reference for name, one in config.groups.items()}
    bare = {
        name: one.model_copy(update={"parity": one.parity.model_copy(update={"reference": None})})
        for name, one in config.groups.items()
    }
    return config.model_copy(update={"groups": bare})


# -- run and show


async def _run(args: argparse.Namespace, runtime: Runtime) -> int:
    from plugins._parity_texts import CALLS

    keys = _keys(args, runtime)
    if keys is None:
        return 2
    members = runtime.parity.spaces.members
    if not keys:
        print("nobody to ask: no deployment is on, or parity is off", file=sys.stderr)
        return 1
    if not _agreed(args, [members[key][0] for key in keys]):
        return 2
    await runtime.parity.run(keys, list(CALLS))
    await runtime.together.proofs.notes.step()
    return _print(args, runtime, keys)


async def _show(args: argparse.Namespace, runtime: Runtime) -> int:
    keys = _keys(args, runtime)
    return 2 if keys is None else _print(args, runtime, keys)


def _keys(args: argparse.Namespace, runtime: Runtime) -> list[str] | None:
    """Return the endpoints of the groups asked for, or None for an unknown group."""
    unknown = sorted(set(args.models) - set(runtime.config.groups))
    if unknown:
        known = ", ".join(runtime.config.groups)
        print(f"{_PROGRAM}: no group {', '.join(unknown)}; known: {known}", file=sys.stderr)
        return None
    return [
        key
        for key, members in runtime.parity.spaces.members.items()
        if not args.models or any(one.group in args.models for one in members)
    ]


def _agreed(args: argparse.Namespace, candidates: Sequence[Candidate]) -> bool:
    """Tell whether the probes may be paid for."""
    from plugins._parity_ask import most_tokens

    tokens = most_tokens()
    cost = usd(sum(one.cost_nano_usd(tokens) for one in candidates))
    whom = f"{len(candidates)} deployment{'s' * (len(candidates) != 1)}"
    if args.yes:
        return True
    if not sys.stdin.isatty():
        print(
            f"{_PROGRAM}: this asks {whom}, some {tokens:,} tokens each, {cost} in all; "
            "say --yes to agree",
            file=sys.stderr,
        )
        return False
    print(f"This asks {whom}, some {tokens:,} tokens each, {cost} in all. Go on? [y/N] ", end="")
    return input().strip().lower() in ("y", "yes")


def _print(args: argparse.Namespace, runtime: Runtime, keys: Sequence[str]) -> int:
    rows = [row for key in keys for row in _rows(runtime, key)]
    if args.format == "json":
        print(json.dumps({"deployments": rows}, indent=2))
    elif not rows:
        print("no deployment is on, or parity is off")
    else:
        print(table([_HEAD, *map(_line, rows)]))
        for row in rows:
            said = [row["reason"] if row["state"] != "proven" else "", row["gap"], *row["notes"]]
            words = "; ".join(one for one in said if one)
            if words:
                print(f"{', '.join(row['deployments'])}: {words}")
    return 0 if all(row["state"] == "proven" and row["gap"] is None for row in rows) else 1


def _rows(runtime: Runtime, key: str) -> Iterator[dict[str, Any]]:
    """Yield what is known of the endpoint, once for each space that it has to be of."""
    spaces, result = (
        runtime.parity.spaces,
        runtime.parity.results.get(key),
    )
    for id_, space in spaces.needed[key].items():
        everybody = spaces.members[key]
        names = {name for name, one in spaces.of_group.items() if one.id == id_}
        # Who only stands in for the deployments of that space has none of its own there.
        mine = [one for one in everybody if one.group in names] or everybody
        verdict = None if result is None else result.verdicts.get(id_)
        if verdict is None:
            state = "not asked yet" if result is None else "not proven"
        else:
            state = "proven" if verdict.passed else str(verdict.flaw)
        reference = runtime.parity.reference(space)
        yield {
            "deployments": [one.id for one in mine],
            "state": state,
            "reason": "" if verdict is None else verdict.reason,
            "gap": None if result is None else result.gap,
            **_numbers(verdict),
            "asked_at": None if result is None else result.at,
            "cost_nano_usd": None if result is None else result.cost_nano_usd,
            "reference": None if reference is None else reference.source,
            "reference_is_recorded": space.reference is not None,
            "needed_cosine": space.terms.cosine,
        }


def _numbers(verdict: Verdict | None) -> dict[str, Any]:
    if verdict is None:
        return {"cosine": None, "card": None, "tokens": None, "norms": None, "notes": []}
    return {
        "cosine": verdict.cosine,
        "card": verdict.card,
        "tokens": verdict.tokens,
        "norms": verdict.norms,
        "notes": list(verdict.notes),
    }


_HEAD = ("deployment", "state", "cosine", "card off by", "lengths", "tokens", "asked (UTC)")


def _line(row: dict[str, Any]) -> tuple[str, ...]:
    first, *others = row["deployments"]
    norms, at = row["norms"], row["asked_at"]
    return (
        f"{first} +{len(others)}" if others else first,
        row["state"],
        _digits(row["cosine"]),
        _digits(row["card"]),
        "-" if norms is None else f"{norms[0]:.3f}…{norms[1]:.3f}",
        "-" if row["tokens"] is None else f"{row['tokens']:+d}" if row["tokens"] else "equal",
        "-" if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}",
    )


def _digits(number: float | None) -> str:
    return "-" if number is None else f"{number:.4f}"


# -- record


async def _record(args: argparse.Namespace, runtime: Runtime) -> int:
    from plugins._parity_judge import Terms, judge
    from plugins._parity_texts import PROBES

    candidate = runtime.snapshot.candidate(args.source)
    if candidate is None or candidate.endpoint.target is None or candidate.off is not None:
        why = candidate.off if candidate is not None and candidate.off else "no such deployment"
        print(f"{_PROGRAM} record: {args.source}: {why}", file=sys.stderr)
        return 2
    if not _agreed(args, [candidate]):
        return 2
    parity = runtime.config.groups[candidate.group].parity
    reading = await runtime.parity.asker().read([candidate])
    if reading.gap is not None or not PROBES.keys() <= reading.rows.keys():
        why = reading.gap or "it does not answer all probe texts"
        print(f"{_PROGRAM} record: {candidate.id}: {why}", file=sys.stderr)
        return 1
    verdict = judge(reading, None, Terms(parity.cosine, parity.tolerance))
    if not verdict.passed and not args.anyway:
        print(
            f"{_PROGRAM} record: {candidate.id}: {verdict.flaw}: {verdict.reason}. To record it as "
            "it is, say --anyway",
            file=sys.stderr,
        )
        return 1
    named = args.files[candidate.group]
    path = args.out or named or config_path(args).with_name("parity.json")
    space = runtime.parity.spaces.of_group.get(candidate.group)
    found = None if space is None else runtime.parity.reference(space)
    revision, lineage = _name(path, reading, parity.cosine, found, passed=verdict.passed)
    _write(path, reading, revision, lineage)
    print(f"{path}: the vectors of {candidate.id}, revision {revision}. Commit it.")
    if named is None or named.resolve() != path.resolve():
        print(
            f"Then name it in the config: embedding_router: {{parity: {{reference: {path.name}}}}}"
        )
    return 0


def _name(
    path: Path, reading: Reading, cosine: float, found: Reference | None, *, passed: bool
) -> tuple[int, str]:
    """Return number and word of the space: those of the file before, unless this is another space.

    Without a file, the space that the deployments themselves have shown is number 1.
    """
    from plugins._parity_reference import UnreadableError, read

    def is_same(before: Reference) -> bool:
        common = before.rows.keys() & reading.rows.keys()
        return all(float(before.rows[name] @ reading.rows[name]) >= cosine for name in common)

    try:
        before = read(path)
    except UnreadableError:
        return (1 if passed and (found is None or is_same(found)) else 2), ""
    if is_same(before):
        return before.revision, before.lineage
    return before.revision + 1, ""


def _write(path: Path, reading: Reading, revision: int, lineage: str) -> None:
    from plugins._parity_reference import Reference, write

    recorded = datetime.fromtimestamp(int(time.time()), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    unfinished = path.with_name(path.name + ".new")
    unfinished.write_bytes(
        write(Reference(dict(reading.rows), revision, recorded, reading.deployment, lineage))
    )
    unfinished.replace(path)
