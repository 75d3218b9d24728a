"""Two proxies on one Redis: one limit for both, one alert, and what happens when it is lost."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import redis

from plugins._ledger_redis import RedisLedger
from router_config.sandbox import Sandbox
from tests.plugins.ledger_stores import RedisServer, redis_server
from tests.proxy.answers import refused
from tests.proxy.budgets import billed, room, text_of
from tests.proxy.crowds import (
    Storm,
    assert_held,
    assert_used_up,
    called,
    configured,
    kill,
    providers_in_a_storm,
    stormy,
)
from tests.proxy.harness import Proxy, running


@dataclass
class Pair:
    """Two proxies on one store, each with a state folder of its own, as on two machines."""

    folder: Path
    box: Sandbox
    redis: RedisServer
    proxies: list[Proxy] = field(default_factory=list)
    stacks: list[ExitStack] = field(default_factory=lambda: [ExitStack(), ExitStack()])
    starts: int = 0

    def ledger(self) -> RedisLedger:
        return RedisLedger(self.redis.url, timeout_s=20)

    def started(self, which: int) -> Proxy:
        """Start the proxy *which*; it ends with its stack."""
        self.starts += 1
        setup = configured(self.box, self.redis.url)
        config = setup.write(self.folder / f"{which}.yaml")
        state = {"QWEN3_ROUTER_STATE": str(self.folder / f"state-{which}")}
        log = self.folder / f"{which}-{self.starts}.log"
        return self.stacks[which].enter_context(
            running(config, log, environ={**setup.environ, **state})
        )

    @property
    def bases(self) -> list[str]:
        return [proxy.base for proxy in self.proxies]

    def ask(self, which: int, model: str, text: str) -> httpx.Response:
        return self.proxies[which].post({"model": model, "input": text, "dimensions": 32})

    def until_served(self, which: int, model: str) -> None:
        """Ask until there are vectors; before, the ledger is the reason."""
        ends = time.monotonic() + 60
        while (reply := self.ask(which, model, text_of(20))).status_code != 200:
            refused(reply, 503, "ledger_unavailable", retry=True)
            assert time.monotonic() < ends
            time.sleep(0.1)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with redis_server() as server, providers_in_a_storm() as box:
        made = Pair(tmp_path_factory.mktemp("pair"), box, server)
        with made.stacks[0], made.stacks[1], ThreadPoolExecutor(2) as threads:
            made.proxies = list(threads.map(made.started, range(2)))
            yield made


def test_an_alert_is_one_line_in_one_log_whoever_crosses_the_level(pair: Pair) -> None:
    for i in range(10):
        assert pair.ask(i % 2, "alerts", text_of(9, i)).status_code == 200
    # A provider that counts more than we held for is booked in full, over the limit.
    pair.box.fault("novita", "usage_inflated", factor=1.3)
    assert pair.ask(0, "alerts", text_of(9)).status_code == 200
    assert pair.ask(1, "alerts", "Hi").status_code == 503
    assert room(pair.ledger(), "alerts").spent.tokens == 90 + 12
    lines = [
        line
        for proxy in pair.proxies
        for line in proxy.log().splitlines()
        if "budget alert:" in line
    ]
    told = [(line.partition("level=")[2].partition(" ")[0]) for line in lines]
    assert sorted(told) == ["100%", "50%", "80%"]
    for line in lines:
        assert "WARNING qwen3_router.money: budget alert: budget=alerts unit=tokens level=" in line
        assert re.search(r" limit=100 resets_at=20\d\d-\d\d-01T00:00:00Z$", line)


def test_a_crowd_at_two_proxies_cannot_overspend_through_kill_and_restart(pair: Pair) -> None:
    stormy(pair.box)
    before = Storm(pair.bases)
    killed = ("tokens-own", "dollars-own")
    before.run(killed, when=lambda: called(pair.box), then=lambda: kill(pair.proxies[1]))
    assert before.broken > 0
    assert_held(pair.box, pair.ledger)
    pair.stacks[1].close()
    pair.proxies[1] = pair.started(1)
    after = Storm(pair.bases)
    after.run()
    assert after.broken == 0
    assert_used_up(pair.box, pair.ledger, killed)
    for proxy in pair.proxies:
        assert "never retrieved" not in proxy.log()
    print(f"\n{before.vectors} vectors around the kill, {after.vectors} after")


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_a_lost_ledger_refuses_what_costs_money_and_comes_back(pair: Pair, how: str) -> None:
    pair.box.reset()
    assert [pair.ask(i, "paid", text_of(20)).status_code for i in range(2)] == [200, 200]
    spent = room(pair.ledger(), "rich").spent
    if how == "killed":
        pair.redis.kill()
    else:
        pair.redis.signal(signal.SIGSTOP)
    took_ms = []
    for _ in range(3):
        begun = time.monotonic()
        refused(pair.ask(0, "paid", text_of(20)), 503, "ledger_unavailable", retry=True)
        took_ms.append((time.monotonic() - begun) * 1000)
    print(f"\n{how}: refused after {', '.join(f'{one:.0f}' for one in took_ms)} ms")
    assert took_ms[0] < 5000  # 200 on a machine that does nothing else
    assert pair.ask(0, "own", text_of(20)).status_code == 200
    behind = pair.ask(0, "paid-first", text_of(20))
    assert (behind.status_code, behind.headers["x-router-deployment"]) == (200, "paid-first--vllm")
    assert billed(pair.box, "novita").calls == 2
    if how == "killed":
        pair.redis.start()
    else:
        pair.redis.signal(signal.SIGCONT)
    for i in range(2):
        pair.until_served(i, "paid")
    assert room(pair.ledger(), "rich").spent.tokens == spent.tokens + 2 * 20


def test_a_store_that_lost_its_data_is_used_again_once_an_operator_accepts(pair: Pair) -> None:
    """The last test: it empties the store."""
    pair.box.reset()
    assert pair.ask(0, "paid", text_of(20)).status_code == 200
    with redis.Redis.from_url(pair.redis.url) as client:
        client.flushall()
    for i in range(2):
        refused(pair.ask(i, "paid", text_of(20)), 503, "ledger_unavailable", retry=True)
    assert pair.ask(0, "own", text_of(20)).status_code == 200

    async def accept() -> None:
        ledger = pair.ledger()
        await ledger.accept("a test emptied it", "tests")
        await ledger.close()

    asyncio.run(accept())
    for i in range(2):
        pair.until_served(i, "paid")
    assert room(pair.ledger(), "rich").spent.tokens == 2 * 20
