"""A client that leaves: what was sent is settled, what was not is never sent, all others go on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from router_config.sandbox import Sandbox
from tests.proxy import configs
from tests.proxy.answers import calls
from tests.proxy.harness import Proxy
from tests.proxy.sockets import connect, head
from tests.sizes import size

GROUP = configs.pair("deepinfra")


def request(**fields: Any) -> bytes:
    body = json.dumps({"model": GROUP, "input": "left alone", "dimensions": 32, **fields}).encode()
    return head({"content-length": str(len(body)), "content-type": "application/json"}) + body


def leave(proxy: Proxy, sent: bytes, when: Callable[[], bool]) -> None:
    with connect(proxy) as connection:
        connection.sendall(sent)
        assert eventually(when)


def after(seconds: float) -> Callable[[], bool]:
    ends = time.monotonic() + seconds
    return lambda: time.monotonic() >= ends


def asked(box: Sandbox, provider: str) -> Callable[[], bool]:
    return lambda: provider in calls(box)


def eventually(holds: Callable[[], bool]) -> bool:
    """Tell whether *holds* comes true within a generous time."""
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        if holds():
            return True
        time.sleep(0.02)
    return False


def works(proxy: Proxy) -> bool:
    return proxy.post({"model": "fallback", "input": "x", "dimensions": 32}).status_code == 200


def test_a_call_under_way_is_read_to_its_end(proxy: Proxy, box: Sandbox) -> None:
    box.fault("deepinfra", "slow", delay_s=1.0)
    leave(proxy, request(), asked(box, "deepinfra"))
    assert eventually(lambda: box.journal("deepinfra")[0]["answered"])
    assert calls(box) == {"deepinfra": 1}
    assert works(proxy)


def test_nobody_else_is_tried_for_a_client_that_left(proxy: Proxy, box: Sandbox) -> None:
    box.fault("deepinfra", "status", status=503, delay_s=1.0)
    leave(proxy, request(), asked(box, "deepinfra"))
    assert eventually(lambda: box.journal("deepinfra")[0]["answered"])
    assert works(proxy)
    time.sleep(0.5)
    assert calls(box) == {"deepinfra": 1, "vllm": 1}


def test_the_rest_of_a_split_request_is_not_sent(proxy: Proxy, box: Sandbox) -> None:
    box.fault("ollama", "slow", delay_s=0.5)
    # Twelve calls, of which this provider gets four at a time.
    texts = [f"text {i}" for i in range(12 * 32)]
    leave(proxy, request(model=configs.solo("ollama"), input=texts), asked(box, "ollama"))
    assert eventually(lambda: all(entry["answered"] for entry in box.journal("ollama")))
    sent = calls(box)
    time.sleep(1.5)
    assert calls(box) == sent
    assert 1 <= sent["ollama"] <= 8
    assert works(proxy)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_half_a_request_costs_nothing(proxy: Proxy, box: Sandbox, part: float) -> None:
    whole = request(input="x" * 5000)
    leave(proxy, whole[: int(len(whole) * part)], after(0.05))
    assert works(proxy)
    assert calls(box) == {"vllm": 1}


def test_many_that_leave_at_any_moment_leave_nothing_behind(proxy: Proxy, box: Sandbox) -> None:
    box.fault("deepinfra", "slow", delay_s=0.05)
    before = len(proxy.log())
    for i in range(size(40, 400)):
        leave(proxy, request(), after(i % 20 / 200))
    assert works(proxy)
    assert "Traceback" not in proxy.log()[before:]
