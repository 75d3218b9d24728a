"""Every fault of a provider, over a real socket, with a healthy deployment behind it.

The client sees 200 and the right vectors, the faulty provider is asked once, and the operator
reads one line that says what happened.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from plugins._errors import Fault
from router_config import load_catalogue
from router_config.sandbox import Sandbox
from tests.proxy.answers import calls, refused
from tests.proxy.configs import PROVIDERS, pair
from tests.proxy.harness import Proxy
from tests.proxy.pairs import TOKENS, ask, falls_over, is_taken

EVERY_PROVIDER = pytest.mark.parametrize("provider", PROVIDERS)
# Numbers as float32, as float64, as base64; with and without an index; Ollama's own shape.
SHAPES = ("fireworks", "scaleway", "vllm", "openrouter", "ollama")


# -- P1 to P4, P24: the network


@EVERY_PROVIDER
def test_a_refused_connection(proxy: Proxy, box: Sandbox, provider: str) -> None:
    box.down(provider)
    falls_over(proxy, box, provider, Fault.CONNECT, sent=False, reached=False)


def test_a_host_that_does_not_exist(proxy: Proxy, box: Sandbox) -> None:
    falls_over(proxy, box, "deepinfra", Fault.CONNECT, group="nowhere", sent=False, reached=False)


@pytest.mark.parametrize(
    "kind", ["hang", "hang_unread", "slowloris", "trickle_headers", "slow", "reset_late"]
)
def test_no_whole_answer_within_the_time_of_an_attempt(
    proxy: Proxy, box: Sandbox, kind: str
) -> None:
    if kind == "reset_late":
        box.fault("deepinfra", "reset_before_answer", delay_s=20)
    else:
        box.fault("deepinfra", kind, **({"delay_s": 20} if kind == "slow" else {}))
    started = time.monotonic()
    falls_over(proxy, box, "deepinfra", Fault.TIMEOUT, group="impatient")
    assert 0.9 < time.monotonic() - started < 10


@pytest.mark.parametrize("kind", ["reset_mid_body", "reset_before_answer"])
@pytest.mark.parametrize("provider", SHAPES)
def test_a_connection_that_breaks(proxy: Proxy, box: Sandbox, provider: str, kind: str) -> None:
    box.fault(provider, kind)
    falls_over(proxy, box, provider, Fault.RESET)


def test_a_slow_answer_within_its_time_is_taken(proxy: Proxy, box: Sandbox) -> None:
    box.fault("deepinfra", "slow", delay_s=1.0)
    is_taken(proxy, box, "deepinfra")


# -- P5 to P9, P11, P12: the provider says no


@pytest.mark.parametrize("body", ["html", "json", "empty"])
@pytest.mark.parametrize(
    ("status", "fault"),
    [
        (500, Fault.SERVER),
        (502, Fault.SERVER),
        (503, Fault.OVERLOAD),
        (504, Fault.SERVER),
        (529, Fault.OVERLOAD),
        (204, Fault.SERVER),
        (418, Fault.SERVER),
    ],
)
def test_a_status_of_somebody_in_between(
    proxy: Proxy, box: Sandbox, status: int, fault: Fault, body: str
) -> None:
    box.fault("deepinfra", "status", status=status, body=body if status != 204 else "empty")
    assert falls_over(proxy, box, "deepinfra", fault).status == status


@EVERY_PROVIDER
def test_an_overload_in_the_provider_s_own_words(proxy: Proxy, box: Sandbox, provider: str) -> None:
    box.fault(provider, "status", status=503, body="own")
    falls_over(proxy, box, provider, Fault.OVERLOAD)


@pytest.mark.parametrize("form", ["seconds", "date", "duration", "reset", "metadata", "none"])
def test_a_rate_limit_in_any_form(proxy: Proxy, box: Sandbox, form: str) -> None:
    box.fault("openrouter", "rate_limited", form=form)
    assert falls_over(proxy, box, "openrouter", Fault.RATE).status == 429


@EVERY_PROVIDER
@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("unauthorized", Fault.AUTH),
        ("forbidden", Fault.AUTH),
        ("payment", Fault.PAYMENT),
        ("payment_in_400", Fault.PAYMENT),
        ("payment_in_403", Fault.PAYMENT),
        ("model_missing", Fault.MODEL),
    ],
)
def test_a_refusal_in_the_provider_s_own_words(
    proxy: Proxy, box: Sandbox, provider: str, kind: str, fault: Fault
) -> None:
    box.fault(provider, kind)
    falls_over(proxy, box, provider, fault)


def test_the_model_that_a_server_does_not_know_is_named_to_the_operator(
    proxy: Proxy, box: Sandbox
) -> None:
    before = len(proxy.log())
    box.fault("openrouter", "model_missing")
    falls_over(proxy, box, "openrouter", Fault.MODEL)
    asked = load_catalogue()["openrouter"].wire_model
    assert f"hint='asked for model {asked}; model_info.wire_model" in proxy.log()[before:]


@EVERY_PROVIDER
def test_a_refused_field_is_named_to_the_operator(
    proxy: Proxy, box: Sandbox, provider: str
) -> None:
    box.fault(provider, "bad_field", field="encoding_format")
    assert "encoding_format" in falls_over(proxy, box, provider, Fault.DIALECT).reason


@pytest.mark.parametrize("provider", ["openrouter", "siliconflow", "ollama"])
@pytest.mark.parametrize(
    ("code", "fault"),
    [
        (401, Fault.AUTH),
        (402, Fault.PAYMENT),
        (404, Fault.MODEL),
        (429, Fault.RATE),
        (502, Fault.SERVER),
        (503, Fault.OVERLOAD),
    ],
)
def test_an_error_inside_a_200(
    proxy: Proxy, box: Sandbox, provider: str, code: int, fault: Fault
) -> None:
    box.fault(provider, "error_in_200", code=code)
    assert falls_over(proxy, box, provider, fault).status == 200


# -- P13 to P19: 200, but not the vectors


@pytest.mark.parametrize("provider", SHAPES)
@pytest.mark.parametrize(
    "kind",
    [
        "fewer_vectors",
        "more_vectors",
        "nan_null",
        "infinity",
        "nan_literal",
        "zero_vector",
        "short_vectors",
        "ragged",
        "same_vector",
    ],
)
def test_vectors_that_are_none(proxy: Proxy, box: Sandbox, provider: str, kind: str) -> None:
    box.fault(provider, kind)
    assert falls_over(proxy, box, provider, Fault.CORRUPT).status == 200


@pytest.mark.parametrize("provider", ["deepinfra", "vllm", "openrouter", "llamacpp"])
@pytest.mark.parametrize("kind", ["base64_short", "base64_big_endian", "base64_float64"])
def test_base64_of_something_else(proxy: Proxy, box: Sandbox, provider: str, kind: str) -> None:
    box.fault(provider, kind)
    assert falls_over(proxy, box, provider, Fault.CORRUPT).status == 200


def test_floats_where_base64_was_asked_are_taken(proxy: Proxy, box: Sandbox) -> None:
    box.fault("vllm", "floats_for_base64")
    is_taken(proxy, box, "vllm")


@pytest.mark.parametrize("provider", ["scaleway", "vllm", "openrouter"])
def test_an_index_that_two_vectors_share(proxy: Proxy, box: Sandbox, provider: str) -> None:
    box.fault(provider, "duplicate_index")
    falls_over(proxy, box, provider, Fault.CORRUPT)


@pytest.mark.parametrize("provider", ["scaleway", "vllm", "openrouter"])
@pytest.mark.parametrize("kind", ["shuffled", "no_index"])
def test_vectors_out_of_order_or_without_an_index_are_put_in_order(
    proxy: Proxy, box: Sandbox, provider: str, kind: str
) -> None:
    box.fault(provider, kind)
    is_taken(proxy, box, provider)


@pytest.mark.parametrize("factor", [0.5, 3.0])
@EVERY_PROVIDER
def test_a_wrong_length_is_mended_only_where_lengths_are_not_promised(
    proxy: Proxy, box: Sandbox, provider: str, factor: float
) -> None:
    box.fault(provider, "wrong_norm", factor=factor)
    if load_catalogue()[provider].normalised:
        falls_over(proxy, box, provider, Fault.CORRUPT)
    else:
        is_taken(proxy, box, provider)


# -- P20: a wrong bill


@pytest.mark.parametrize("provider", ["scaleway", "openrouter", "ollama"])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("usage_zero", {}),
        ("usage_absurd", {}),
        ("usage_absurd", {"value": -5}),
        ("usage_absurd", {"value": 1_000_000}),
    ],
)
def test_a_bill_that_cannot_be_true_is_replaced_by_our_count(
    proxy: Proxy, box: Sandbox, provider: str, kind: str, options: dict[str, Any]
) -> None:
    box.fault(provider, kind, **options)
    watch = is_taken(proxy, box, provider)  # which also checks that our count is booked
    noted = [line for line in watch.lines() if "usage" in line]
    assert len(noted) == 1
    assert f"deployment={pair(provider)}--{provider}" in noted[0]
    assert f"counted={TOKENS}" in noted[0]


@pytest.mark.parametrize("provider", ["scaleway", "openrouter", "ollama"])
def test_a_missing_bill_is_replaced_by_our_count(proxy: Proxy, box: Sandbox, provider: str) -> None:
    box.fault(provider, "usage_missing")
    is_taken(proxy, box, provider)


def test_a_bill_of_the_provider_s_own_tokenizer_is_taken(proxy: Proxy, box: Sandbox) -> None:
    box.fault("deepinfra", "usage_inflated", factor=1.3)
    reply = ask(proxy, pair("deepinfra"))
    (entry,) = box.journal("deepinfra")
    assert entry["billed_tokens"] == round(TOKENS * 1.3)
    usage = orjson.loads(reply.content)["usage"]
    assert usage == {
        "prompt_tokens": entry["billed_tokens"],
        "total_tokens": entry["billed_tokens"],
    }


# -- P21, P22: bytes that do harm


@pytest.mark.parametrize("provider", SHAPES)
@pytest.mark.parametrize("kind", ["truncated_json", "wrong_charset", "invalid_utf8"])
def test_bytes_that_are_no_json(proxy: Proxy, box: Sandbox, provider: str, kind: str) -> None:
    box.fault(provider, kind)
    falls_over(proxy, box, provider, Fault.CORRUPT)


@pytest.mark.skipif(sys.platform != "linux", reason="reads memory from /proc")
def test_a_gzip_bomb_does_not_fill_the_memory(proxy: Proxy, box: Sandbox) -> None:
    ask(proxy, pair("deepinfra"))
    box.reset()
    box.fault("deepinfra", "gzip_bomb", megabytes=400)
    before = _peak_bytes(proxy.process.pid, reset=True)
    falls_over(proxy, box, "deepinfra", Fault.CORRUPT)
    assert _peak_bytes(proxy.process.pid) - before < 50_000_000


def _peak_bytes(pid: int, *, reset: bool = False) -> int:
    """Return the most memory that *pid* has held, or what it holds now after a *reset*."""
    if reset:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_nobody_follows_a_redirect(proxy: Proxy, box: Sandbox, status: int) -> None:
    box.fault("deepinfra", "redirect", status=status)
    assert falls_over(proxy, box, "deepinfra", Fault.SERVER).status == status
    assert box.journal("elsewhere") == []


# -- the deadline of the request


@pytest.mark.parametrize("kind", ["hang", "hang_unread", "slowloris", "trickle_headers"])
def test_the_deadline_holds_when_nobody_answers(proxy: Proxy, box: Sandbox, kind: str) -> None:
    for provider in ("deepinfra", "nebius"):
        box.fault(provider, kind)
    started = time.monotonic()
    reply = ask(proxy, "hurried")
    took_s = time.monotonic() - started
    refused(reply, 504, "deadline_exceeded")
    assert 1.5 < took_s < 2 + 6
    assert sum(calls(box).values()) <= 2


def test_a_client_cannot_stretch_the_deadline(proxy: Proxy, box: Sandbox) -> None:
    for provider in ("deepinfra", "nebius"):
        box.fault(provider, "hang")
    started = time.monotonic()
    reply = proxy.post(
        {"model": "hurried", "input": "x", "timeout": 600, "num_retries": 9},
        headers={"x-litellm-timeout": "600", "x-litellm-num-retries": "9"},
    )
    refused(reply, 504, "deadline_exceeded")
    assert time.monotonic() - started < 2 + 6
    assert sum(calls(box).values()) <= 2
