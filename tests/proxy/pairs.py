"""The group `pair-<provider>`: a provider that a fault befalls, and a healthy one behind it."""

from __future__ import annotations

from decimal import Decimal

import httpx
import numpy as np
import orjson

from plugins._errors import Fault
from router_config import load_catalogue
from router_config.sandbox import Sandbox
from tests.proxy import reference
from tests.proxy.answers import calls
from tests.proxy.configs import HEALTHY, pair
from tests.proxy.harness import Proxy
from tests.proxy.watching import Failure, Watch

__all__ = ["TEXTS", "TOKENS", "ask", "falls_over", "is_taken"]

TEXTS = ("Тайный текст о слиянии двух компаний", "a confidential text about a merger")
TOKENS = sum(map(reference.count, TEXTS))
PRICES = {
    name: fact.price.usd_per_million_tokens * TOKENS / 1_000_000
    for name, fact in load_catalogue().items()
}


def behind(provider: str) -> str:
    return "vllm" if provider == HEALTHY else HEALTHY


def ask(proxy: Proxy, group: str) -> httpx.Response:
    return proxy.post({"model": group, "input": TEXTS})


def assert_right(reply: httpx.Response, deployment: str, attempts: int) -> None:
    difference = reference.rows(reply) - reference.expected(TEXTS)
    assert np.abs(difference).max() <= reference.TOLERANCE
    assert reply.headers["x-router-deployment"] == deployment
    assert reply.headers["x-router-attempts"] == str(attempts)
    assert orjson.loads(reply.content)["usage"]["prompt_tokens"] == TOKENS


def falls_over(
    proxy: Proxy,
    box: Sandbox,
    first: str,
    fault: Fault,
    *,
    group: str | None = None,
    sent: bool = True,
    reached: bool = True,
) -> Failure:
    """Ask *group*, check that it was served behind *first*, and return the operator's line."""
    group = group or pair(first)
    watch = Watch(proxy)
    reply = ask(proxy, group)
    assert_right(reply, f"{group}--{behind(first)}", 2)
    # The failed call is the operator's loss; what the client is told is what its answer cost.
    assert Decimal(reply.headers["x-router-cost-usd"]) == PRICES[behind(first)]
    assert calls(box) == {**({first: 1} if reached else {}), behind(first): 1}
    (line,) = watch.failures()
    assert line.deployment == f"{group}--{first}"
    assert line.request == reply.headers["x-router-request-id"]
    assert (line.fault, line.sent) == (fault, sent)
    return line


def is_taken(proxy: Proxy, box: Sandbox, provider: str) -> Watch:
    """Ask the pair of *provider* and check that its first deployment answered."""
    watch = Watch(proxy)
    assert_right(ask(proxy, pair(provider)), f"{pair(provider)}--{provider}", 1)
    assert calls(box) == {provider: 1}
    assert watch.failures() == []
    return watch
