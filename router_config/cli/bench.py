"""`qwen3-router bench`: our path against plain LiteLLM's, in one run on this machine, as ratios.

One proxy process serves all subjects over one static upstream: an `openai/` deployment is plain
LiteLLM's path, `qwen3/` deployments are ours. Absolute numbers depend on the machine and on what
else runs there; only the ratios of one run say something.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from router_config.cli.child import free_port, serving, wait_until_ready

__all__ = ["HELP", "add_arguments", "run"]

HELP = "measure our path against plain LiteLLM's, as ratios"

_PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class _Subject:
    """What is measured: a model group of the bench config, or the upstream itself."""

    name: str
    model: str | None
    fields: dict[str, Any]


_SUBJECTS = (
    _Subject("upstream itself, floats", None, {}),
    _Subject("plain LiteLLM, 4096 floats", _PLAIN, {"encoding_format": "float"}),
    _Subject("router, 4096 floats, float upstream", "ours-float", {}),
    _Subject("router, 4096 floats, base64 upstream", "ours-base64", {}),
    _Subject("router, 4096 base64, base64 upstream", "ours-base64", {"encoding_format": "base64"}),
    _Subject("router, 1024 floats, base64 upstream", "ours-base64", {"dimensions": 1024}),
    # The same but for money: what the ledger adds to a request is the difference.
    _Subject("router, 4096 floats, with a budget", "ours-budget", {}),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `bench`."""
    parser.add_argument("--n", type=int, nargs="+", default=[1, 32], help="inputs per request")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=5.0, help="per subject (default: 5)")
    parser.add_argument("--format", choices=["text", "json"], default="text")


def run(args: argparse.Namespace) -> int:
    """Print the table; 1 if a subject did not answer."""
    with tempfile.TemporaryDirectory(prefix="qwen3-router-bench-") as folder:
        key = "sk-bench-" + secrets.token_hex(8)
        config = Path(folder) / "config.yaml"
        log = Path(folder) / "proxy.log"
        with _upstream("float") as base, _upstream("base64") as base64:
            config.write_text(json.dumps(_config(base, base64)))
            port = free_port(0)
            environ = {**os.environ, "BENCH_API_KEY": "none", "QWEN3_ROUTER_STATE": folder}
            with serving(config, port, key, environ, log) as process:
                if not wait_until_ready(process, port, log):
                    return 1
                rows = asyncio.run(_measure(args, base, port, key, process.pid))
    if args.format == "json":
        print(json.dumps(rows, indent=2))
    else:
        print(_table(rows, args))
    return 0 if all(row["failures"] == 0 and row["per_second"] > 0 for row in rows) else 1


@contextlib.contextmanager
def _upstream(encoding: str) -> Iterator[str]:
    """Start the static upstream and yield its base URL."""
    with subprocess.Popen(
        [sys.executable, "-m", "router_config.sandbox.static", "--encoding", encoding],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        try:
            yield str(json.loads(process.stdout.readline())["base"])
        finally:
            process.terminate()


def _config(base: str, base64: str) -> dict[str, Any]:
    """Return the bench config; JSON is YAML, and nothing here is for people to edit."""

    def deployment(group: str, model: str, api_base: str, **info: Any) -> dict[str, Any]:
        params = {"model": model, "api_base": api_base, "api_key": "os.environ/BENCH_API_KEY"}
        return {
            "model_name": group,
            "litellm_params": params,
            "model_info": {"id": group, "mode": "embedding", **info},
        }

    return {
        "model_list": [
            deployment("ours-float", "qwen3/openai", base, base64=False),
            deployment("ours-base64", "qwen3/openai", base64, base64=True),
            deployment(
                "ours-budget",
                "qwen3/openai",
                base64,
                base64=True,
                budget="bench",
                input_cost_per_token=0.0001,  # digits in JSON too
            ),
            deployment(_PLAIN, "openai/Qwen/Qwen3-Embedding-8B", base),
        ],
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
        "litellm_settings": {
            "callbacks": [
                "plugins.gateway.handler",
                "plugins.budget.handler",
                "plugins.matryoshka.handler",
            ],
            "custom_provider_map": [
                {"provider": "qwen3", "custom_handler": "plugins.provider.handler"}
            ],
        },
        "general_settings": {
            "master_key": "os.environ/LITELLM_MASTER_KEY",
            "custom_auth": "plugins.keys.handler",
        },
        "embedding_router": {
            "ledger": "sqlite",
            "budgets": {"bench": {"usd": 1_000_000, "period": "lifetime"}},
        },
    }


async def _measure(
    args: argparse.Namespace, base: str, port: int, key: str, pid: int
) -> list[dict[str, Any]]:
    from router_config.cli.loadgen import drive

    rows: list[dict[str, Any]] = []
    for n in args.n:
        texts = [f"Текст номер {i} о поиске документов." for i in range(n)]
        for subject in _SUBJECTS:
            body = {"model": subject.model or "upstream", "input": texts, **subject.fields}
            url = f"{base}/embeddings" if subject.model is None else _url(port)
            payload = json.dumps(body, ensure_ascii=False).encode()
            headers = {"authorization": f"Bearer {key}"}
            for seconds in (min(1.0, args.seconds), args.seconds):  # the first warms up
                before = _cpu_s(pid)
                least = 2 * args.connections if seconds == args.seconds else 1
                got = await drive(
                    url,
                    payload,
                    headers,
                    connections=args.connections,
                    seconds=seconds,
                    least=least,
                )
                used = _cpu_s(pid) - before
            replies = len(got.latencies_s)
            rows.append(
                {
                    "n": n,
                    "subject": subject.name,
                    "plain": subject.model == _PLAIN,
                    "per_second": got.per_second,
                    "p50_ms": got.percentile_ms(0.5),
                    "p99_ms": got.percentile_ms(0.99),
                    "cpu_ms": used / replies * 1000 if replies and subject.model else None,
                    "reply_bytes": got.reply_bytes,
                    "failures": got.failures,
                }
            )
    return rows


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}/v1/embeddings"


def _cpu_s(pid: int) -> float:
    """Return the CPU seconds of process *pid*; 0 where /proc does not tell."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _table(rows: Sequence[dict[str, Any]], args: argparse.Namespace) -> str:
    head = (
        f"{args.connections} connections, {args.seconds:g} s per subject, one worker; load "
        f"generator and upstream share the {os.cpu_count()} cores\n"
    )
    names = (
        f"{'n':>5}  {'subject':38} {'req/s':>9} {'× plain':>8} {'p50 ms':>8} {'p99 ms':>8} "
        f"{'CPU ms':>7} {'failed':>6}"
    )
    lines = [head, names]
    for row in rows:
        plain = next(one["per_second"] for one in rows if one["n"] == row["n"] and one["plain"])
        ratio = row["per_second"] / plain if plain else float("nan")
        cpu = f"{row['cpu_ms']:.1f}" if row["cpu_ms"] is not None else "-"
        lines.append(
            f"{row['n']:>5}  {row['subject']:38} {row['per_second']:>9.1f} {ratio:>8.1f} "
            f"{row['p50_ms']:>8.1f} {row['p99_ms']:>8.1f} {cpu:>7} {row['failures']:>6}"
        )
    return "\n".join(lines)
