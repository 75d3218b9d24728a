"""Deployments that LiteLLM calls itself (`openai/…`): exact vectors by `plugins.matryoshka` alone.

The model's server is the vLLM emulator, which refuses `dimensions`: whatever a client asks, the
deployment must be asked for whole vectors.
"""

from __future__ import annotations

import time
from typing import Any

import httpx
import numpy as np
import orjson
import pytest

from plugins._errors import Fault
from router_config.sandbox import Sandbox
from tests.proxy import reference
from tests.proxy.answers import calls, refused
from tests.proxy.harness import Proxy
from tests.proxy.watching import Watch

TEXTS = ("Обычный текст", "plain text", "普通文本")


def ask(proxy: Proxy, group: str, **fields: Any) -> httpx.Response:
    return proxy.post({"model": group, "input": TEXTS, **fields})


def assert_vectors(reply: httpx.Response, dimensions: int) -> None:
    difference = reference.rows(reply) - reference.expected(TEXTS, dimensions)
    assert np.abs(difference).max() <= reference.TOLERANCE


@pytest.mark.parametrize("n", [1, 3, 40])
@pytest.mark.parametrize("dimensions", [4096, 1024, 512, 33])
def test_a_plain_deployment_gives_exact_vectors(
    proxy: Proxy, box: Sandbox, dimensions: int, n: int
) -> None:
    texts = reference.texts(n)
    got = {}
    for encoding in ("float", "base64"):
        box.reset()
        reply = ask(proxy, "plain", input=texts, dimensions=dimensions, encoding_format=encoding)
        got[encoding] = reference.rows(reply)
        difference = got[encoding] - reference.expected(texts, dimensions)
        assert np.abs(difference).max() <= reference.TOLERANCE
        assert got[encoding].shape == (n, dimensions)
        kinds = {type(one["embedding"]) for one in orjson.loads(reply.content)["data"]}
        assert kinds == {list if encoding == "float" else str}
        tokens = sum(map(reference.count, reference.distinct(texts)))
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        assert orjson.loads(reply.content)["usage"] == usage
        assert orjson.loads(reply.content)["model"] == "plain"
        assert reply.headers["x-router-deployment"] == "plain--vllm"
        assert reply.headers["x-router-attempts"] == "1"
        (entry,) = box.journal("vllm")
        assert entry["sha256"] == [reference.sha256(text) for text in reference.distinct(texts)]
        assert "dimensions" not in entry["fields"]
    assert got["float"].tobytes() == got["base64"].tobytes()


def test_a_plain_deployment_gives_the_bytes_of_one_of_ours(proxy: Proxy, box: Sandbox) -> None:
    for encoding in ("float", "base64"):
        ours, plain = (
            orjson.loads(ask(proxy, group, encoding_format=encoding).content)["data"]
            for group in ("solo-vllm", "plain")
        )
        assert ours == plain


def test_a_query_gets_its_instruction_on_a_plain_deployment(proxy: Proxy, box: Sandbox) -> None:
    for group in ("solo-vllm", "plain"):
        assert ask(proxy, group, input_type="query").status_code == 200
    first, second = box.journal("vllm")
    assert first["sha256"] == second["sha256"]
    assert first["sha256"] != [reference.sha256(text) for text in TEXTS]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"dimensions": 31}, "invalid_dimensions"),
        ({"encoding_format": "hex"}, "invalid_input"),
        ({"input": ["good", ""]}, "invalid_input"),
    ],
)
def test_a_bad_request_to_a_plain_deployment_costs_nothing(
    proxy: Proxy, box: Sandbox, fields: dict[str, Any], code: str
) -> None:
    reply = ask(proxy, "plain", **fields)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, code)
    assert calls(box) == {}


FAULTS: list[tuple[str, dict[str, Any], Fault]] = [
    ("down", {}, Fault.SERVER),
    ("status", {"status": 500}, Fault.SERVER),
    ("status", {"status": 502, "body": "json"}, Fault.SERVER),
    ("status", {"status": 503, "body": "own"}, Fault.OVERLOAD),
    ("unauthorized", {}, Fault.AUTH),
    ("forbidden", {}, Fault.AUTH),
    ("payment_in_400", {}, Fault.TOO_LONG),  # LiteLLM tells no more than the status
    ("payment", {"status": 402}, Fault.PAYMENT),
    ("bad_field", {}, Fault.TOO_LONG),
    ("model_missing", {}, Fault.MODEL),
    ("rate_limited", {}, Fault.RATE),
    ("reset_mid_body", {}, Fault.SERVER),
    ("reset_before_answer", {}, Fault.SERVER),
    ("truncated_json", {}, Fault.SERVER),
]


def inject(box: Sandbox, kind: str, options: dict[str, Any]) -> None:
    if kind == "down":
        box.down("vllm")
    else:
        box.fault("vllm", kind, **options)


# LiteLLM never tries a sibling of the same order after a 400, 402 or 404 of its own client.
NO_SIBLING_AFTER = ("payment_in_400", "payment", "bad_field", "model_missing")


@pytest.mark.parametrize(
    ("group", "kind", "options", "fault"),
    [
        (group, *one)
        for group in ("plain-then-ours", "plain-beside-ours")
        for one in FAULTS
        if group == "plain-then-ours" or one[0] not in NO_SIBLING_AFTER
    ],
)
def test_ours_answers_when_a_plain_deployment_fails(
    proxy: Proxy, box: Sandbox, group: str, kind: str, options: dict[str, Any], fault: Fault
) -> None:
    inject(box, kind, options)
    watch = Watch(proxy)
    reply = ask(proxy, group, dimensions=512)
    assert_vectors(reply, 512)
    assert reply.headers["x-router-deployment"] == f"{group}--deepinfra"
    assert reply.headers["x-router-attempts"] == "2"
    assert calls(box) == {**({"vllm": 1} if kind != "down" else {}), "deepinfra": 1}
    (line,) = watch.failures()
    assert (line.deployment, line.fault) == (f"{group}--plain", fault)
    assert line.request == reply.headers["x-router-request-id"]


@pytest.mark.parametrize(("kind", "options", "fault"), FAULTS)
def test_a_failing_plain_deployment_alone_is_a_503_at_once_and_in_our_words(
    proxy: Proxy, box: Sandbox, kind: str, options: dict[str, Any], fault: Fault
) -> None:
    inject(box, kind, options)
    started = time.monotonic()
    message = refused(ask(proxy, "plain"), 503, "no_deployment_available", retry=True)
    assert message == (
        "No deployment of plain could serve the request (1 of at most 3 attempts used)."
    )
    assert calls(box) == ({"vllm": 1} if kind != "down" else {})
    # LiteLLM waits before a retry in a group of one: half a second, or as long as a 429 says.
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("kind", ["hang", "hang_unread"])
def test_a_plain_deployment_that_never_answers_is_left_in_time(
    proxy: Proxy, box: Sandbox, kind: str
) -> None:
    box.fault("vllm", kind)
    watch = Watch(proxy)
    reply = ask(proxy, "impatient-plain")
    assert_vectors(reply, 4096)
    assert reply.headers["x-router-deployment"] == "impatient-plain--deepinfra"
    assert [line.fault for line in watch.failures()] == [Fault.TIMEOUT]


@pytest.mark.parametrize("kind", ["hang", "hang_unread"])
def test_the_deadline_holds_for_a_plain_deployment(proxy: Proxy, box: Sandbox, kind: str) -> None:
    box.fault("vllm", kind)
    started = time.monotonic()
    refused(ask(proxy, "hurried-plain"), 504, "deadline_exceeded")
    assert time.monotonic() - started < 2 + 6
    assert calls(box) == {"vllm": 1}


def test_the_key_of_a_plain_deployment_does_not_follow_a_redirect(
    proxy: Proxy, box: Sandbox
) -> None:
    box.fault("vllm", "redirect", status=307)
    ask(proxy, "plain")
    # LiteLLM's client goes there, which only our own wire never does.
    assert [entry["authorization"] for entry in box.journal("elsewhere")] == [False]


@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_a_plain_deployment_is_asked_only_for_what_is_missing(
    proxy: Proxy, box: Sandbox, after: int
) -> None:
    texts = reference.texts(100)
    box.fault("siliconflow", "status", times=1, after=after)
    reply = ask(proxy, "ours-then-plain", input=texts)
    difference = reference.rows(reply) - reference.expected(texts)
    assert np.abs(difference).max() <= reference.TOLERANCE
    (failed,) = [entry for entry in box.journal("siliconflow") if entry["fault"]]
    (entry,) = box.journal("vllm")
    assert entry["sha256"] == failed["sha256"]
    served = "ours-then-plain--siliconflow,ours-then-plain--plain"
    assert reply.headers["x-router-deployment"] == served
    assert reply.headers["x-router-attempts"] == "5"
    tokens = sum(map(reference.count, reference.distinct(texts)))
    assert orjson.loads(reply.content)["usage"]["prompt_tokens"] == tokens


BAD_VECTORS = [
    "fewer_vectors",
    "more_vectors",
    "nan_null",
    "infinity",
    "zero_vector",
    "short_vectors",
    "ragged",
    "same_vector",
    "duplicate_index",
]


@pytest.mark.parametrize("kind", BAD_VECTORS)
def test_bad_vectors_of_a_plain_deployment_are_not_handed_out(
    proxy: Proxy, box: Sandbox, kind: str
) -> None:
    box.fault("vllm", kind)
    refused(ask(proxy, "plain"), 503, "no_deployment_available", retry=True)
    assert calls(box) == {"vllm": 1}


def test_vectors_of_a_plain_deployment_are_put_in_order(proxy: Proxy, box: Sandbox) -> None:
    box.fault("vllm", "shuffled")
    assert_vectors(ask(proxy, "plain"), 4096)
