"""Where providers differ: limits, refused fields, error shapes, reply shapes, free paths."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import pytest

from router_config.sandbox import Sandbox, tokens, vectors
from tests.sandbox.client import ask, get, post, prompt_tokens, rows, unit

WORD = " слово"  # two tokens


@pytest.mark.parametrize(
    ("provider", "limit", "status"),
    [
        ("scaleway", 2048, 400),
        ("siliconflow", 64, 413),
        ("siliconflow-cn", 64, 413),
        ("deepinfra", 1024, 422),
        ("fireworks", 2048, 400),
        ("tei", 32, 422),
        ("infinity", 2048, 422),
        ("openai", 2048, 400),
    ],
)
def test_one_input_too_many_is_refused(
    box: Sandbox, provider: str, limit: int, status: int
) -> None:
    assert ask(box, provider, ["a"] * (limit + 1)).status_code == status
    assert rows(ask(box, provider, ["a"] * min(limit, 64))).shape[0] == min(limit, 64)
    assert [e["billed_tokens"] > 0 for e in box.journal(provider)] == [False, True]


@pytest.mark.parametrize(
    ("provider", "limit", "status"),
    [
        ("scaleway", 32_000, 400),
        ("siliconflow", 32_768, 400),
        ("deepinfra", 32_768, 400),
        ("fireworks", 40_960, 400),
        ("openrouter", 32_768, 400),
        ("nebius", 32_768, 400),
        ("novita", 32_768, 400),
        ("vllm", 32_768, 400),
        ("llamacpp", 8_192, 500),
        ("openai", 32_768, 400),
    ],
)
def test_one_token_too_many_is_refused(
    box: Sandbox, provider: str, limit: int, status: int
) -> None:
    fits = " a" * (limit - 1)
    assert tokens.count(fits) == limit
    assert ask(box, provider, fits).status_code == 200
    assert ask(box, provider, fits + " a").status_code == status


@pytest.mark.parametrize(("provider", "limit"), [("tei", 16_384), ("ollama", 4096)])
def test_a_long_text_is_cut_in_silence_where_that_is_the_default(
    box: Sandbox, provider: str, limit: int
) -> None:
    reply = ask(box, provider, " a" * (limit + 50))
    assert prompt_tokens(reply) == limit
    assert np.abs(rows(reply) - vectors([" a" * (limit - 1)])).max() < 1e-7


def test_tei_refuses_a_long_text_when_auto_truncate_is_off(box: Sandbox) -> None:
    box.configure("tei", auto_truncate=False, max_batch_tokens=100)
    try:
        refused = ask(box, "tei", WORD * 100)
        assert (refused.status_code, refused.json()["type"]) == (422, "validation")
    finally:
        box.configure("tei", auto_truncate=True, max_batch_tokens=16_384)


def test_ollama_refuses_a_long_text_when_told_not_to_cut(box: Sandbox) -> None:
    refused = ask(box, "ollama", WORD * 3000, truncate=False)
    assert refused.status_code == 400
    assert refused.json() == {"error": "the input length exceeds the context length"}
    wide = ask(box, "ollama", WORD * 3000, truncate=False, options={"num_ctx": 32_768})
    assert prompt_tokens(wide) == tokens.count(WORD * 3000)


def test_ollama_loses_truncate_on_the_openai_path(box: Sandbox) -> None:
    reply = ask(box, "ollama", WORD * 3000, path="/v1/embeddings", truncate=False)
    assert reply.json()["usage"]["prompt_tokens"] == 4096


def test_ollama_answers_no_vector_for_an_empty_text(box: Sandbox) -> None:
    assert ask(box, "ollama", "").json()["embeddings"] == []


def test_ollamas_legacy_path_is_not_normalised(box: Sandbox) -> None:
    reply = ask(box, "ollama", None, path="/api/embeddings", prompt="a")
    assert np.linalg.norm(reply.json()["embedding"]) > 2


def test_fireworks_vectors_have_their_own_length(box: Sandbox) -> None:
    got = rows(ask(box, "fireworks", ["a", "b"]))
    assert np.linalg.norm(got, axis=1).min() > 2
    assert np.abs(unit(got) - vectors(["a", "b"])).max() < 1e-7
    assert np.linalg.norm(rows(ask(box, "fireworks", ["a"], normalize=True))) == pytest.approx(1)


@pytest.mark.parametrize(
    ("provider", "fields", "status"),
    [
        ("scaleway", {"encoding_format": "float"}, 400),
        ("scaleway", {"dimensions": 4096}, 400),
        ("fireworks", {"encoding_format": "float"}, 400),
        ("fireworks", {"user": "me"}, 400),
        ("siliconflow", {"dimensions": 1536}, 400),
        ("siliconflow", {"dimensions": 1500}, 400),
        ("siliconflow-cn", {"dimensions": 1500}, 400),
        ("deepinfra", {"dimensions": 31}, 422),
        ("nebius", {"encoding_format": "int8"}, 422),
        ("openrouter", {"provider": {"onyl": ["nebius"]}}, 400),
        ("openrouter", {"provider": {"only": ["together"]}}, 404),
        ("openrouter", {"surprise": 1}, 400),
        ("vllm", {"dimensions": 1024}, 400),
        ("vllm", {"normalize": True}, 400),
        ("tei", {"dimensions": 5000}, 422),
        ("openai", {"dimensions": 0}, 400),
        ("openai", {"surprise": 1}, 400),
    ],
)
def test_fields_that_the_provider_does_not_take_are_refused(
    box: Sandbox, provider: str, fields: dict[str, Any], status: int
) -> None:
    assert ask(box, provider, "a", **fields).status_code == status


@pytest.mark.parametrize(
    ("provider", "fields", "length"),
    [
        ("siliconflow", {"dimensions": 1024}, 1024),
        ("siliconflow", {"encoding_format": "base64"}, 4096),  # ignored: floats come
        ("siliconflow-cn", {"dimensions": 1536}, 1536),
        ("deepinfra", {"dimensions": 5000}, 5000),
        ("novita", {"dimensions": 1024}, 4096),
        ("llamacpp", {"dimensions": 1024}, 4096),
        ("ollama", {"dimensions": 1024}, 1024),
        ("ollama", {"dimensions": 9999}, 4096),
        ("tei", {"dimensions": 1024}, 1024),
        ("openrouter", {"dimensions": 1024, "provider": {"only": ["nebius"]}}, 1024),
    ],
)
def test_dimensions_are_cut_padded_or_ignored_as_documented(
    box: Sandbox, provider: str, fields: dict[str, Any], length: int
) -> None:
    got = rows(ask(box, provider, "a", **fields))
    assert got.shape == (1, length)
    assert np.linalg.norm(got) == pytest.approx(1, abs=1e-5)


def test_infinity_does_not_normalise_a_prefix_again(box: Sandbox) -> None:
    assert np.linalg.norm(rows(ask(box, "infinity", "a", dimensions=1024))) < 0.7


def test_vllm_cuts_dimensions_when_started_for_it(box: Sandbox) -> None:
    box.configure("vllm", matryoshka=True)
    try:
        assert rows(ask(box, "vllm", "a", dimensions=1024)).shape == (1, 1024)
    finally:
        box.configure("vllm", matryoshka=False)


@pytest.mark.parametrize("provider", ["siliconflow", "openrouter", "nebius", "vllm", "openai"])
def test_token_arrays_are_the_same_as_their_text(box: Sandbox, provider: str) -> None:
    text = "The capital"
    ids = [785, 6722]
    assert np.array_equal(rows(ask(box, provider, ids)), rows(ask(box, provider, text)))


@pytest.mark.parametrize("provider", ["scaleway", "deepinfra", "fireworks", "ollama"])
def test_token_arrays_are_refused_where_only_texts_are_documented(
    box: Sandbox, provider: str
) -> None:
    assert ask(box, provider, [[785, 6722]]).status_code in (400, 422)


def test_error_shapes_are_the_providers_own(box: Sandbox) -> None:
    def said(provider: str, **wrong: Any) -> Any:
        return ask(box, provider, "a", **wrong).json()

    assert said("siliconflow", key="wrong") == "Invalid token"
    assert said("siliconflow", model="m")["code"] == 20012
    assert said("deepinfra", model="m") == {"detail": {"error": "Model is not available"}}
    assert said("scaleway", model="m") == {
        "error": "Unprocessable",
        "status": 422,
        "message": "Model Not Found",
    }
    assert said("openrouter", key="wrong")["error"]["code"] == 401
    assert said("nebius", dimensions=0)["detail"][0]["type"] == "value_error"
    assert said("ollama", model="m") == {"error": "model 'm' not found"}
    assert said("vllm", model="m")["error"]["type"] == "NotFoundError"
    assert said("infinity", model="m")["error"]["code"] == 400


def test_the_ollama_paths_have_their_own_error_shapes(box: Sandbox) -> None:
    reply = ask(box, "ollama", "a", path="/v1/embeddings", model="m")
    assert reply.json()["error"]["message"] == "model 'm' not found"


def test_reply_shapes_depart_from_openai_where_documented(box: Sandbox) -> None:
    siliconflow = ask(box, "siliconflow", "a").json()
    assert "object" not in siliconflow
    assert siliconflow["usage"]["completion_tokens"] == 0
    openrouter = ask(box, "openrouter", "a").json()
    assert "index" not in openrouter["data"][0]
    assert openrouter["usage"]["cost"] == pytest.approx(2e-8)
    infinity = ask(box, "infinity", "a").json()
    assert {"id", "created"} <= set(infinity)
    assert ask(box, "ollama", "a").json()["prompt_eval_count"] == 2


def test_headers_are_the_providers_own(box: Sandbox) -> None:
    assert ask(box, "scaleway", "a").headers["x-ratelimit-reset-requests"] == "250ms"
    assert "x-siliconcloud-trace-id" in ask(box, "siliconflow", "a").headers
    assert "x-ratelimit-remaining-tokens" in ask(box, "nebius", "a").headers
    assert "x-ratelimit-limit-tokens-prompt" in ask(box, "fireworks", "a").headers
    assert ask(box, "tei", "a").headers["x-compute-tokens"] == "2"


@pytest.mark.parametrize(
    ("provider", "path", "member"),
    [
        ("scaleway", "/models", "data"),
        ("siliconflow", "/user/info", "data"),
        ("openrouter", "/key", "data"),
        ("nebius", "/models", "data"),
        ("ollama", "/api/version", "version"),
        ("ollama", "/api/tags", "models"),
        ("ollama", "/api/ps", "models"),
        ("infinity", "/health", "unix"),
    ],
)
def test_free_paths_answer_and_cost_nothing(
    box: Sandbox, provider: str, path: str, member: str
) -> None:
    headers = {"authorization": f"Bearer {box.keys.get(provider, 'any')}"}
    reply = get(box.bases[provider] + path, headers=headers)
    assert member in reply.json()
    assert box.totals(provider)["billed_tokens"] == 0


@pytest.mark.parametrize(
    ("provider", "path"),
    [
        ("vllm", "/health"),
        ("tei", "/health"),
        ("llamacpp", "/health"),
        ("deepinfra", "/payment/checklist"),
    ],
)
def test_free_paths_outside_the_base_answer(box: Sandbox, provider: str, path: str) -> None:
    origin = httpx.URL(box.bases[provider]).copy_with(path=path)
    headers = {"authorization": f"Bearer {box.keys.get(provider, 'any')}"}
    assert get(origin, headers=headers).status_code == 200


def test_a_loading_llama_server_is_unhealthy(box: Sandbox) -> None:
    box.configure("llamacpp", loading=True)
    try:
        assert ask(box, "llamacpp", "a").status_code == 503
    finally:
        box.configure("llamacpp", loading=False)


def test_scaleway_bills_a_project_named_in_the_base(box: Sandbox) -> None:
    from router_config.sandbox.emulators.scaleway import PROJECT

    def through(project: str) -> int:
        base = box.bases["scaleway"].replace("/v1", f"/{project}/v1")
        headers = {"authorization": f"Bearer {box.keys['scaleway']}"}
        body = {"model": "qwen3-embedding-8b", "input": "a"}
        return post(base + "/embeddings", json=body, headers=headers).status_code

    assert through(PROJECT) == 200
    assert through("00000000-0000-4000-8000-000000000000") == 403
