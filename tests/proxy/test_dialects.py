"""Every provider alone behind the real proxy: exact vectors, order, usage and number of calls."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_CEILING, Decimal

import httpx
import numpy as np
import orjson
import pytest

from router_config import Provider, load_catalogue
from router_config.sandbox import Sandbox
from tests.proxy import reference
from tests.proxy.configs import PROVIDERS, solo
from tests.proxy.harness import Proxy

CATALOGUE = load_catalogue()
ENCODINGS = ("float", "base64")
DIMENSIONS = (4096, 1024, 512, 33)
COUNTS = (1, 3, 40, 300)

EVERY_PROVIDER = pytest.mark.parametrize("provider", PROVIDERS)


def chunks(texts: Sequence[str], provider: Provider) -> list[list[str]]:
    """Return *texts* in the calls that the catalogue's limits demand."""
    made: list[list[str]] = []
    room = 0
    for text in texts:
        tokens = reference.count(text)
        most = provider.limits.max_tokens_per_call
        if not made or len(made[-1]) == provider.limits.max_inputs or (most and tokens > room):
            made.append([])
            room = most or 0
        made[-1].append(text)
        room -= tokens
    return made


def nano_usd(tokens: int, provider: Provider) -> int:
    exact = provider.price.usd_per_million_tokens * 1000 * tokens
    return int(exact.to_integral_value(rounding=ROUND_CEILING))


def ask(
    proxy: Proxy, provider: str, texts: Sequence[str], dimensions: int, encoding: str
) -> httpx.Response:
    body = {
        "model": solo(provider),
        "input": list(texts),
        "dimensions": dimensions,
        "encoding_format": encoding,
    }
    return proxy.post(body)


@EVERY_PROVIDER
@pytest.mark.parametrize("n", COUNTS)
@pytest.mark.parametrize("dimensions", DIMENSIONS)
def test_vectors_order_usage_and_calls_are_exact(
    proxy: Proxy, box: Sandbox, provider: str, dimensions: int, n: int
) -> None:
    texts = reference.texts(n)
    wanted = chunks(reference.distinct(texts), CATALOGUE[provider])
    got = {}
    for encoding in ENCODINGS:
        box.reset()
        reply = ask(proxy, provider, texts, dimensions, encoding)
        got[encoding] = reference.rows(reply)
        journal = box.journal(provider)

        assert got[encoding].shape == (n, dimensions)
        difference = got[encoding] - reference.expected(texts, dimensions)
        assert np.abs(difference).max() <= reference.TOLERANCE
        lengths = np.linalg.norm(got[encoding].astype(np.float64), axis=1)
        assert np.abs(lengths - 1).max() <= reference.TOLERANCE

        assert len(journal) == len(wanted)
        assert reply.headers["x-router-attempts"] == str(len(wanted))
        assert {entry["status"] for entry in journal} == {200}
        sent = sorted(entry["sha256"] for entry in journal)  # side by side, so in any order
        assert sent == sorted([reference.sha256(text) for text in chunk] for chunk in wanted)

        body = orjson.loads(reply.content)
        tokens = sum(map(reference.count, reference.distinct(texts)))
        assert body["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}
        assert sum(entry["billed_tokens"] for entry in journal) == tokens
        assert body["model"] == solo(provider)
        assert reply.headers["x-router-deployment"] == f"{solo(provider)}--{provider}"
        cost = sum(
            nano_usd(sum(map(reference.count, chunk)), CATALOGUE[provider]) for chunk in wanted
        )
        assert Decimal(reply.headers["x-router-cost-usd"]) == Decimal(cost).scaleb(-9)
    # The digits of a float are those of its bytes, whichever way the client asked.
    assert got["float"].tobytes() == got["base64"].tobytes()


@EVERY_PROVIDER
def test_a_request_is_the_same_whatever_the_client_asked_for(
    proxy: Proxy, box: Sandbox, provider: str
) -> None:
    for dimensions, encoding in ((4096, "float"), (33, "base64")):
        assert ask(proxy, provider, ["one"], dimensions, encoding).status_code == 200
    first, second = (entry["fields"] for entry in box.journal(provider))
    # Cutting and encoding are ours, so nothing of them may reach a provider that would refuse it.
    assert first == second
    assert "dimensions" not in first


def test_all_providers_give_the_same_bytes(proxy: Proxy, box: Sandbox) -> None:
    texts = reference.texts(3)
    datas = set()
    for provider in PROVIDERS:
        body = orjson.loads(ask(proxy, provider, texts, 1024, "base64").content)
        datas.add(tuple(one["embedding"] for one in body["data"]))
    # Fireworks scales its vectors, so a last digit may fall otherwise; all others are one.
    assert len(datas) <= 2
