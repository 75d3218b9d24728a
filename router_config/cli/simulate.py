"""`qwen3-router simulate`: what a configuration would do with a traffic, before it is live."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from router_config.cli.common import add_config, config_path

if TYPE_CHECKING:
    from router_config import Config
    from router_config.simulation.figures import Figures
    from router_config.simulation.scenario import Scenario
    from router_config.simulation.traffic import Request

__all__ = ["HELP", "add_arguments", "run"]

HELP = "replay a traffic against a config on a virtual clock: cost, share, errors"

# Beyond this many requests only every n-th is played; a million takes about a minute.
_MOST = 1_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `simulate`."""
    parser.add_argument(
        "model", nargs="?", help="the group that is asked (default: the first; a trace has its own)"
    )
    add_config(parser)
    parser.add_argument(
        "--against", metavar="FILE", type=Path, help="another config to play the same traffic with"
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--trace", metavar="FILE", type=Path, help="a request log (JSON lines) to replay"
    )
    source.add_argument("--rate", type=float, metavar="N", help="requests a second, on average")
    parser.add_argument("--for", dest="span", default="1d", help="with --rate: 6h, 1d, 4w; 1d")
    parser.add_argument("--inputs", type=int, default=1, help="with --rate: texts in a request; 1")
    parser.add_argument("--tokens", type=int, default=300, help="with --rate: of each text; 300")
    parser.add_argument(
        "--start", metavar="TIME", help="with --rate: such as 2026-11-30T22:00; default: now, UTC"
    )
    parser.add_argument(
        "--outage",
        action="append",
        default=[],
        metavar="WHO[:KIND]@START+LENGTH",
        help="a deployment or provider fails: deepinfra:hang@10h+30m; down (default), hang, error, "
        "busy, rate, key, credit",
    )
    parser.add_argument(
        "--price",
        action="append",
        default=[],
        metavar="WHO=USD[@START]",
        help="another price per million tokens, from START on",
    )
    parser.add_argument(
        "--latency", action="append", default=[], metavar="WHO=TIME", help="how fast: vllm=80ms"
    )
    parser.add_argument(
        "--failing", action="append", default=[], metavar="WHO=SHARE", help="of its calls: 0.02"
    )
    parser.add_argument(
        "--all-keys",
        action="store_true",
        help="as if every key variable were set (default: those that are)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of all chances; the same gives the same"
    )
    parser.add_argument("--plot", metavar="FILE", type=Path, help="draw a chart: .png or .svg")
    parser.add_argument("--format", choices=["text", "json"], default="text")


def run(args: argparse.Namespace) -> int:
    """Play the traffic; 1 for a config with problems, 2 for options that mean nothing."""
    from router_config import ConfigError, load
    from router_config.simulation.scenario import ScenarioError
    from router_config.simulation.traffic import TraceError

    try:
        paths = [config_path(args), *([args.against] if args.against is not None else [])]
        configs = [load(path) for path in paths]
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    try:
        job = _job(args, configs)
    except (ScenarioError, TraceError, OSError) as error:
        print(f"qwen3-router simulate: {error}", file=sys.stderr)
        return 2
    found = _play(job, configs)
    if args.plot is not None:
        from router_config.simulation.plot import plot

        plot([(str(path), one) for path, one in zip(paths, found, strict=True)], args.plot)
    _print(args, paths, found)
    return 0


@dataclass(frozen=True, slots=True)
class _Job:
    group: str
    start: float
    end: float
    factor: int
    seed: int
    environ: Mapping[str, str]
    scenario: Scenario
    # A trace; with None the requests are drawn, each time the same.
    requests: list[Request] | None
    per_s: float
    inputs: int
    tokens: int


def _job(args: argparse.Namespace, configs: list[Config]) -> _Job:
    from datetime import UTC, datetime

    from router_config.simulation import scenario as sc
    from router_config.simulation import traffic

    events: list[dict[str, Any]] = []
    requests: list[Request] | None = None
    if args.trace is not None:
        with args.trace.open(encoding="utf-8") as lines:
            events = traffic.read_trace(lines, str(args.trace))
        requests = traffic.replayed(events)
        if not requests:
            raise traffic.TraceError(f"{args.trace}: no request in it that reached a group")
        start, end, most = requests[0].at, requests[-1].at, len(requests)
    else:
        if args.rate <= 0 or args.inputs < 1 or args.tokens < 1:
            raise sc.ScenarioError("--rate, --inputs and --tokens must be positive")
        now = datetime.now(UTC).timestamp()
        start = now if args.start is None else sc.moment_s(args.start, now)
        end = start + sc.duration_s(args.span)
        most = int(args.rate * (end - start))
    if args.plot is not None and args.plot.suffix not in (".png", ".svg"):
        raise sc.ScenarioError(f"--plot {args.plot}: name a .png or .svg file")
    scenario = sc.Scenario(
        [sc.Outage.parse(one, start) for one in args.outage],
        [sc.Price.parse(one, start) for one in args.price],
        {who: sc.duration_s(value) for who, value in _pairs("latency", args.latency)},
        {who: _share(value) for who, value in _pairs("failing", args.failing)},
        traffic.latencies(events),
        args.seed,
    )
    _check_names(scenario, configs)
    group = args.model or next(iter(configs[0].groups), "")
    for config in configs:
        if requests is None and group not in config.groups:
            there = ", ".join(config.groups)
            raise sc.ScenarioError(f"no model group {group!r} in {config.path}; there are: {there}")
    return _Job(
        group,
        start,
        end,
        max(1, -(-most // _MOST)),
        args.seed,
        _environ(configs, all_keys=args.all_keys),
        scenario,
        requests,
        args.rate or 0.0,
        args.inputs,
        args.tokens,
    )


def _environ(configs: list[Config], *, all_keys: bool) -> dict[str, str]:
    """Return the environment; with *all_keys* every variable that a deployment names is set."""
    found = dict(os.environ)
    if all_keys:
        from router_config import EnvRef

        for config in configs:
            for group in config.groups.values():
                for one in group.deployments:
                    for value in (one.api_key, one.api_base):
                        if isinstance(value, EnvRef) and not found.get(value.name):
                            of_base = value is one.api_base
                            found[value.name] = f"http://{one.id}.invalid" if of_base else one.id
                    if one.provider is not None and one.api_key is None and one.provider.key_env:
                        found.setdefault(one.provider.key_env, one.provider.name)
    return found


def _play(job: _Job, configs: list[Config]) -> list[Figures]:
    """Return the figures of each configuration; two are played side by side."""
    if len(configs) == 1:
        return [_one(job, configs[0])]
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(len(configs)) as pool:
        return list(pool.map(_one, [job] * len(configs), configs))


def _one(job: _Job, config: Config) -> Figures:
    from router_config.simulation.machine import simulate
    from router_config.simulation.traffic import at_rate, thinned

    requests: Iterable[Request]
    if job.requests is not None:
        requests = thinned(job.requests, job.factor)
    else:  # drawn at the thinner rate, which is the same and saves the drawing
        requests = at_rate(
            job.per_s / job.factor,
            job.end - job.start,
            start=job.start,
            inputs=job.inputs,
            tokens=job.tokens,
            seed=job.seed,
        )
    with _silence():  # what health and money say is of a time that is none
        return simulate(
            config,
            job.environ,
            requests,
            job.scenario,
            group=job.group,
            start=job.start,
            end=job.end,
            factor=job.factor,
            seed=job.seed,
        )


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    import logging

    logger = logging.getLogger("qwen3_router")
    was = (logger.propagate, logger.handlers)
    logger.propagate, logger.handlers = False, [logging.NullHandler()]
    try:
        yield
    finally:
        logger.propagate, logger.handlers = was


def _print(args: argparse.Namespace, paths: list[Path], found: list[Figures]) -> None:
    from router_config.cli.simulated import difference, table

    told = [one.as_dict() for one in found]
    if args.format == "json":
        sides = [
            {"config": str(path), "factor": one.factor, **data}
            for path, one, data in zip(paths, found, told, strict=True)
        ]
        answer: Any = sides[0] if len(sides) == 1 else sides
        print(json.dumps(answer, indent=2))
        return
    for path, one, data in zip(paths, found, told, strict=True):
        print(table(str(path), data, one.factor))
    if len(told) > 1:
        print(difference(told[0], told[1]))


def _pairs(option: str, given: list[str]) -> list[tuple[str, str]]:
    from router_config.simulation.scenario import ScenarioError

    found = [one.partition("=") for one in given]
    for who, sign, value in found:
        if not (who and sign and value):
            raise ScenarioError(f"--{option} {who}{sign}{value}: write WHO=VALUE")
    return [(who, value) for who, _, value in found]


def _share(text: str) -> float:
    from router_config.simulation.scenario import ScenarioError

    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ScenarioError(f"--failing: {text!r} is not a share between 0 and 1")
    return share


def _check_names(scenario: Scenario, configs: list[Config]) -> None:
    from router_config.simulation.scenario import ScenarioError

    known = {
        name
        for config in configs
        for group in config.groups.values()
        for one in group.deployments
        for name in (one.id, one.provider.name if one.provider else one.id)
    }
    for name in sorted(scenario.names() - known):
        raise ScenarioError(f"{name!r} is no deployment or provider of the config")
