"""The contract that every emulated provider keeps, whatever its dialect."""

from __future__ import annotations

import httpx
import numpy as np
import pytest

from router_config.sandbox import Sandbox, tokens, vectors
from tests.sandbox.client import BASE64, HOSTED, MODELS, ask, post, prompt_tokens, rows, unit

TEXTS = [
    "Париж — столица Франции.",
    "The capital of France is Paris.",
    "巴黎是法国的首都。",
    "👩‍👩‍👧‍👦 🏳️‍🌈",
    "def f(x):\n    return x + 1",
    "import os",
]

every = pytest.mark.parametrize("provider", MODELS)


@every
def test_answers_the_stand_ins_vectors_in_order(box: Sandbox, provider: str) -> None:
    got = unit(rows(ask(box, provider, TEXTS)))
    assert np.abs(got - vectors(TEXTS)).max() < 1e-7


@every
def test_takes_one_text_without_a_list(box: Sandbox, provider: str) -> None:
    assert rows(ask(box, provider, TEXTS[0])).shape == (1, 4096)


@every
def test_counts_every_token_and_one_end_token_per_text(box: Sandbox, provider: str) -> None:
    counted = sum(tokens.count(text) for text in TEXTS)
    if provider == "infinity":  # documented: it counts characters
        counted = sum(len(text) for text in TEXTS)
    assert prompt_tokens(ask(box, provider, TEXTS)) == counted


@pytest.mark.parametrize("provider", BASE64)
def test_base64_and_floats_are_the_same_numbers(box: Sandbox, provider: str) -> None:
    packed = ask(box, provider, TEXTS, encoding_format="base64")
    assert isinstance(packed.json()["data"][0]["embedding"], str)
    plain = rows(ask(box, provider, TEXTS, encoding_format="float")).astype(np.float32)
    assert np.array_equal(rows(packed).astype(np.float32), plain)


@every
def test_an_unknown_model_is_refused_as_documented(box: Sandbox, provider: str) -> None:
    statuses = {"scaleway": 422, "infinity": 400, "tei": 200, "llamacpp": 200}
    reply = ask(box, provider, "a", model="no-such-model")
    assert reply.status_code == statuses.get(provider, 404)


@pytest.mark.parametrize("provider", HOSTED)
def test_a_wrong_key_is_refused_as_documented(box: Sandbox, provider: str) -> None:
    reply = ask(box, provider, "a", key="wrong")
    assert reply.status_code == (403 if provider == "scaleway" else 401)
    assert box.journal(provider)[-1]["key"] == "wrong"


@pytest.mark.parametrize("provider", HOSTED)
def test_a_missing_key_is_401(box: Sandbox, provider: str) -> None:
    assert ask(box, provider, "a", key=None).status_code == 401
    assert box.journal(provider)[-1]["billed_tokens"] == 0


@pytest.mark.parametrize("provider", ["ollama", "vllm", "tei", "infinity", "llamacpp"])
def test_own_servers_ask_for_no_key_until_told_to(box: Sandbox, provider: str) -> None:
    assert ask(box, provider, "a", key=None).status_code == 200
    box.configure(provider, key_needed=True)
    try:
        assert ask(box, provider, "a", key=None).status_code == 401
        assert ask(box, provider, "a", key=f"sandbox-{provider}-key").status_code == 200
    finally:
        box.configure(provider, key_needed=False)


@every
def test_broken_json_is_a_client_error(box: Sandbox, provider: str) -> None:
    path = "/api/embed" if provider == "ollama" else "/embeddings"
    headers = {"authorization": f"Bearer {box.keys.get(provider, 'any')}"}
    reply = post(box.bases[provider] + path, content=b'{"input": [', headers=headers)
    assert reply.status_code == 400


@every
def test_an_unknown_path_is_404(box: Sandbox, provider: str) -> None:
    assert ask(box, provider, "a", path="/nowhere").status_code == 404


@every
def test_a_number_is_no_input(box: Sandbox, provider: str) -> None:
    assert ask(box, provider, [1.5]).status_code in (400, 422)


ODD = [None, True, 0, -1, 1.5, 10**9, "", "x", [], [1], ["x"], [None], {}, {"x": 1}]
FIELDS = [
    "model",
    "input",
    "dimensions",
    "encoding_format",
    "provider",
    "options",
    "truncate",
    "truncate_prompt_tokens",
    "endianness",
    "normalize",
    "user",
]


@every
def test_odd_values_get_an_answer_of_the_provider(box: Sandbox, provider: str) -> None:
    path = "/api/embed" if provider == "ollama" else "/embeddings"
    headers = {"authorization": f"Bearer {box.keys[provider]}"}
    with httpx.Client(headers=headers, timeout=20, verify=False) as client:
        for field in FIELDS:
            for value in ODD:
                body = {"model": MODELS[provider], "input": "a", field: value}
                reply = client.post(box.bases[provider] + path, json=body)
                assert reply.status_code < 500, (field, value, reply.text)


@every
def test_odd_bodies_are_client_errors(box: Sandbox, provider: str) -> None:
    path = "/api/embed" if provider == "ollama" else "/embeddings"
    headers = {"authorization": f"Bearer {box.keys[provider]}"}
    for body in ("null", "[]", "1", '"x"', "{}", '{"input": "\\ud800"}', "{", "", "\xff"):
        reply = post(box.bases[provider] + path, content=body.encode("latin-1"), headers=headers)
        assert 400 <= reply.status_code < 500, body
