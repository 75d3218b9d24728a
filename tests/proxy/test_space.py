"""`x-router-space` on every reply, and 409 for a client that has pinned another space."""

from __future__ import annotations

import pytest

from router_config.sandbox import Sandbox
from tests.proxy.configs import FAST_PATH, solo
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


@pytest.mark.parametrize("path", [{}, {"x-router-path": "litellm"}], ids=["usual", "litellm"])
@pytest.mark.parametrize("group", [solo("vllm"), "cached", "with-fallback", "plain"])
@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_every_reply_names_it_however_it_comes_about(
    proxy: Proxy, box: Sandbox, group: str, path: dict[str, str], encoding: str
) -> None:
    """Alone, found in the cache, by a fallback group, and by LiteLLM's own client."""
    if group == "with-fallback":
        box.fault("deepinfra", "status")
    body = {"model": group, "input": f"a space for {group}", "encoding_format": encoding}
    for dimensions in (1024, 33):
        space = f"qwen3-8b:last:l2:r1:{dimensions}"
        for pinned in ({}, {"x-router-space": space}):
            reply = proxy.post({**body, "dimensions": dimensions}, headers={**path, **pinned})
            assert reply.status_code == 200
            assert reply.headers["x-router-space"] == space
    if group == "cached" and not path and FAST_PATH:
        assert reply.headers["x-router-cache"] == "HIT"
    calls = sum(len(box.journal(one)) for one in box.bases)
    wrong = {**path, "x-router-space": "qwen3-8b:last:l2:r1:4096"}
    reply = proxy.post({**body, "dimensions": 1024}, headers=wrong)
    assert (reply.status_code, reply.json()["error"]["code"]) == (409, "space_mismatch")
    assert sum(len(box.journal(one)) for one in box.bases) == calls
