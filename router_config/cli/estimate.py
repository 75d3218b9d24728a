"""`qwen3-router estimate FILE.jsonl [MODEL]`: what an indexing job will cost, before it is started.

Reads the texts, counts their tokens exactly, and multiplies by the prices of the catalogue. Nothing
is sent anywhere; only a ledger on Redis is asked what is left.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_CEILING
from pathlib import Path
from typing import TYPE_CHECKING, Any

from router_config.cli.common import add_config, config_path
from router_config.cli.money import amount, table, usd, with_ledger

if TYPE_CHECKING:
    from plugins._ledger import Ledger, Room
    from router_config import Config, Deployment, Group

__all__ = ["HELP", "add_arguments", "run"]

HELP = "count the tokens of a file and what they cost at each deployment"

_AT_ONCE = 500  # texts that are counted together
_SHOWN = 20  # lines that could not be read


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `estimate`."""
    parser.add_argument(
        "file",
        type=Path,
        metavar="FILE.jsonl",
        help='one text a line: "…", {"text": "…"} or {"input": "…" or ["…", "…"]}; - for stdin',
    )
    parser.add_argument(
        "model", nargs="?", metavar="MODEL", help="a group or an alias (default: all)"
    )
    add_config(parser)
    parser.add_argument("--format", choices=["text", "json"], default="text")
    parser.epilog = "Exit code: 0, or 1 if a line could not be read, or 2 for wrong usage."


@dataclass(slots=True)
class _Job:
    """What was read: tokens of each text as it is sent, end token included, and what was not."""

    instruct: str | None = None
    counts: list[int] = field(default_factory=list)
    longest_line: int = 0
    unread: list[tuple[int, str]] = field(default_factory=list)

    @property
    def tokens(self) -> int:
        return sum(self.counts)

    @property
    def longest(self) -> int:
        return max(self.counts, default=0)


def run(args: argparse.Namespace) -> int:
    """Print the estimate."""
    from plugins._names import group_of
    from router_config import ConfigError, load

    try:
        config = load(config_path(args))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    asked_group = group_of(config, args.model)
    if args.model is not None and asked_group is None:
        known = ", ".join((*config.groups, *config.aliases))
        print(
            f"qwen3-router estimate: no model group {args.model!r}; there are: {known}",
            file=sys.stderr,
        )
        return 2
    try:
        job = _read(args.file, _instruct(args.model, asked_group))
    except OSError as error:
        print(f"qwen3-router estimate: {args.file}: {error.strerror}", file=sys.stderr)
        return 2
    for line, why in job.unread[:_SHOWN]:
        print(f"{args.file}:{line}: {why}", file=sys.stderr)
    if len(job.unread) > _SHOWN:
        print(f"… and {len(job.unread) - _SHOWN} more lines", file=sys.stderr)
    rooms: dict[str, Room] = {}

    async def look(ledger: Ledger | None) -> int:
        found = [] if ledger is None else await ledger.rooms()
        rooms.update((room.budget.name, room) for room in found)
        return 0

    asked = with_ledger(config, "qwen3-router estimate: what is left is not known", look) == 0
    groups = [asked_group.name] if asked_group is not None else list(config.groups)
    rows = [
        _row(one, job, config, rooms, asked)
        for name in groups
        for one in config.groups[name].deployments
    ]
    if args.format == "json":
        print(json.dumps(_json(job, rows), indent=2))
    else:
        print(_text(args.file, job, groups, rows))
    return 1 if job.unread else 0


def _instruct(model: str | None, group: Group | None) -> str | None:
    """Return what stands before each text where *model* says that they are queries."""
    from plugins._request import split_model

    if model is None or group is None or split_model(model)[1] != "query" or group.name == model:
        return None
    return group.instruct


def _read(path: Path, instruct: str | None) -> _Job:
    job = _Job(instruct)
    batch: list[tuple[int, str]] = []
    with open(0 if str(path) == "-" else path, "rb") as file:
        for number, raw in enumerate(file, start=1):
            if not raw.strip():
                continue
            try:
                batch += [(number, text) for text in _texts(raw)]
            except ValueError as error:
                job.unread.append((number, str(error)))
            if len(batch) >= _AT_ONCE:
                _count(batch, job)
                batch = []
    _count(batch, job)
    return job


def _texts(raw: bytes) -> Iterator[str]:
    """Return the texts of one line. Raises `ValueError` with what is wrong with it."""
    try:
        value: Any = json.loads(raw)
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    except (ValueError, RecursionError):
        raise ValueError("not JSON") from None
    if isinstance(value, dict):
        found = [value[key] for key in ("text", "input") if key in value]
        if not found:
            raise ValueError('no "text" and no "input"')
        value = found[0]
    texts = value if isinstance(value, list) else [value]
    for text in texts:
        if not isinstance(text, str):
            raise ValueError("the text is not a string")
        if not text:
            raise ValueError("an empty text, which is refused")
        if not _is_text(text):
            raise ValueError("half of a surrogate pair, which has no UTF-8")
    return iter(texts)


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _count(batch: Sequence[tuple[int, str]], job: _Job) -> None:
    from plugins._plan import format_query
    from plugins._tokens import count

    texts = [text for _, text in batch]
    if job.instruct is not None:
        texts = [format_query(job.instruct, text) for text in texts]
    counts = count(texts)
    for (line, _), tokens in zip(batch, counts, strict=True):
        if tokens > job.longest:
            job.longest_line = line
        job.counts.append(tokens)


def _row(
    one: Deployment, job: _Job, config: Config, rooms: Mapping[str, Room], asked: bool
) -> dict[str, Any]:
    """Return what the job is for one deployment; inputs that are too long for it are left out."""
    from plugins._plan import split
    from router_config import resolve

    fitting = [tokens for tokens in job.counts if tokens <= one.limits.max_tokens_per_input]
    tokens = sum(fitting)
    cost = int((one.usd_per_million_tokens * 1000 * tokens).to_integral_value(ROUND_CEILING))
    limits = one.limits
    calls = split(fitting, range(len(fitting)), limits.max_inputs, limits.max_tokens_per_call)
    unit, limit, left = _left(one, config, rooms, asked)
    need = cost if unit == "nano_usd" else tokens
    return {
        "group": one.group,
        "deployment": one.id,
        "off": resolve(one, os.environ).off,
        "usd_per_million_tokens": f"{one.usd_per_million_tokens.normalize():f}",
        "price_as_of": str(one.provider.price.as_of or "") if one.provider else "",
        "too_long": len(job.counts) - len(fitting),
        "tokens": tokens,
        "calls": len(calls),
        "cost_nano_usd": cost,
        "budget": one.budget,
        "budget_unit": unit,
        "budget_limit": limit,
        "budget_left": left,
        "fits": None if left is None else need <= left,
        "fitting_share": None if left is None else (1.0 if need <= left else left / need),
    }


def _left(
    one: Deployment, config: Config, rooms: Mapping[str, Room], asked: bool
) -> tuple[str | None, int | None, int | None]:
    """Return unit, limit and what is left of the deployment's budget; None for what is unknown."""
    from plugins._ledger_open import budget_of

    if one.budget is None or one.budget not in config.budgets:
        return None, None, None
    budget = budget_of(config.budgets[one.budget])
    unit = "tokens" if budget.nano_usd is None else "nano_usd"
    limit = budget.tokens if budget.nano_usd is None else budget.nano_usd
    if not asked:
        return unit, limit, None
    room = rooms.get(one.budget)
    return unit, limit, limit if room is None else room.left(unit)  # type: ignore[arg-type]


def _json(job: _Job, rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "texts": len(job.counts),
        "tokens": job.tokens,
        "longest_tokens": job.longest,
        "longest_line": job.longest_line,
        "unread": [{"line": line, "why": why} for line, why in job.unread],
        "deployments": rows,
    }


def _text(path: Path, job: _Job, groups: Sequence[str], rows: list[dict[str, Any]]) -> str:
    summary = (
        f"{path}: {len(job.counts):,} texts, {job.tokens:,} tokens with end tokens; the longest "
        f"has {job.longest:,} (line {job.longest_line:,})"
    )
    lines = [summary]
    head = ("deployment", "$/1M", "price of", "too long", "calls", "cost", "budget", "left", "fits")
    for group in groups:
        mine = [head]
        for row in rows:
            if row["group"] != group:
                continue
            mine.append(
                (
                    row["deployment"] + (" (off)" if row["off"] else ""),
                    row["usd_per_million_tokens"],
                    row["price_as_of"] or "-",
                    f"{row['too_long']:,}",
                    f"{row['calls']:,}",
                    usd(row["cost_nano_usd"]),
                    row["budget"] or "-",
                    _left_text(row),
                    _fits(row),
                )
            )
        lines += ["", f"{group}:", table(mine)]
    return "\n".join(lines)


def _left_text(row: Mapping[str, Any]) -> str:
    if row["budget_unit"] is None:
        return "-"
    return "?" if row["budget_left"] is None else amount(row["budget_unit"], row["budget_left"])


def _fits(row: Mapping[str, Any]) -> str:
    if row["budget_unit"] is None:
        return "yes" if row["too_long"] == 0 else "in part"
    if row["fitting_share"] is None:
        return "?"
    if row["fits"]:
        return "yes" if row["too_long"] == 0 else "in part"
    return f"{row['fitting_share']:.0%}" if row["fitting_share"] >= 0.01 else "no"
