"""From one box to four machines: one file, and only the store's URL differs.

Four proxies with a state folder each, as four pods have, on one Redis. At full size only: two on
one Redis are in `test_money_redis.py` and `test_fleet.py`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from plugins._ledger_redis import RedisLedger
from router_config.sandbox import Sandbox
from tests.plugins.ledger_stores import RedisServer, redis_server
from tests.proxy.budgets import Setup, ask_all, billed, key_of, keys, room, text_of
from tests.proxy.budgets import wait_for_a_minute_with as wait_for_a_minute
from tests.proxy.harness import Proxy, running
from tests.sizes import FULL

pytestmark = pytest.mark.skipif(not FULL, reason="starts five proxies: make test-full")
REPLICAS = 4
TOKENS = 60  # of a call; held as 62
WORTH = 20  # calls


def configured(box: Sandbox) -> Setup:
    setup = Setup(box)
    setup.add("few", "deepinfra", budget="few")
    setup.add("many", "siliconflow")
    setup.add("many", "vllm", 2)
    setup.add("rated", "vllm")
    setup.section.update(
        {
            "ledger": "os.environ/QWEN3_ROUTER_LEDGER",
            "health": {"enabled": True},  # which tests of money are without
            "budgets": {"few": {"tokens": WORTH * TOKENS, "period": "lifetime"}},
            "keys": keys({"rated": {"rpm": 10}}),
        }
    )
    return setup


@dataclass
class Fleet:
    """The proxies of one file, by their store."""

    box: Sandbox
    redis: RedisServer
    one: Proxy  # on SQLite
    replicas: list[Proxy]

    def calls(self, provider: str) -> int:
        """Return how often texts were sent to *provider*; its free signals are no calls."""
        return sum(len(entry["sha256"]) > 0 for entry in self.box.journal(provider))

    def ask(self, which: Proxy, model: str, number: int = 0) -> Any:
        return which.post({"model": model, "input": text_of(20, number), "dimensions": 32})


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder: Path = tmp_path_factory.mktemp("fleet")
    with redis_server() as server, Sandbox(mode="hash") as box, ExitStack() as stack:
        setup = configured(box)
        config = setup.write(folder / "config.yaml")

        def start(number: int) -> Proxy:
            ledger = server.url if number else "sqlite"
            environ = {
                **setup.environ,
                "QWEN3_ROUTER_LEDGER": ledger,
                "QWEN3_ROUTER_STATE": str(folder / f"state-{number}"),
            }
            return stack.enter_context(running(config, folder / f"{number}.log", environ=environ))

        with ThreadPoolExecutor(2) as threads:
            one, *replicas = threads.map(start, range(1 + REPLICAS))
        yield Fleet(box, server, one, replicas)


def test_the_same_file_serves_from_one_box_and_from_four(fleet: Fleet) -> None:
    fleet.box.reset()
    replies = [fleet.ask(proxy, "many") for proxy in (fleet.one, *fleet.replicas)]
    assert [reply.status_code for reply in replies] == [200] * (1 + REPLICAS)
    assert len({reply.content for reply in replies}) == 1  # byte for byte


def test_four_processes_spend_one_budget(fleet: Fleet) -> None:
    fleet.box.reset()
    bodies = [{"model": "few", "input": text_of(TOKENS, i), "dimensions": 32} for i in range(200)]
    replies = asyncio.run(ask_all([proxy.base for proxy in fleet.replicas], bodies))
    codes = [reply.status_code for reply in replies if reply is not None]
    assert len(codes) == 200
    assert set(codes) == {200, 503}
    served = codes.count(200)
    assert WORTH - 2 <= served <= WORTH
    spent = room(RedisLedger(fleet.redis.url, timeout_s=20), "few").spent.tokens
    assert spent == billed(fleet.box, "deepinfra").tokens == served * TOKENS
    assert spent <= WORTH * TOKENS


def test_a_rate_is_one_rate_for_all_four(fleet: Fleet) -> None:
    fleet.box.reset()
    wait_for_a_minute(30)
    bodies = [{"model": "rated", "input": text_of(20, i), "dimensions": 32} for i in range(40)]
    bases = [proxy.base for proxy in fleet.replicas]
    replies = asyncio.run(ask_all(bases, bodies, key=key_of("rated")))
    codes = [reply.status_code for reply in replies if reply is not None]
    assert sorted(codes) == [200] * 10 + [429] * 30


def test_what_one_finds_sick_the_others_leave_alone(fleet: Fleet) -> None:
    fleet.box.reset()
    fleet.box.fault("siliconflow", "unauthorized")
    first, *others = fleet.replicas
    for i in range(6):
        assert fleet.ask(first, "many", i).status_code == 200
    found = fleet.calls("siliconflow")
    assert 1 <= found <= 3
    out = "endpoint out: deployment=many--siliconflow"
    ends = time.monotonic() + 60
    while not all(out in proxy.log() for proxy in others):
        assert time.monotonic() < ends
        time.sleep(0.05)
    for i, proxy in enumerate(others * 3):
        reply = fleet.ask(proxy, "many", 10 + i)
        assert reply.headers["x-router-deployment"] == "many--vllm"
        assert reply.headers["x-router-attempts"] == "1"
    assert fleet.calls("siliconflow") == found
