"""`qwen3-router health [eject|uneject ID]`: who is out and why, and the operator's own word."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from router_config.cli.common import add_config, config_path

if TYPE_CHECKING:
    from plugins._shared import Shared
    from plugins._standing import Standing
    from router_config import Config
    from router_config.cli.fleet import Known

__all__ = ["HELP", "add_arguments", "run"]

HELP = "show who is out and why; take a deployment out or bring it back"

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_LONGEST_S = 366 * 86_400
# How often to begin anew because somebody else said something meanwhile.
_TRIES = 20
_BUSY = "the proxies say too much about it to be told now; try again"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `health`."""
    add_config(parser)
    parser.add_argument("--format", choices=["text", "json"], default="text")
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    eject = actions.add_parser("eject", help="take a deployment out, in all processes")
    eject.add_argument(
        "--for", dest="for_s", type=_seconds, metavar="TIME", help="such as 30m, 1h; else for good"
    )
    eject.add_argument(
        "--drain", action="store_true", help="say that it is maintenance, not a fault"
    )
    eject.add_argument("--reason", type=_reason, default="by an operator", help="shown to people")
    uneject = actions.add_parser("uneject", help="bring it back, with a slow start")
    for one in (eject, uneject):
        one.add_argument("id", metavar="ID", help="of a deployment")
        # Not to overrule what stands before the action.
        one.add_argument("--config", metavar="FILE", default=argparse.SUPPRESS)
        one.add_argument("--format", choices=["text", "json"], default=argparse.SUPPRESS)
    parser.epilog = "Exit code: 0 done, 1 not done, 2 wrong usage."


def run(args: argparse.Namespace) -> int:
    """Do it; 1 if the config or the store cannot be used, 2 for an unknown deployment."""
    from plugins._ledger import LedgerUnavailable
    from plugins._shared import SharedAwayError
    from router_config import ConfigError, load
    from router_config.cli.fleet import read_fleet, with_notes

    try:
        config = load(config_path(args))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    if args.action is None:
        return _show(args, config, read_fleet(config))
    try:
        return with_notes(config, lambda shared: _order(args, config, shared))
    except (SharedAwayError, LedgerUnavailable) as error:
        print(f"qwen3-router health {args.action}: {error}", file=sys.stderr)
        return 1


# -- what is known


def _show(args: argparse.Namespace, config: Config, known: Known) -> int:
    rows = _rows(config, known)
    if args.format == "json":
        told = {"unread": known.unread, "processes": known.processes, "deployments": rows}
        print(json.dumps(told, indent=2))
        return 0 if known.unread is None else 1
    from router_config.cli.money import table

    head = ("group", "deployment", "state", "reason", "since", "until", "next probe", "calls")
    lines: list[Sequence[str]] = [(*head, "success", "p50", "p95")]
    lines += [_line(row, known.now) for row in rows]
    print(table(lines))
    print(f"\n{_who(known)}")
    return 0 if known.unread is None else 1


def _rows(config: Config, known: Known) -> list[dict[str, Any]]:
    import os

    from plugins._fleet import Seen
    from plugins._pool import build

    rows = []
    for group in build(config, os.environ).values():
        for one in group:
            key = known.keys.get(one.id, "")
            standing, seen = known.standings.get(key), known.seen.get(key, Seen())
            state = "fine" if standing is None else standing.kind
            if standing is None and one.off is not None and one.id not in known.keys:
                state = "off"
            rows.append(
                {
                    "group": one.group,
                    "id": one.id,
                    "state": state,
                    "reason": one.off if state == "off" else standing and standing.reason,
                    "since": standing and standing.since,
                    "until": standing and standing.until,
                    "by": standing and standing.by,
                    "strikes": standing.strikes if standing else 0,
                    "next_probe": seen.probe_at if standing else None,
                    "calls": seen.calls,
                    "success_rate": seen.success_rate,
                    "p50_s": seen.p50_s,
                    "p95_s": seen.p95_s,
                }
            )
    return rows


def _line(row: dict[str, Any], now: float) -> Sequence[str]:
    out = row["state"] not in ("fine", "off")
    until = "" if not out else "until mended" if row["until"] is None else _when(row["until"], now)
    if out and row["until"] is not None and row["until"] <= now:
        until = "on trial"
    return (
        row["group"],
        row["id"],
        row["state"],
        row["reason"] or "",
        _when(row["since"], now),
        until,
        _when(row["next_probe"], now),
        str(row["calls"]),
        "-" if row["success_rate"] is None else f"{row['success_rate']:.1%}",
        _ms(row["p50_s"]),
        _ms(row["p95_s"]),
    )


def _who(known: Known) -> str:
    if known.unread is not None:
        return f"What the running processes know was not read: {known.unread}."
    if not known.processes:
        return "No process is running on this ledger; above is what was last known."
    names = ", ".join(
        f"{name} (makes the probes)" if leads else name
        for name, leads in sorted(known.processes.items())
    )
    return f"As seen by {len(known.processes)}: {names}"


# -- what an operator says


async def _order(args: argparse.Namespace, config: Config, shared: Shared) -> int:
    from plugins._parity_bars import waive
    from plugins._standings import PREFIX
    from plugins._voice import Voice
    from router_config.cli.fleet import keys_here, known_to

    for _ in range(_TRIES):
        known = await known_to(shared, keys_here(config), config.health.slow_start_s)
        key = known.keys.get(args.id)
        if key is None:
            why = _unknown(args.id, config)
            print(f"qwen3-router health {args.action}: {why}", file=sys.stderr)
            return 2
        said, word = _word(args, config, known, key)
        if word is None:
            break
        # Beside what else is said of it, and only if nothing was said since it was read.
        voice = Voice(known.ahead_s)
        voice.hear(known.said.get(key, voice.said))
        voice.say(word, known.now)
        if args.action == "uneject":
            await waive(shared, key)
        if await shared.put(PREFIX + key, voice.said.to_json(), seen=known.version):
            break
    else:
        print(f"qwen3-router health {args.action}: {args.id}: {_BUSY}", file=sys.stderr)
        return 1
    if args.format == "json":
        told = {"done": word is not None, "deployments": known.sharing(key), "said": said}
        print(json.dumps(told, indent=2))
    else:
        print(said)
    return 0


def _word(
    args: argparse.Namespace, config: Config, known: Known, key: str
) -> tuple[str, Standing | None]:
    """Return what the operator is told, and the word to say, None if there is nothing to do."""
    before = known.standings.get(key)
    also = ", ".join(one for one in known.sharing(key) if one != args.id)
    subject = f"{args.id} (and so {also}: the same endpoint)" if also else args.id
    if args.action == "uneject" and (before is None or not before.is_out):
        return f"{subject} is not out", None
    if args.action == "uneject":
        word = _back(key, before, known.now, config.health.slow_start_s)
        return f"{subject} comes back within a second, with a slow start", word
    if before is not None and before.kind == "quarantined":
        return f"{subject} is out already, quarantined: {before.reason}", None
    word = _out(args, key, before, known.now)
    ends = f"qwen3-router health uneject {args.id}"
    if word.until is not None:
        ends = datetime.fromtimestamp(word.until, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"{subject} is out within a second, until {ends}", word


def _out(args: argparse.Namespace, key: str, before: Standing | None, now: float) -> Standing:
    from plugins._standing import Standing

    until = None if args.for_s is None else now + args.for_s
    strikes = before.strikes if before is not None else 0
    kind = "drained" if args.drain else "ejected"
    return Standing(key, kind, args.reason, now, until, strikes, "operator")


def _back(key: str, before: Standing | None, now: float, slow_start_s: float) -> Standing:
    from plugins._standing import Standing

    reason, strikes = (before.reason, before.strikes) if before is not None else ("", 0)
    return Standing(key, "returning", reason, now, now + slow_start_s, strikes, "operator")


def _unknown(id_: str, config: Config) -> str:
    import os

    from router_config import resolve
    from router_config.problems import did_you_mean

    every = {one.id: one for group in config.groups.values() for one in group.deployments}
    if id_ in every:
        off = resolve(every[id_], os.environ).off
        return f"{id_} is off here ({off}), and no running process has it"
    guess = did_you_mean(id_, every)
    hint = f'did you mean "{guess}"?' if guess else f"there are: {', '.join(every)}"
    return f"no deployment {id_!r}; {hint}"


# -- as text


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text.strip())
    if match is not None:
        seconds = float(match[1]) * _UNITS[match[2]]
        if 0 < seconds <= _LONGEST_S:
            return seconds
    raise argparse.ArgumentTypeError("a number and its unit, such as 90s, 30m, 1h or 2d")


def _reason(text: str) -> str:
    if not text.strip() or len(text) > 200 or not text.isprintable():
        raise argparse.ArgumentTypeError("1 to 200 printable characters")
    return text.strip()


def _when(at: float | None, now: float) -> str:
    """Return a moment as people say it: `3 m ago`, `in 40 s`."""
    if at is None:
        return ""
    seconds = abs(at - now)
    size, unit = next((s, u) for u, s in reversed(_UNITS.items()) if seconds >= s or u == "s")
    span = f"{seconds / size:.0f} {unit}"
    return f"{span} ago" if at <= now else f"in {span}"


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.0f} ms"
