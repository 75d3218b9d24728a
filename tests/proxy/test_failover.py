"""Several deployments fail: who is asked, how often, and what a client is told when nobody is left.

What is asserted holds at any draw, so each case is repeated with other faults on other deployments.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from decimal import ROUND_CEILING, Decimal
from typing import Any

import httpx
import numpy as np
import orjson
import pytest

from router_config import load_catalogue
from router_config.sandbox import Sandbox
from tests.proxy import reference
from tests.proxy.answers import calls, refused
from tests.proxy.configs import MIX_PROVIDERS, MIXES, pair
from tests.proxy.harness import Proxy
from tests.proxy.watching import Watch
from tests.sizes import size

TEXTS = ("Первый текст", "second text", "第三")
CATALOGUE = load_catalogue()
# What kills a deployment; each reaches it once, except the first, which it never hears of.
DEATHS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("down", {}),
    ("status", {"status": 500}),
    ("unauthorized", {}),
    ("model_missing", {}),
    ("short_vectors", {}),
    ("rate_limited", {"retry_after_s": 7}),
    ("reset_mid_body", {}),
)
# Groups whose fourth deployment comes after the other three at any draw.
FOURTH_IS_LAST = [name for name, orders in MIXES.items() if orders[3] > max(orders[:3])]


def kill(box: Sandbox, provider: str, death: tuple[str, dict[str, Any]]) -> None:
    kind, options = death
    if kind == "down":
        box.down(provider)
    else:
        box.fault(provider, kind, **options)


def deaths(n: int) -> Iterator[tuple[tuple[str, dict[str, Any]], ...]]:
    """Yield *n* different choices of three deaths, each of them often enough."""
    every = itertools.permutations(DEATHS, 3)
    return itertools.islice(every, 0, None, 210 // n)


def once(*providers: str) -> dict[str, int]:
    """Return what the journals show if each of *providers* was asked once, and nobody else."""
    return dict.fromkeys(sorted(providers), 1)


def ask(proxy: Proxy, group: str, texts: Sequence[str] = TEXTS) -> httpx.Response:
    return proxy.post({"model": group, "input": texts})


def assert_vectors(reply: httpx.Response, texts: Sequence[str] = TEXTS) -> None:
    difference = reference.rows(reply) - reference.expected(texts)
    assert np.abs(difference).max() <= reference.TOLERANCE


def assert_no_deployment(reply: httpx.Response, group: str, attempts: int, most: int) -> None:
    """Check the documented 503, and that it says nothing about who failed or how."""
    message = refused(reply, 503, "no_deployment_available", retry=True)
    assert message == (
        f"No deployment of {group} could serve the request "
        f"({attempts} of at most {most} attempts used)."
        if attempts
        else f"No deployment of {group} can be used now: nobody is configured."
    )
    assert set(reply.headers) == {
        "content-length",
        "content-type",
        "date",
        "retry-after",
        "server",
        "vary",
        "x-router-attempts",
        "x-router-request-id",
        "x-should-retry",
    }
    assert reply.headers["server"] == "uvicorn"
    assert 1 <= int(reply.headers["retry-after"]) <= 60


# -- three dead ones before a healthy fourth


@pytest.mark.parametrize("death", DEATHS, ids=lambda death: death[0])
@pytest.mark.parametrize("group", FOURTH_IS_LAST)
def test_three_dead_ones_cost_one_call_each_before_the_fourth_answers(
    proxy: Proxy, box: Sandbox, group: str, death: tuple[str, dict[str, Any]]
) -> None:
    *dead, healthy = MIX_PROVIDERS
    for provider in dead:
        kill(box, provider, death)
    watch = Watch(proxy)
    reply = ask(proxy, group)
    assert_vectors(reply)
    assert reply.headers["x-router-deployment"] == f"{group}--{healthy}"
    assert reply.headers["x-router-attempts"] == "4"
    assert calls(box) == once(*(dead if death[0] != "down" else []), healthy)
    assert sorted(line.deployment for line in watch.failures()) == [f"{group}--{p}" for p in dead]


@pytest.mark.parametrize("group", MIXES)
def test_no_deployment_is_asked_twice_at_any_draw(proxy: Proxy, box: Sandbox, group: str) -> None:
    *dead, healthy = MIX_PROVIDERS
    for chosen in deaths(size(21, 210)):
        box.reset()
        for provider, death in zip(dead, chosen, strict=True):
            kill(box, provider, death)
        watch = Watch(proxy)
        reply = ask(proxy, group)
        assert_vectors(reply)
        tried = [line.deployment for line in watch.failures()]
        assert len(set(tried)) == len(tried)
        assert reply.headers["x-router-deployment"] == f"{group}--{healthy}"
        assert reply.headers["x-router-attempts"] == str(len(tried) + 1)
        assert max(calls(box).values()) == 1
        orders = dict(zip([f"{group}--{p}" for p in MIX_PROVIDERS], MIXES[group], strict=True))
        asked_orders = [orders[one] for one in tried]
        assert asked_orders == sorted(asked_orders)
        lower = [one for one, order in orders.items() if order < MIXES[group][-1]]
        assert set(lower) <= set(tried)  # nobody of a lower order was left out


# -- nobody is left


@pytest.mark.parametrize("group", MIXES)
def test_four_dead_ones_cost_four_calls_and_a_503(proxy: Proxy, box: Sandbox, group: str) -> None:
    for chosen in deaths(size(7, 210)):
        box.reset()
        for provider, death in zip(MIX_PROVIDERS, (*chosen, DEATHS[1]), strict=True):
            kill(box, provider, death)
        watch = Watch(proxy)
        reply = ask(proxy, group)
        assert_no_deployment(reply, group, 4, 4)
        assert reply.headers["x-router-attempts"] == "4"
        assert max(calls(box).values()) == 1
        tried = [line.deployment for line in watch.failures()]
        assert sorted(tried) == [f"{group}--{p}" for p in MIX_PROVIDERS]


def test_the_number_of_attempts_is_a_limit(proxy: Proxy, box: Sandbox) -> None:
    for provider in MIX_PROVIDERS[:3]:
        box.fault(provider, "status")
    # The healthy fourth is beyond it.
    assert_no_deployment(ask(proxy, "capped"), "capped", 3, 3)
    assert calls(box) == once(*MIX_PROVIDERS[:3])


@pytest.mark.parametrize("death", DEATHS, ids=lambda death: death[0])
def test_one_dead_deployment_alone_is_a_503(
    proxy: Proxy, box: Sandbox, death: tuple[str, dict[str, Any]]
) -> None:
    kill(box, "deepinfra", death)
    reply = ask(proxy, "solo-deepinfra")
    assert_no_deployment(reply, "solo-deepinfra", 1, 3)
    # A refused key or an unknown model does not mend itself in a second.
    lasting = death[0] in ("unauthorized", "model_missing")
    told = death[1].get("retry_after_s", 5 if lasting else 1)
    assert reply.headers["retry-after"] == str(told)  # as the provider asked, if it did


def test_a_group_that_nobody_set_up_is_a_503_without_a_call(proxy: Proxy, box: Sandbox) -> None:
    assert_no_deployment(ask(proxy, "nobody"), "nobody", 0, 3)
    assert calls(box) == {}


def test_a_client_cannot_raise_the_number_of_attempts(proxy: Proxy, box: Sandbox) -> None:
    for provider in MIX_PROVIDERS:
        box.fault(provider, "status")
    body = {
        "model": "capped",
        "input": "x",
        "num_retries": 9,
        "max_retries": 9,
        "fallbacks": ["solo-vllm"],
        "context_window_fallbacks": [{"capped": ["solo-vllm"]}],
    }
    headers = {"x-litellm-num-retries": "9", "x-litellm-max-retries": "9"}
    assert_no_deployment(proxy.post(body, headers=headers), "capped", 3, 3)
    assert calls(box) == once(*MIX_PROVIDERS[:3])


# -- another group


@pytest.mark.parametrize("death", DEATHS, ids=lambda death: death[0])
def test_the_fallback_group_answers_for_the_first(
    proxy: Proxy, box: Sandbox, death: tuple[str, dict[str, Any]]
) -> None:
    kill(box, "deepinfra", death)
    reply = ask(proxy, "with-fallback")
    assert_vectors(reply)
    assert reply.headers["x-router-deployment"] == "fallback--vllm"
    assert reply.headers["x-router-attempts"] == "2"
    assert orjson.loads(reply.content)["model"] == "with-fallback"
    assert calls(box) == once(*(["deepinfra"] if death[0] != "down" else []), "vllm")


def test_a_dead_fallback_group_is_the_end(proxy: Proxy, box: Sandbox) -> None:
    box.fault("deepinfra", "unauthorized")
    box.fault("vllm", "status", status=500)
    assert_no_deployment(ask(proxy, "with-fallback"), "with-fallback", 2, 3)
    assert calls(box) == once("deepinfra", "vllm")


def test_the_first_group_is_asked_again_by_the_next_request(proxy: Proxy, box: Sandbox) -> None:
    box.fault("deepinfra", "status", times=1)
    assert ask(proxy, "with-fallback").headers["x-router-deployment"] == "fallback--vllm"
    again = ask(proxy, "with-fallback")
    assert again.headers["x-router-deployment"] == "with-fallback--deepinfra"


# -- a part of a request fails

MANY = reference.texts(100)


def nano_usd(provider: str, texts: Sequence[str]) -> int:
    exact = CATALOGUE[provider].price.usd_per_million_tokens * 1000 * tokens(texts)
    return int(exact.to_integral_value(rounding=ROUND_CEILING))


def tokens(texts: Sequence[str]) -> int:
    return sum(map(reference.count, texts))


def texts_of(entry: dict[str, Any]) -> list[str]:
    known = {reference.sha256(text): text for text in MANY}
    return [known[one] for one in entry["sha256"]]


@pytest.mark.parametrize(
    ("kind", "options"),
    [("status", {"status": 500}), ("nan_null", {"row": 3}), ("reset_mid_body", {})],
)
@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_only_what_is_missing_is_sent_on(
    proxy: Proxy, box: Sandbox, kind: str, options: dict[str, Any], after: int
) -> None:
    group = pair("siliconflow")
    box.fault("siliconflow", kind, times=1, after=after, **options)
    reply = ask(proxy, group, MANY)
    assert_vectors(reply, MANY)

    first = box.journal("siliconflow")
    assert len(first) == 4  # 100 inputs, 32 to a call, all under way when one of them failed
    (failed,) = [entry for entry in first if entry["fault"]]
    good = [entry for entry in first if not entry["fault"]]
    second = box.journal("openai")
    assert [one for entry in second for one in texts_of(entry)] == texts_of(failed)

    assert reply.headers["x-router-deployment"] == f"{group}--siliconflow,{group}--openai"
    assert reply.headers["x-router-attempts"] == str(len(first) + len(second))
    assert orjson.loads(reply.content)["usage"]["prompt_tokens"] == tokens(reference.distinct(MANY))
    cost = sum(nano_usd("siliconflow", texts_of(entry)) for entry in good)
    cost += sum(nano_usd("openai", texts_of(entry)) for entry in second)
    assert Decimal(reply.headers["x-router-cost-usd"]) == Decimal(cost).scaleb(-9)


def test_a_part_that_nobody_can_give_is_a_503_without_paying_twice(
    proxy: Proxy, box: Sandbox
) -> None:
    box.fault("siliconflow", "status", times=1)
    box.fault("openai", "status")
    reply = ask(proxy, pair("siliconflow"), MANY)
    assert_no_deployment(reply, pair("siliconflow"), 2, 3)
    assert reply.headers["x-router-attempts"] == "5"
    good = [entry for entry in box.journal("siliconflow") if not entry["fault"]]
    paid = [one for entry in good for one in texts_of(entry)]
    (asked,) = box.journal("openai")
    assert sorted([*paid, *texts_of(asked)]) == sorted(reference.distinct(MANY))


def test_a_sick_deployment_is_not_asked_on_for_the_other_parts(proxy: Proxy, box: Sandbox) -> None:
    texts = reference.texts(300)
    group = pair("llamacpp")
    box.fault("llamacpp", "status", after=2)  # two good parts, then none
    reply = ask(proxy, group, texts)
    assert_vectors(reply, texts)
    first, second = box.journal("llamacpp"), box.journal("openai")
    good = [one for entry in first if not entry["fault"] for one in entry["sha256"]]
    # Four of its calls may be under way at a time, of more than ten in all.
    assert len(first) <= 2 + 4
    rest = [one for entry in second for one in entry["sha256"]]
    assert sorted([*good, *rest]) == sorted(map(reference.sha256, reference.distinct(texts)))
    assert reply.headers["x-router-deployment"] == f"{group}--llamacpp,{group}--openai"
    assert reply.headers["x-router-attempts"] == str(len(first) + len(second))
