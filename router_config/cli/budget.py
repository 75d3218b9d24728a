"""`qwen3-router budget show|adjust|check`: what is left where, corrections, and the audit."""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from router_config.cli import file_hint
from router_config.cli.common import add_config, config_path
from router_config.cli.money import amount, table, usd, with_ledger

if TYPE_CHECKING:
    from plugins._ledger import Ledger, Room
    from plugins._ledger_forecast import Forecast
    from router_config import Config

__all__ = ["HELP", "add_arguments", "run"]

HELP = "show what is left of budgets, correct them, check the ledger"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `budget`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    show = actions.add_parser("show", help="limit, spent, held, left, and what comes of it")
    show.add_argument("names", nargs="*", metavar="NAME", help="default: all but quotas")
    adjust = actions.add_parser("adjust", help="add to what is spent, or take away from it")
    adjust.add_argument("name", metavar="NAME")
    adjust.add_argument("--usd", type=_nano_usd, default=0, metavar="USD", help="such as -0.25")
    adjust.add_argument("--tokens", type=int, default=0, metavar="N")
    adjust.add_argument("--requests", type=int, default=0, metavar="N")
    adjust.add_argument("--reason", required=True, help="stands in the journal")
    check = actions.add_parser("check", help="hold the counters against the journal")
    check.add_argument(
        "--accept",
        action="store_true",
        help="go on with the ledger as it is, after a loss of data or for what check found",
    )
    check.add_argument("--reason", help="why; stands in the journal")
    for one in (adjust, check):
        one.add_argument("--who", default=_user(), help="default: you")
    for one in (show, adjust, check):
        add_config(one)
        one.add_argument("--format", choices=["text", "json"], default="text")


def run(args: argparse.Namespace) -> int:
    """Do it; 1 if the ledger cannot be used or has findings, 2 for wrong usage."""
    from router_config import ConfigError, load

    if args.action == "check" and args.accept != bool(args.reason):
        print("qwen3-router budget check: --accept and --reason go together", file=sys.stderr)
        return 2
    if args.action == "adjust" and not (args.usd or args.tokens or args.requests):
        print("qwen3-router budget adjust: say --usd, --tokens or --requests", file=sys.stderr)
        return 2
    try:
        config = load(config_path(args))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    act = {
        "show": lambda ledger: _show(args, config, ledger),
        "adjust": lambda ledger: _adjust(args, config, ledger),
        "check": lambda ledger: _check(args, ledger),
    }[args.action]
    return with_ledger(config, f"qwen3-router budget {args.action}", act)


async def _show(args: argparse.Namespace, config: Config, ledger: Ledger | None) -> int:
    rooms = await _rooms(config, ledger)
    unknown = sorted(set(args.names) - {room.budget.name for room in rooms})
    if unknown:
        what = f"no budget {', '.join(unknown)}{file_hint(unknown)}"
        print(f"qwen3-router budget show: {what}", file=sys.stderr)
        return 2
    chosen = [
        room
        for room in rooms
        if (room.budget.name in args.names if args.names else room.budget.period != "minute")
    ]
    rows = [row for room in chosen for row in await _lines(room, ledger)]
    if args.format == "json":
        print(json.dumps({"budgets": rows}, indent=2))
    elif not rows:
        print("no budgets: declare them in the config, under embedding_router: budgets:")
    else:
        print(_text(rows))
    return 0


async def _rooms(config: Config, ledger: Ledger | None) -> list[Room]:
    """Return the budgets of the ledger, and those of the config that it has not met yet."""
    import time

    from plugins._ledger import Amount, Room
    from plugins._ledger_open import budget_of
    from plugins._ledger_time import period_end, period_start

    rooms = [] if ledger is None else await ledger.rooms()
    known = {room.budget.name for room in rooms}
    now = time.time()
    for name, entry in config.budgets.items():
        if name not in known and not name.endswith(":*"):
            start = period_start(entry.period, int(now))
            end = period_end(entry.period, start)
            rooms.append(Room(budget_of(entry), start, end, now, Amount(), Amount()))
    return rooms


async def _lines(room: Room, ledger: Ledger | None) -> list[dict[str, Any]]:
    """Return a line for each unit with a limit, or one for the money where there is no limit."""
    from plugins._ledger import UNITS
    from plugins._ledger_forecast import forecast, rate

    units = [unit for unit in UNITS if room.budget.limit(unit) is not None] or [UNITS[0]]
    lines = []
    for unit in units:
        per_s = 0.0 if ledger is None else await rate(ledger, room, unit)
        found = forecast(room, unit, per_s)
        lines.append(
            {
                "budget": room.budget.name,
                "period": room.budget.period,
                "unit": unit,
                "limit": room.budget.limit(unit),
                "spent": getattr(room.spent, unit),
                "held": getattr(room.held, unit),
                "left": room.left(unit),
                "starts_at": room.start,
                "ends_at": room.end,
                "forecast": None if found is None else asdict(found),
                "forecast_text": _coming(found, unit),
            }
        )
    return lines


def _coming(found: Forecast | None, unit: str) -> str:
    if found is None:
        return "-"
    rate = f"at {_about(unit, found.per_day)} a day"
    if found.empty_at is not None:
        return f"used up {_when(found.empty_at)} {rate}"
    return rate if found.at_end is None else f"{_about(unit, found.at_end)} by the end, {rate}"


def _about(unit: str, number: int) -> str:
    """Return *number* of *unit* as text, money of a cent and more to a ten thousandth."""
    fine = 100_000 if unit == "nano_usd" and number >= 10_000_000 else 1
    return amount(unit, round(number / fine) * fine)


def _text(rows: Sequence[dict[str, Any]]) -> str:
    head = ("budget", "period", "limit", "spent", "held", "left", "ends (UTC)", "forecast")
    lines = [head]
    for row in rows:
        numbers = [amount(row["unit"], row[name]) for name in ("limit", "spent", "held", "left")]
        if row["limit"] is None:
            numbers[3] = "-"
        ends = "never" if row["ends_at"] is None else _when(row["ends_at"])
        lines.append((row["budget"], row["period"], *numbers, ends, row["forecast_text"]))
    return table(lines)


async def _adjust(args: argparse.Namespace, config: Config, ledger: Ledger | None) -> int:
    import os

    from plugins._budgets import row_of
    from plugins._ledger import Amount, UnknownBudget
    from plugins._ledger_open import open_ledger

    if args.name.endswith(":*"):
        kind = args.name.removesuffix("*")
        print(
            f"qwen3-router budget adjust: {args.name} stands for many budgets, one each: say "
            f"whose, such as {kind}alice",
            file=sys.stderr,
        )
        return 2
    ours = ledger or open_ledger(config.ledger, os.environ, apart=False)
    change = Amount(args.usd, args.tokens, args.requests)
    try:
        known = {room.budget.name for room in await ours.rooms()}
        # Not met yet. Without an age: the file may be an old copy, and who pays knows the limit.
        row = row_of(config.model_copy(update={"since": 0}), args.name)
        if args.name not in known and row is not None:
            await ours.define([row])
        await ours.adjust(args.name, change, args.reason, args.who)
        (room,) = await ours.rooms([args.name])
    except (UnknownBudget, ValueError) as error:
        print(f"qwen3-router budget adjust: {error}", file=sys.stderr)
        return 2
    finally:
        if ledger is None:
            await ours.close()
    if args.format == "json":
        print(json.dumps({"budget": args.name, "spent": asdict(room.spent)}, indent=2))
    else:
        spent = room.spent
        print(
            f"{args.name}: {usd(spent.nano_usd)}, {spent.tokens:,} tokens and "
            f"{spent.requests:,} requests are spent in this period"
        )
    return 0


async def _check(args: argparse.Namespace, ledger: Ledger | None) -> int:
    from plugins._ledger import LedgerUnfit
    from plugins._ledger_words import lost

    findings: list[dict[str, str]] = []
    if ledger is not None:
        if args.accept:
            try:
                shown = await ledger.check()
            except LedgerUnfit as error:
                shown = lost(error)
            for found in shown:  # what is accepted is what stands here
                print(f"to accept: {found.what}", file=sys.stderr)
            try:
                await ledger.accept(args.reason, args.who, shown)
            except ValueError as error:
                print(f"qwen3-router budget check: {error}", file=sys.stderr)
                return 1
        findings = [{"what": it.what, "fix": it.fix} for it in await ledger.check()]
    if args.format == "json":
        print(json.dumps({"findings": findings}, indent=2))
    elif ledger is None:
        print("there is no ledger yet: nothing was spent")
    else:
        for one in findings:
            print(f"{one['what']}; {one['fix']}")
        if not findings:
            print("the ledger is in order: all counters are the sum of the journal")
    return 1 if findings else 0


def _when(at: float) -> str:
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")
    except (OverflowError, ValueError, OSError):
        return "in a distant year"


def _nano_usd(text: str) -> int:
    try:
        nano_usd = Decimal(text).scaleb(9)
        if nano_usd == nano_usd.to_integral_value():
            return int(nano_usd)
    except (InvalidOperation, ValueError, OverflowError):
        pass
    raise argparse.ArgumentTypeError("dollars in digits, such as 1.80 or -0.25")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "unknown"
