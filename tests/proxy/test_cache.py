"""What is known is not asked for again: through the real proxy, counted at the provider."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import orjson
import pytest

from router_config.sandbox import Sandbox
from tests.proxy import configs, reference
from tests.proxy.answers import calls, refused, sent_texts
from tests.proxy.harness import MASTER_KEY, Proxy

pytestmark = pytest.mark.skipif(not configs.FAST_PATH, reason="the cache is the fast path's")

_number = iter(range(10**6))


def new(n: int = 1) -> list[str]:
    """Return texts that no test has asked for."""
    return [f"Новый текст {next(_number)} для кэша" for _ in range(n)]


def ask(
    proxy: Proxy,
    texts: list[str],
    *,
    group: str = "cached",
    key: str = MASTER_KEY,
    headers: dict[str, str] | None = None,
    **fields: Any,
) -> httpx.Response:
    return proxy.post({"model": group, "input": texts, **fields}, key=key, headers=headers)


def said(reply: httpx.Response) -> str | None:
    assert reply.status_code == 200, reply.text
    value = reply.headers.get("x-router-cache")
    return None if value is None else str(value)


def test_a_known_text_costs_nothing_and_says_so(proxy: Proxy, box: Sandbox) -> None:
    texts = new(3)
    first, *others = (ask(proxy, texts) for _ in range(4))
    assert [said(one) for one in (first, *others)] == ["MISS", "HIT", "HIT", "HIT"]
    assert len(sent_texts(box, "deepinfra")) == 3
    data = orjson.loads(first.content)["data"]
    for one in others:
        body = orjson.loads(one.content)
        assert body["data"] == data
        assert body["usage"] == {"prompt_tokens": 0, "total_tokens": 0}
        assert one.headers["x-router-cost-usd"] == "0"
        assert one.headers["x-router-attempts"] == "0"
        assert one.headers["x-router-deployment"] == "cached--deepinfra"


@pytest.mark.parametrize("encoding", ["float", "base64"])
@pytest.mark.parametrize("dimensions", [4096, 1024, 33])
def test_every_form_of_a_known_vector_is_what_a_provider_would_have_given(
    proxy: Proxy, box: Sandbox, dimensions: int, encoding: str
) -> None:
    texts = new(2)
    form = {"dimensions": dimensions, "encoding_format": encoding}
    ask(proxy, texts)
    known = ask(proxy, texts, **form)
    asked = ask(proxy, texts, group=configs.solo("deepinfra"), **form)
    assert said(known) == "HIT"
    assert said(asked) is None
    assert orjson.loads(known.content)["data"] == orjson.loads(asked.content)["data"]


def test_what_is_not_known_is_asked_for_alone(proxy: Proxy, box: Sandbox) -> None:
    known, unknown = new(3), new(2)
    ask(proxy, known)
    box.reset()
    texts = [known[0], unknown[0], known[1], known[0], unknown[1], unknown[0]]
    reply = ask(proxy, texts)
    assert said(reply) == "PARTIAL 3/6"
    assert sent_texts(box, "deepinfra") == [reference.sha256(text) for text in unknown]
    difference = reference.rows(reply) - reference.expected(tuple(texts))
    assert np.abs(difference).max() <= reference.TOLERANCE
    tokens = sum(map(reference.count, unknown))
    assert orjson.loads(reply.content)["usage"]["prompt_tokens"] == tokens


def test_32_times_the_same_text_is_one_input(proxy: Proxy, box: Sandbox) -> None:
    (text,) = new()
    reply = ask(proxy, [text] * 32)
    assert said(reply) == "MISS"
    assert sent_texts(box, "deepinfra") == [reference.sha256(text)]
    body = orjson.loads(reply.content)
    assert len({orjson.dumps(one["embedding"]) for one in body["data"]}) == 1
    assert len(body["data"]) == 32
    assert body["usage"]["prompt_tokens"] == reference.count(text)
    assert said(ask(proxy, [text] * 32)) == "HIT"


def test_a_query_is_not_the_document_of_the_same_words(proxy: Proxy, box: Sandbox) -> None:
    texts = new()
    ask(proxy, texts)
    assert said(ask(proxy, texts, input_type="query")) == "MISS"
    assert said(ask(proxy, texts, input_type="query")) == "HIT"
    assert said(ask(proxy, texts, instruct="Find another thing")) == "MISS"


def test_no_store_neither_finds_nor_leaves_anything(proxy: Proxy, box: Sandbox) -> None:
    texts, quiet = new(), {"cache-control": "no-cache, No-Store"}
    assert said(ask(proxy, texts, headers=quiet)) is None
    assert said(ask(proxy, texts)) == "MISS"
    assert said(ask(proxy, texts, headers=quiet)) is None
    assert calls(box) == {"deepinfra": 3}


def test_a_group_and_a_path_without_cache_have_none(proxy: Proxy, box: Sandbox) -> None:
    texts = new()
    for _ in range(2):
        assert said(ask(proxy, texts, group=configs.solo("vllm"))) is None
        assert said(ask(proxy, texts, headers={"x-router-path": "litellm"})) is None
    assert calls(box) == {"vllm": 2, "deepinfra": 2}


def test_a_key_of_a_region_gets_only_what_was_computed_there(proxy: Proxy, box: Sandbox) -> None:
    texts, group, eu = new(), "cached-regions", configs.KEYS["eu-only"]
    assert said(ask(proxy, texts, group=group)) == "MISS"
    inside = ask(proxy, texts, group=group, key=eu)
    assert said(inside) == "MISS"
    assert inside.headers["x-router-deployment"] == "cached-regions--nebius"
    assert said(ask(proxy, texts, group=group, key=eu)) == "HIT"
    assert calls(box) == {"deepinfra": 1, "nebius": 1}


def test_a_known_text_is_for_those_who_may_ask_and_as_often_as_they_may(
    proxy: Proxy, box: Sandbox
) -> None:
    texts, key = new(), configs.KEYS["twice"]
    ask(proxy, texts)
    refused(ask(proxy, texts, key="sk-nobody"), 401, "unauthorized")
    refused(ask(proxy, texts, key=configs.KEYS["search"]), 404, "model_not_found", "model")
    got = [ask(proxy, texts, key=key) for _ in range(3)]
    # Unless a minute ended in between, which gives two more.
    assert [one.status_code for one in got][:2] == [200, 200]
    if got[2].status_code != 200:
        refused(got[2], 429, "rate_limited", retry=True)


def test_one_of_many_who_ask_for_the_same_at_once_asks_the_provider(
    proxy: Proxy, box: Sandbox
) -> None:
    texts = new(4)
    orders = [texts, texts[::-1], texts[2:] + texts[:2]]
    box.fault("deepinfra", "slow", delay_s=0.3)
    with ThreadPoolExecutor(24) as pool:
        got = list(pool.map(lambda i: ask(proxy, orders[i % 3]), range(24)))
    assert Counter(map(said, got)) == {"MISS": 1, "HIT": 23}
    assert Counter(sent_texts(box, "deepinfra")) == dict.fromkeys(map(reference.sha256, texts), 1)
    for i, one in enumerate(got):
        difference = reference.rows(one) - reference.expected(tuple(orders[i % 3]))
        assert np.abs(difference).max() <= reference.TOLERANCE


def test_a_failed_request_fails_none_of_those_that_wait_for_it(proxy: Proxy, box: Sandbox) -> None:
    texts = new(2)
    box.fault("deepinfra", "status", times=1)
    with ThreadPoolExecutor(6) as pool:
        got = list(pool.map(lambda _: ask(proxy, texts), range(6)))
    # Whoever led met the fault, and has nobody else to ask.
    assert Counter(one.status_code for one in got) == {200: 5, 503: 1}
