"""Memory over time: one proxy under a steady, mixed load, with faults, and what it takes meanwhile.

    python -m tests.proxy.soak --minutes 10 --rate 50

Requests of one text and of 32, new and known ones, with floats and base64, of 4096 and 1024
numbers, at providers that fail now and then. Prints the proxy's memory every ten seconds, and the
slope of the line through all but the first fifth of the readings.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx

from router_config.cli.bench_watch import slope
from router_config.sandbox import Sandbox
from tests.proxy.budgets import PRICES, Setup, key_of, keys
from tests.proxy.harness import PLAIN, Proxy, running

_READ_EVERY_S = 10.0
_WARM_UP_SHARE = 0.2
_MOST_UNDER_WAY = 200
_PROVIDERS = ("deepinfra", "nebius", "vllm")


def main() -> int:
    """Run it; 1 if a request got anything but vectors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=50.0, help="requests a second")
    parser.add_argument("--many", type=float, default=0.2, help="share of those with 32 texts")
    args = parser.parse_args()
    settings = {name: {"price": PRICES[name]} for name in _PROVIDERS if name in PRICES}
    with (
        tempfile.TemporaryDirectory(prefix="qwen3-soak-") as name,
        Sandbox(mode="hash", providers=_PROVIDERS, settings=settings) as box,
    ):
        folder = Path(name)
        setup = _configured(box)
        environ = {**setup.environ, "QWEN3_ROUTER_STATE": str(folder)}
        with running(setup.write(folder / "config.yaml"), folder / "log", environ=environ) as proxy:
            load = _Load(proxy, box, args.rate, args.many)
            asyncio.run(load.run(args.minutes * 60))
            return load.report(args.minutes)


def _configured(box: Sandbox) -> Setup:
    setup = Setup(box)
    for order, provider in enumerate(_PROVIDERS, 1):
        setup.add("soak", provider, order, budget="all")
    setup.section = {
        "ledger": "sqlite",
        "cache": {"enabled": True},
        "budgets": {
            "all": {"usd": 1000, "period": "month"},
            "key:*": {"usd": 100, "period": "day"},
        },
        "keys": keys({f"client-{i}": {} for i in range(4)}),
    }
    return setup


class _Load:
    """Requests at a steady rate, whatever the answers take."""

    def __init__(self, proxy: Proxy, box: Sandbox, rate: float, many: float) -> None:
        self._proxy = proxy
        self._box = box
        self._rate = rate
        self._many = many
        self._draw = random.Random(1)
        self._number = 0
        self._texts = 0
        self._answers: Counter[str] = Counter()
        self._points: list[tuple[float, float]] = []

    async def run(self, seconds: float) -> None:
        limits = httpx.Limits(max_connections=_MOST_UNDER_WAY)
        began = time.monotonic()
        async with httpx.AsyncClient(timeout=60, limits=limits, **PLAIN) as client:
            under_way: set[asyncio.Task[None]] = set()
            read_at = began
            while (now := time.monotonic()) - began < seconds:
                if now >= read_at:
                    read_at += _READ_EVERY_S
                    await asyncio.to_thread(self._befall)
                    self._read(now - began)
                if len(under_way) < _MOST_UNDER_WAY:
                    task = asyncio.create_task(self._ask(client))
                    under_way.add(task)
                    task.add_done_callback(under_way.discard)
                self._number += 1
                await asyncio.sleep(max(0.0, began + self._number / self._rate - time.monotonic()))
            await asyncio.gather(*under_way)
        self._read(seconds)

    def _befall(self) -> None:
        """Start the providers' journals anew, which would grow, and their faults with them."""
        self._box.reset()
        for fault, share in (("status", 0.01), ("reset_before_answer", 0.01), ("hang", 0.002)):
            self._box.fault(
                "deepinfra", fault, probability=share, random_seed=self._draw.randrange(10**6)
            )
        self._box.fault("nebius", "nan_null", probability=0.02, random_seed=1)

    async def _ask(self, client: httpx.AsyncClient) -> None:
        n = 32 if self._draw.random() < self._many else 1
        body: dict[str, Any] = {"model": "soak", "input": [self._text() for _ in range(n)]}
        if self._draw.random() < 0.3:
            body["encoding_format"] = "base64"
        if self._draw.random() < 0.3:
            body["dimensions"] = 1024
        key = key_of(f"client-{self._draw.randrange(4)}")
        try:
            reply = await client.post(
                f"{self._proxy.base}/v1/embeddings",
                json=body,
                headers={"authorization": f"Bearer {key}"},
            )
            kind = str(reply.status_code)
            if kind == "200":
                kind += " " + reply.headers.get("x-router-cache", "").split(" ")[0]
        except httpx.TransportError as error:
            kind = type(error).__name__
        self._answers[kind] += 1

    def _text(self) -> str:
        """Return a new text, or, three times out of ten, one of the last thousands."""
        if self._texts and self._draw.random() < 0.3:
            return f"text {self._texts - self._draw.randrange(min(self._texts, 20_000))} of a soak"
        self._texts += 1
        return f"text {self._texts} of a soak"

    def _read(self, at_s: float) -> None:
        self._points.append((at_s / 60, _rss_mb(self._proxy.process.pid)))
        at, mb = self._points[-1]
        print(f"{at:6.2f} min  {mb:7.1f} MB  {dict(self._answers)}", flush=True)

    def report(self, minutes: float) -> int:
        settled = [one for one in self._points if one[0] >= _WARM_UP_SHARE * minutes]
        print(f"slope {slope(settled):+.2f} MB per minute over the last {len(settled)} readings")
        failed = sum(n for kind, n in self._answers.items() if not kind.startswith("200"))
        print(f"{sum(self._answers.values())} requests, {failed} without vectors")
        return 1 if failed else 0


def _rss_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS:")).split()[1]) / 1024


if __name__ == "__main__":
    raise SystemExit(main())
