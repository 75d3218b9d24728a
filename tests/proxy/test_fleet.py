"""Two proxies on one Redis: what one finds out, or an operator says, holds in the other."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from router_config.cli import main
from router_config.sandbox import Sandbox
from tests.plugins.ledger_stores import RedisServer, redis_server
from tests.proxy.budgets import Setup
from tests.proxy.harness import MASTER_KEY, PLAIN, Proxy, running

PAID, OWN, LAST = "deepinfra", "tei", "vllm"


@dataclass
class Fleet:
    """Two proxies with a state folder each, as on two machines, and the store between them."""

    box: Sandbox
    redis: RedisServer
    proxies: list[Proxy]

    def ask(self, which: int, group: str = "g") -> tuple[int, str, str]:
        """Return status, deployment and attempts of a request to one of them."""
        reply = self.proxies[which].post({"model": group, "input": "x", "dimensions": 32})
        headers = reply.headers
        return reply.status_code, headers["x-router-deployment"], headers["x-router-attempts"]

    def calls(self, provider: str) -> int:
        return self.box.totals(provider)["calls"]


def until(true: Callable[[], bool], within_s: float = 60.0) -> float:
    """Wait until *true*; return how many seconds it took."""
    begun = time.monotonic()
    while not true():
        assert time.monotonic() - begun < within_s
        time.sleep(0.02)
    return time.monotonic() - begun


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Fleet, Path, Setup]]:
    folder = tmp_path_factory.mktemp("fleet")
    with redis_server() as server, Sandbox(mode="hash", providers=[PAID, OWN, LAST]) as box:
        setup = Setup(box, section={"ledger": server.url, "health": {"idle_s": 0, "base_s": 10}})
        setup.add("g", PAID)
        setup.add("g", LAST, 2)
        setup.add("own", OWN)
        setup.add("own", LAST, 2, id_="own--last")
        config = setup.write(folder / "config.yaml")

        def start(which: int) -> Proxy:
            state = {"QWEN3_ROUTER_STATE": str(folder / f"state-{which}")}
            log = folder / f"{which}.log"
            return stack.enter_context(running(config, log, environ={**setup.environ, **state}))

        with ExitStack() as stack, ThreadPoolExecutor(2) as threads:
            yield Fleet(box, server, list(threads.map(start, range(2)))), config, setup


@pytest.fixture
def fleet(started: tuple[Fleet, Path, Setup], monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """The fleet with nobody out, and the environment of an operator who knows no provider's key."""
    found, config, setup = started
    for name in setup.environ:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CONFIG_FILE_PATH", str(config))
    monkeypatch.delenv("QWEN3_ROUTER_STATE", raising=False)
    found.box.reset()
    return found


def health(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    """Run the command and return what it printed."""
    capsys.readouterr()
    code = main(["health", *words, "--format", "json"])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    return json.loads(printed.out)


def states(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    return {row["id"]: row["state"] for row in health(capsys)["deployments"]}


def test_an_ejection_seen_by_one_holds_in_the_other(
    fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet.box.fault(PAID, "status", status=500)
    for _ in range(3):
        assert fleet.ask(0) == (200, f"g--{LAST}", "2")
    out = f"endpoint out: deployment=g--{PAID} state=ejected"
    took_s = until(lambda: out in fleet.proxies[1].log())
    with capsys.disabled():
        print(f"\nheld in the other after {took_s:.2f} s")
    assert took_s < 5  # 1 on a machine that does nothing else
    before = fleet.calls(PAID)
    for _ in range(5):
        assert fleet.ask(1) == (200, f"g--{LAST}", "1")
    assert fleet.calls(PAID) == before == 3
    row = next(one for one in health(capsys)["deployments"] if one["id"] == f"g--{PAID}")
    assert (row["state"], row["reason"]) == ("ejected", "server")
    assert row["calls"] >= 0
    # And back, by an operator, in both.
    fleet.box.clear()
    health(capsys, "uneject", f"g--{PAID}")
    for proxy in fleet.proxies:
        until(lambda proxy=proxy: f"endpoint back: deployment=g--{PAID}" in proxy.log())


def test_every_process_obeys_an_operator_within_a_second(
    fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    told = health(capsys, "eject", "own--tei", "--for", "1h", "--drain", "--reason", "new disk")
    assert told["deployments"] == ["own--tei"]
    out = "endpoint out: deployment=own--tei state=drained reason='new disk'"
    took_s = max(until(lambda proxy=proxy: out in proxy.log()) for proxy in fleet.proxies)
    with capsys.disabled():
        print(f"\nobeyed after {took_s:.2f} s")
    for which in range(2):
        assert fleet.ask(which, "own") == (200, "own--last", "1")
    assert fleet.calls(OWN) == 0
    assert states(capsys)["own--tei"] == "drained"
    health(capsys, "uneject", "own--tei")
    until(lambda: states(capsys)["own--tei"] == "returning")
    for proxy in fleet.proxies:
        until(lambda proxy=proxy: "endpoint back: deployment=own--tei" in proxy.log())


def test_the_page_says_that_its_traffic_is_one_servers(fleet: Fleet) -> None:
    for proxy in fleet.proxies:
        page = httpx.get(f"{proxy.base}/router/", auth=("any", MASTER_KEY), **PLAIN).text
        assert "are of this server" in page


def test_a_killed_leader_hands_over_and_who_was_out_is_probed_and_returns(
    fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last but one: it ends a proxy."""

    def leaders() -> list[int]:
        found = health(capsys)["processes"]
        return [int(name.split(".")[-2]) for name, leads in found.items() if leads]

    until(lambda: len(leaders()) == 1)
    (leader,) = leaders()
    pids = [proxy.process.pid for proxy in fleet.proxies]
    assert leader in pids
    killed, left = (0, 1) if leader == pids[0] else (1, 0)
    fleet.box.down(OWN)
    survivor = fleet.proxies[left]
    out, back = (f"endpoint {word}: deployment=own--tei" for word in ("out", "back"))
    outs, backs = survivor.log().count(out), survivor.log().count(back)

    def is_out() -> bool:
        assert fleet.ask(left, "own")[:2] == (200, "own--last")
        return survivor.log().count(out) > outs

    until(is_out)
    fleet.box.up(OWN)
    os.kill(pids[killed], signal.SIGKILL)
    took_s = until(lambda: pids[left] in leaders(), 40)
    with capsys.disabled():
        print(f"\nanother makes the probes after {took_s:.1f} s")
    assert survivor.log().count("this process makes the probes") == 1
    # No client asks for it meanwhile: it is a probe that brings it back.
    took_s = until(lambda: survivor.log().count(back) > backs, 60)
    with capsys.disabled():
        print(f"\nback {took_s:.1f} s after that")
    until(lambda: fleet.ask(left, "own") == (200, "own--tei", "1"))
    del fleet.proxies[killed]


def test_without_the_store_a_process_goes_on_alone_and_says_so_once(fleet: Fleet) -> None:
    """The last test: the other proxy has gone."""
    fleet.redis.kill()
    for proxy in fleet.proxies:
        until(lambda proxy=proxy: "the shared notes are away" in proxy.log())
    time.sleep(1.5)
    for which, proxy in enumerate(fleet.proxies):
        assert fleet.ask(which, "own")[0] == 200
        assert proxy.log().count("the shared notes are away") == 1
    fleet.redis.start()
    for proxy in fleet.proxies:
        until(lambda proxy=proxy: "the shared notes are back" in proxy.log())
