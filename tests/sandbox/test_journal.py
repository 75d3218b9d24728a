"""The journal is the truth: what came in, what it cost, and whether the answer went out."""

from __future__ import annotations

import hashlib
import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from router_config.sandbox import Sandbox, tokens
from tests.sandbox.client import ask


def test_an_entry_says_what_was_asked_without_its_texts(box: Sandbox) -> None:
    before = time.time()
    ask(box, "deepinfra", ["Привет", "b"], encoding_format="base64", dimensions=64)
    (entry,) = box.journal("deepinfra")
    assert entry["sha256"] == [hashlib.sha256(t.encode()).hexdigest() for t in ("Привет", "b")]
    assert entry["fields"] == {
        "model": "Qwen/Qwen3-Embedding-8B",
        "encoding_format": "base64",
        "dimensions": 64,
    }
    assert (entry["method"], entry["path"]) == ("POST", "/v1/openai/embeddings")
    assert (entry["inputs"], entry["status"], entry["answered"]) == (2, 200, True)
    assert (entry["key"], entry["account"], entry["authorization"]) == ("valid", "", True)
    assert before <= entry["time"] <= time.time()
    assert "Привет" not in json.dumps(entry, ensure_ascii=False)
    assert box.keys["deepinfra"] not in json.dumps(entry)


def test_large_fields_are_named_by_type(box: Sandbox) -> None:
    ask(box, "siliconflow", "a", user="x" * 1000)
    assert box.journal("siliconflow")[0]["fields"]["user"] == "(str)"


def test_a_token_costs_ten_nano_dollars_unless_told_otherwise(box: Sandbox) -> None:
    ask(box, "scaleway", "a b c")
    (entry,) = box.journal("scaleway")
    assert entry["billed_tokens"] == tokens.count("a b c")
    assert entry["billed_nano_usd"] == 10 * entry["billed_tokens"]


def test_a_price_is_rounded_up_per_call(box: Sandbox) -> None:
    box.configure("scaleway", price="0.0125")
    try:
        ask(box, "scaleway", "a")  # 2 tokens at 12.5
        ask(box, "scaleway", "a b")  # 3 tokens
    finally:
        box.configure("scaleway", price="0.01")
    assert [entry["billed_nano_usd"] for entry in box.journal("scaleway")] == [25, 38]


def test_own_servers_bill_nothing(box: Sandbox) -> None:
    ask(box, "ollama", "a")
    assert box.totals("ollama") == {
        "calls": 1,
        "billed_tokens": 2,
        "billed_nano_usd": 0,
        "dropped": 0,
    }


def test_a_refusal_is_not_billed(box: Sandbox) -> None:
    ask(box, "scaleway", "a", model="wrong")
    assert box.totals("scaleway")["billed_tokens"] == 0


def test_only_what_came_after_can_be_asked_for(box: Sandbox) -> None:
    for text in ("a", "b", "c"):
        ask(box, "scaleway", text)
    assert [entry["number"] for entry in box.journal("scaleway", after=1)] == [2, 3]


def test_reset_forgets_faults_and_entries(box: Sandbox) -> None:
    box.fault("scaleway", "status")
    ask(box, "scaleway", "a")
    box.reset()
    assert box.journal("scaleway") == []
    assert ask(box, "scaleway", "a").status_code == 200


def test_credit_runs_out_in_the_providers_words(box: Sandbox) -> None:
    box.configure("siliconflow", credit_usd="0.00000003")  # 30 nano-dollars: 3 tokens
    try:
        statuses = [ask(box, "siliconflow", "a").status_code for _ in range(3)]
    finally:
        box.configure("siliconflow", credit_usd=None)
    assert statuses == [200, 200, 403]


@pytest.mark.parametrize(
    ("setting", "text"), [({"requests_per_minute": 1}, "a"), ({"tokens_per_minute": 5}, "a b")]
)
def test_limits_per_minute_are_enforced_when_set(
    box: Sandbox, setting: dict[str, int], text: str
) -> None:
    box.configure("scaleway", **setting)
    try:
        first, second = ask(box, "scaleway", text), ask(box, "scaleway", text)
    finally:
        box.configure("scaleway", **dict.fromkeys(setting))
    assert (first.status_code, second.status_code) == (200, 429)
    assert second.headers["x-ratelimit-remaining-requests"] == "0"
    assert second.headers["x-ratelimit-reset-requests"].endswith("s")


def test_more_calls_at_once_than_allowed_are_refused_in_the_providers_words(box: Sandbox) -> None:
    box.configure("ollama", concurrent=1)
    box.fault("ollama", "slow", delay_s=1.0)
    try:
        with ThreadPoolExecutor(2) as pool:
            replies = list(pool.map(lambda _: ask(box, "ollama", "a"), range(2)))
    finally:
        box.configure("ollama", concurrent=512)
    assert sorted(reply.status_code for reply in replies) == [200, 503]
