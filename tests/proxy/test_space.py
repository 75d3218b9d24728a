"""`x-router-space` on every reply, and 409 for a client that has pinned another space."""

from __future__ import annotations

import pytest

from router_config.sandbox import Sandbox
from tests.proxy.configs import solo
from tests.proxy.harness import Proxy

BODY = {"model": solo("vllm"), "input": "text", "dimensions": 1024}
SPACE = "qwen3-8b:last:l2:r1:1024"


def test_a_reply_names_its_space_and_the_name_can_be_sent_back(proxy: Proxy, box: Sandbox) -> None:
    first = proxy.post(BODY)
    assert first.headers["x-router-space"] == SPACE
    again = proxy.post(BODY, headers={"x-router-space": first.headers["x-router-space"]})
    assert again.status_code == 200
    assert proxy.post({**BODY, "dimensions": None}).headers["x-router-space"].endswith(":4096")
    assert len(box.journal("vllm")) == 3


@pytest.mark.parametrize("pinned", ["qwen3-8b:last:l2:r1:4096", "qwen3-8b:last:l2:r2:1024", "x"])
def test_a_pinned_space_that_is_another_costs_nothing(
    proxy: Proxy, box: Sandbox, pinned: str
) -> None:
    reply = proxy.post(BODY, headers={"X-Router-Space": pinned})
    assert (reply.status_code, reply.json()["error"]["code"]) == (409, "space_mismatch")
    assert reply.headers["x-should-retry"] == "false"
    assert pinned in reply.json()["error"]["message"]
    assert SPACE in reply.json()["error"]["message"]
    assert box.journal("vllm") == []
