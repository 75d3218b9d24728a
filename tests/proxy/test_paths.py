"""The fast path and LiteLLM's give the same bytes, the same calls and the same headers.

`x-router-path: litellm` with the master key sends one request the long way, so one proxy has both.
"""

from __future__ import annotations

from typing import Any

import httpx
import orjson
import pytest

from router_config.sandbox import Sandbox
from tests.proxy import configs, reference
from tests.proxy.answers import calls, refused
from tests.proxy.harness import Proxy

pytestmark = pytest.mark.skipif(not configs.FAST_PATH, reason="the fast path is off in this run")

LONG_WAY = {"x-router-path": "litellm"}
# LiteLLM measures its callbacks, which the fast path does not call; ids and times differ anyway.
ONLY_LITELLM = {"x-litellm-callback-duration-ms", "x-litellm-overhead-duration-ms"}
EVERY_TIME_NEW = {
    "date",
    "x-litellm-call-id",
    "x-litellm-response-duration-ms",
    "x-router-request-id",
}


def both(
    proxy: Proxy, body: dict[str, Any], headers: dict[str, str] | None = None
) -> tuple[httpx.Response, httpx.Response]:
    """Return the answers of the fast path and of LiteLLM's."""
    given = headers or {}
    return proxy.post(body, headers=given), proxy.post(body, headers={**given, **LONG_WAY})


def same_headers(fast: httpx.Response, long: httpx.Response) -> None:
    left = {k: v for k, v in fast.headers.items() if k not in EVERY_TIME_NEW}
    right = {k: v for k, v in long.headers.items() if k not in EVERY_TIME_NEW | ONLY_LITELLM}
    assert left == right
    assert set(fast.headers) - set(long.headers) == set()


@pytest.mark.parametrize("provider", configs.PROVIDERS)
@pytest.mark.parametrize("encoding", ["float", "base64"])
@pytest.mark.parametrize(("n", "dimensions"), [(1, 4096), (3, 33), (40, 1024), (300, 512)])
def test_every_dialect_gives_the_same_bytes_on_both_paths(
    proxy: Proxy, box: Sandbox, provider: str, encoding: str, n: int, dimensions: int
) -> None:
    body = {
        "model": configs.solo(provider),
        "input": reference.texts(n),
        "dimensions": dimensions,
        "encoding_format": encoding,
    }
    fast, long = both(proxy, body)
    assert fast.status_code == 200
    assert fast.content == long.content
    same_headers(fast, long)
    made = calls(box)[provider]
    assert made == 2 * int(fast.headers["x-router-attempts"])


@pytest.mark.parametrize(
    "fields",
    [
        {"input": []},
        {"input": "x", "dimensions": 5},
        {"input": [[1, 2]]},
        {"model": "nobody", "input": "x"},
        {"model": "unknown", "input": "x"},
        {"model": "few-dimensions", "input": "x", "dimensions": 4096},
    ],
    ids=str,
)
def test_every_refusal_is_the_same_on_both_paths(
    proxy: Proxy, box: Sandbox, fields: dict[str, Any]
) -> None:
    body = {"model": configs.solo("vllm"), **fields}
    fast, long = both(proxy, body, {"origin": "https://page.example"})
    assert fast.status_code >= 400
    assert (fast.status_code, fast.content) == (long.status_code, long.content)
    same_headers(fast, long)
    assert calls(box) == {}


@pytest.mark.parametrize("fault", ["status", "unauthorized", "zero_vector"])
def test_failover_makes_the_same_calls_on_both_paths(
    proxy: Proxy, box: Sandbox, fault: str
) -> None:
    box.fault("deepinfra", fault)
    fast, long = both(proxy, {"model": configs.pair("deepinfra"), "input": "x"})
    assert fast.content == long.content
    assert fast.headers["x-router-attempts"] == long.headers["x-router-attempts"] == "2"
    assert calls(box) == {"deepinfra": 2, configs.HEALTHY: 2}


def test_a_page_in_a_browser_may_read_the_reply(proxy: Proxy, box: Sandbox) -> None:
    body = {"model": configs.solo("vllm"), "input": "x", "dimensions": 32}
    fast, long = both(proxy, body, {"origin": "https://page.example"})
    same_headers(fast, long)
    assert fast.headers["access-control-allow-origin"] == "*"


def test_the_fast_path_serves(proxy: Proxy, box: Sandbox) -> None:
    fast, long = both(proxy, {"model": configs.solo("vllm"), "input": "x", "dimensions": 32})
    # Only LiteLLM's own path runs its callbacks, and says how long they took.
    assert "x-litellm-callback-duration-ms" not in fast.headers
    assert "x-litellm-callback-duration-ms" in long.headers


def test_only_the_admin_key_chooses_the_path(proxy: Proxy, box: Sandbox) -> None:
    body = {"model": configs.solo("vllm"), "input": "x", "dimensions": 32}
    reply = proxy.post(body, key=configs.KEYS["search"], headers=LONG_WAY)
    assert reply.status_code == 200
    assert "x-litellm-callback-duration-ms" not in reply.headers
    refused(proxy.post(body, key="sk-wrong", headers=LONG_WAY), 401, "unauthorized")


def test_a_user_is_noted_and_not_passed_on(proxy: Proxy, box: Sandbox) -> None:
    body = {"model": configs.solo("vllm"), "input": "x", "dimensions": 32, "user": "someone"}
    fast, long = both(proxy, body)
    assert orjson.loads(fast.content) == orjson.loads(long.content)
    assert fast.status_code == 200
    assert all("user" not in entry["fields"] for entry in box.journal("vllm"))
