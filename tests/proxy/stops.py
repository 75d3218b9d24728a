"""The end of a process: what becomes of the requests that it serves, and what it leaves behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import httpx

from router_config.sandbox import Sandbox
from tests.proxy import configs
from tests.proxy.answers import calls
from tests.proxy.budgets import ask_all, rooms
from tests.proxy.harness import Proxy
from tests.proxy.watching import Watch
from tests.sizes import size

__all__ = ["BUDGETS", "assert_a_good_stop"]

# As many as each of them is sent at once, so that all are under way together.
_IN_FLIGHT = [
    *["deepinfra"] * 100,
    *["fireworks"] * 32,
    *["openrouter"] * 32,
    *["vllm"] * 32,
    *["scaleway"] * 4,
][:: size(5, 1)]
_ANSWER_S = size(25, 50) / 10
_BUDGET = "group:" + configs.solo("deepinfra")
BUDGETS = {_BUDGET: {"tokens": 1_000_000, "period": "month"}}
"""What the config has to have: a request that is killed leaves a hold in it."""


def assert_a_good_stop(proxy: Proxy, box: Sandbox, state: Path) -> None:
    """End *proxy*, whose ledger is in *state*, with many requests in flight; all get their vectors.

    Also: who comes later is told so, or finds nobody; no hold is left in the ledger and no process.
    """
    box.reset()
    for provider in set(_IN_FLIGHT):
        box.fault(provider, "slow", delay_s=_ANSWER_S)
    bodies = [
        {"model": configs.solo(one), "input": f"text {i}", "dimensions": 32}
        for i, one in enumerate(_IN_FLIGHT)
    ]
    spent = rooms(state, [_BUDGET])[_BUDGET].spent.tokens
    replies: list[httpx.Response | None] = []
    crowd = threading.Thread(
        target=lambda: replies.extend(asyncio.run(ask_all([proxy.base], bodies)))
    )
    crowd.start()
    ends = time.monotonic() + 60
    while sum(calls(box).values()) < len(bodies):
        assert time.monotonic() < ends, calls(box)
        time.sleep(0.05)
    watch = Watch(proxy)
    os.kill(proxy.process.pid, signal.SIGTERM)
    late: Counter[str] = Counter()
    while crowd.is_alive():
        late[_asked(proxy)] += 1
        time.sleep(0.1)
    crowd.join()
    code = proxy.process.wait(timeout=60)
    assert Counter(one and one.status_code for one in replies) == {200: len(bodies)}
    assert all(one and len(one.json()["data"][0]["embedding"]) == 32 for one in replies)
    print(f"code {code}; who came later: {dict(late)}")
    made = calls(box)
    assert made.pop("tei", 0) == late["200"]  # just before the process has heard of its end
    assert made == Counter(_IN_FLIGHT)  # nobody was called twice
    assert code in (0, -signal.SIGTERM)
    assert set(late) <= {"200", "503", "nobody is there"}
    room = rooms(state, [_BUDGET])[_BUDGET]
    assert room.held.tokens == 0
    assert room.spent.tokens > spent
    assert _left_behind(proxy.process.pid) == []
    assert "Traceback" not in watch.text()


def _asked(proxy: Proxy) -> str:
    body = {"model": configs.solo("tei"), "input": "late", "dimensions": 32}
    try:
        return str(proxy.post(body).status_code)
    except httpx.ConnectError:
        return "nobody is there"
    except httpx.TransportError as error:
        return type(error).__name__


def _left_behind(session: int) -> list[str]:
    """Return what runs of the session of processes that the proxy began, once it has settled."""
    ends = time.monotonic() + 10
    while (found := _running(session)) and time.monotonic() < ends:
        time.sleep(0.1)
    return found


def _running(session: int) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.getsid(int(path.name)) == session:
                found.append((path / "cmdline").read_text().replace("\0", " "))
    return found
