"""LiteLLM's own limits of a key hold on the fast path, and give back what they counted.

Also the end of a process: whoever is being served when it is told to end gets an answer.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from router_config.sandbox import Sandbox
from tests.proxy import configs
from tests.proxy.answers import calls, refused
from tests.proxy.harness import Proxy, running
from tests.proxy.identities import (
    FEW_TOKENS,
    FREE,
    LIMITED,
    ONE_AT_A_TIME,
    REVOKED,
    REVOKED_FILE,
)
from tests.sizes import size

BODY = {"model": configs.solo("vllm"), "input": "x", "dimensions": 32}


@pytest.fixture(scope="module")
def limiting(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy whose keys are checked by somebody else's handler, started as plain LiteLLM."""
    folder: Path = tmp_path_factory.mktemp("limits")
    config = yaml.safe_load(configs.write(sandbox, folder / "shared.yaml").read_text())
    del config["embedding_router"]["keys"]
    config["general_settings"]["custom_auth"] = "tests.proxy.identities.authenticate"
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    environ = {**configs.environ(sandbox), REVOKED_FILE: str(folder / "revoked")}
    with running(path, folder / "proxy.log", environ=environ, form="litellm") as proxy:
        yield proxy


def in_flight(proxy: Proxy) -> int:
    """Return how many requests of ours are being served, or wait for it."""
    printed = proxy.get("/router/metrics", key=configs.METRICS_TOKEN).text
    name = "qwen3_router_requests_in_flight "
    return sum(int(float(one.split()[1])) for one in printed.splitlines() if one.startswith(name))


def is_of_this_path(reply: httpx.Response) -> bool:
    """Tell whether the path of this run served *reply*."""
    return ("x-litellm-callback-duration-ms" not in reply.headers) is configs.FAST_PATH


def within_a_minute() -> None:
    left = 60 - time.time() % 60
    if left < 10:
        time.sleep(left)


def test_a_key_without_limits_is_served(limiting: Proxy, box: Sandbox) -> None:
    reply = limiting.post(BODY, key=FREE)
    assert (reply.status_code, is_of_this_path(reply)) == (200, True)
    refused(limiting.post(BODY, key="sk-nobody"), 401, "unauthorized")


def test_a_key_with_three_requests_a_minute_gets_three(limiting: Proxy, box: Sandbox) -> None:
    within_a_minute()
    replies = [limiting.post(BODY, key=LIMITED) for _ in range(5)]
    assert [one.status_code for one in replies] == [200, 200, 200, 429, 429]
    assert all(map(is_of_this_path, replies[:3]))
    refused(replies[3], 429, "rate_limited", retry=True)
    assert calls(box) == {"vllm": 3}


def test_the_tokens_of_a_key_are_counted(limiting: Proxy, box: Sandbox) -> None:
    within_a_minute()
    body = {**BODY, "input": "word " * 8}  # ten tokens
    good = 0
    for _ in range(10):
        reply = limiting.post(body, key=FEW_TOKENS)
        if reply.status_code == 429:
            break
        assert reply.status_code == 200
        good += 1
        time.sleep(0.5)  # they are counted behind the reply
    refused(reply, 429, "rate_limited", retry=True)
    assert good == 4
    assert calls(box) == {"vllm": good}


def test_a_key_that_is_taken_away_is_refused_at_once(limiting: Proxy, box: Sandbox) -> None:
    assert limiting.post(BODY, key=REVOKED).status_code == 200
    (limiting.folder / "revoked").write_text(REVOKED)
    refused(limiting.post(BODY, key=REVOKED), 401, "unauthorized")
    assert calls(box) == {"vllm": 1}


def test_a_limit_of_parallel_requests_is_given_back(limiting: Proxy, box: Sandbox) -> None:
    for _ in range(size(5, 50)):
        ends = time.monotonic() + 60
        while (reply := limiting.post(BODY, key=ONE_AT_A_TIME)).status_code != 200:
            assert time.monotonic() < ends  # the last one is counted off after its reply
            time.sleep(0.05)
        assert is_of_this_path(reply)


def test_whoever_is_being_served_at_the_end_gets_an_answer(limiting: Proxy, box: Sandbox) -> None:
    n = size(40, 200)
    box.fault("vllm", "slow", delay_s=2.0)
    replies: list[httpx.Response] = []
    threads = [
        threading.Thread(target=lambda: replies.append(limiting.post(BODY, key=FREE)))
        for _ in range(n)
    ]
    for thread in threads:
        thread.start()
    ends = time.monotonic() + 60
    while len(replies) + in_flight(limiting) < n and time.monotonic() < ends:
        time.sleep(0.02)
    os.kill(limiting.process.pid, signal.SIGTERM)
    for thread in threads:
        thread.join()
    assert [one.status_code for one in replies] == [200] * n
    assert limiting.process.wait(timeout=30) is not None
