"""The front door: what goes through it, what passes by untouched, and what LiteLLM says inside."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import pytest

from router_config.sandbox import Sandbox
from tests.proxy import configs
from tests.proxy.answers import calls, refused
from tests.proxy.harness import MASTER_KEY, PLAIN, Proxy
from tests.proxy.reference import expected, rows

MODEL = configs.solo("vllm")
TEXTS = ["Привет, мир", "import os"]
BODY: dict[str, Any] = {"input": TEXTS, "dimensions": 64}

# -- every way in


@pytest.mark.parametrize(
    "path",
    [
        "/v1/embeddings",
        "/embeddings",
        f"/engines/{MODEL}/embeddings",
        f"/openai/deployments/{MODEL}/embeddings",
        f"/openai/deployments/{MODEL}/embeddings?api-version=2024-02-01",
        f"/openai/deployments/{MODEL.replace('-', '%2D')}/embeddings",
        "/engines//embeddings",
    ],
)
def test_every_embeddings_route_gives_the_same_answer(
    proxy: Proxy, box: Sandbox, path: str
) -> None:
    response = proxy.post({"model": MODEL, **BODY}, path=path)
    assert np.abs(rows(response) - expected(TEXTS, 64)).max() <= 1e-6
    assert response.content == proxy.post({"model": MODEL, **BODY}).content
    assert calls(box) == {"vllm": 2}


@pytest.mark.parametrize("path", ["/engines/{}/embeddings", "/openai/deployments/{}/embeddings"])
def test_a_model_in_the_path_may_carry_an_input_type(proxy: Proxy, box: Sandbox, path: str) -> None:
    response = proxy.post(BODY, path=path.format(f"{MODEL}:query"))
    assert response.json()["model"] == f"{MODEL}:query"
    assert response.json()["data"] == proxy.post({"model": f"{MODEL}:query", **BODY}).json()["data"]
    assert response.content != proxy.post({"model": MODEL, **BODY}).content


@pytest.mark.parametrize(
    "path",
    ["/v1/embeddings", "/engines//embeddings", f"/engines/{MODEL}/embeddings", "/embeddings"],
)
@pytest.mark.parametrize("body", [b"{", b"x" * 17_000_000, b'{"model":"solo-vllm","input":[[1]]}'])
def test_no_embeddings_route_leads_around_the_door(
    proxy: Proxy, box: Sandbox, path: str, body: bytes
) -> None:
    response = proxy.post(body, path=path)
    assert response.json()["error"]["code"] in (
        "invalid_json",
        "request_too_large",
        "token_input_not_supported",
    )
    assert calls(box) == {}


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
def test_other_methods_are_litellms_business(proxy: Proxy, method: str) -> None:
    response = httpx.request(method, f"{proxy.base}/v1/embeddings", timeout=60, **PLAIN)
    assert response.status_code == 405
    assert "x-router-request-id" not in response.headers


# -- other names of our groups


@pytest.mark.parametrize(
    ("alias", "provider"), [("text-embedding-3-large", "vllm"), ("hidden-alias", "tei")]
)
def test_litellms_alias_of_a_group_is_that_group(
    proxy: Proxy, box: Sandbox, alias: str, provider: str
) -> None:
    for model in (alias, f"{alias}:query"):
        response = proxy.post({"model": model, **BODY})
        assert response.status_code == 200
        assert response.json()["model"] == model
        group = model.replace(alias, configs.solo(provider))
        same = proxy.post({"model": group, **BODY})
        assert response.json()["data"] == same.json()["data"]
    assert calls(box) == {provider: 4}


def test_an_alias_gives_no_more_rights_than_its_group(proxy: Proxy, box: Sandbox) -> None:
    key = configs.KEYS["search"]  # may use solo-vllm and not solo-tei
    assert proxy.post({"model": "text-embedding-3-large", **BODY}, key=key).status_code == 200
    refused(proxy.post({"model": "hidden-alias", **BODY}, key=key), 404, "model_not_found", "model")
    assert calls(box) == {"vllm": 1}


# -- models that are not ours


@pytest.mark.parametrize("model", ["foreign", "foreign-alias"])
def test_a_model_of_litellms_own_passes_untouched(proxy: Proxy, box: Sandbox, model: str) -> None:
    response = proxy.post({"model": model, "input": TEXTS, "encoding_format": "float"})
    body = response.json()
    assert response.status_code == 200
    assert sorted(body) == ["data", "model", "object", "usage"]
    found = np.array([item["embedding"] for item in body["data"]])
    assert np.abs(found - expected(TEXTS)).max() <= 1e-6
    assert [name for name in response.headers if name.startswith("x-router")] == []
    assert response.headers["x-litellm-model-id"] == "foreign--vllm"
    (entry,) = box.journal("vllm")
    assert entry["fields"] == {"model": "Qwen/Qwen3-Embedding-8B", "encoding_format": "float"}


def test_litellms_own_words_on_its_own_models_stay(proxy: Proxy, box: Sandbox) -> None:
    response = proxy.post({"model": "foreign", "input": TEXTS, "dimensions": 64})
    assert response.status_code == 400
    assert "UnsupportedParamsError" in response.json()["error"]["message"]
    assert "x-router-request-id" not in response.headers
    assert calls(box) == {}


# -- other routes


@pytest.mark.parametrize("path", ["/health/liveliness", "/health/liveness"])
def test_liveness_is_litellms_own(proxy: Proxy, path: str) -> None:
    assert proxy.get(path, key=None).json() == "I'm alive!"


def test_readiness_is_litellms_own(proxy: Proxy) -> None:
    assert proxy.get("/health/readiness", key=None).json()["status"] == "healthy"


def test_the_list_of_models_names_every_group_once(proxy: Proxy) -> None:
    names = [one["id"] for one in proxy.get("/v1/models").json()["data"]]
    assert len(names) == len(set(names))
    assert {MODEL, "nobody", "foreign", "text-embedding-3-large"} <= set(names)
    assert "hidden-alias" not in names


@pytest.mark.parametrize(
    "path", ["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/rerank"]
)
def test_other_calls_with_our_models_reach_nobody(proxy: Proxy, box: Sandbox, path: str) -> None:
    messages = [{"role": "user", "content": "x"}]
    body = {"model": MODEL, "messages": messages, "prompt": "x", "input": "x", "query": "x"}
    response = proxy.post({**body, "documents": ["x"]}, path=path)
    assert response.status_code >= 400
    assert calls(box) == {}


# -- LiteLLM's health check


def test_a_health_check_costs_nothing(proxy: Proxy, box: Sandbox) -> None:
    report = proxy.get("/health").json()
    assert calls(box) == {}
    assert report["unhealthy_count"] == 1
    (off,) = report["unhealthy_endpoints"]
    assert off["model_id"] == "nobody--deepinfra"
    assert f"{configs.UNSET} is not set" in off["error"]
    healthy = {one["model_id"] for one in report["healthy_endpoints"]}
    assert {f"{MODEL}--vllm", "mix-1111--nebius", "plain--vllm"} <= healthy


def test_a_health_check_names_no_key(proxy: Proxy, box: Sandbox) -> None:
    words = proxy.get("/health").text
    assert [key for key in (*box.keys.values(), MASTER_KEY) if key in words] == []


# -- headers


def test_a_reply_carries_our_headers_and_litellms(proxy: Proxy, box: Sandbox) -> None:
    response = proxy.post({"model": configs.solo("scaleway"), **BODY})
    headers = response.headers
    assert headers["x-router-deployment"] == "solo-scaleway--scaleway"
    assert headers["x-router-attempts"] == "1"
    tokens = response.json()["usage"]["prompt_tokens"]
    billed = box.journal("scaleway")[0]["billed_tokens"]
    assert tokens == billed
    assert float(headers["x-router-cost-usd"]) == float(headers["x-litellm-response-cost"]) > 0
    assert headers["x-litellm-model-id"] == "solo-scaleway--scaleway"
    assert {"x-litellm-call-id", "x-litellm-version", "x-litellm-key-spend"} <= set(headers)
    assert "x-litellm-model-api-base" not in headers
    assert all(len(headers.get_list(name)) == 1 for name in headers)


@pytest.mark.usefixtures("box")
@pytest.mark.parametrize("fields", [{}, {"dimensions": 1}, {"model": "nobody"}, {"model": "x"}])
def test_a_page_in_a_browser_can_read_every_answer(proxy: Proxy, fields: dict[str, Any]) -> None:
    headers = {"origin": "https://app.example"}
    response = proxy.post({"model": MODEL, **BODY, **fields}, headers=headers)
    assert response.headers["access-control-allow-origin"] == "*"
    assert response.headers["vary"] == "Origin"


def test_a_call_id_of_the_clients_comes_back(proxy: Proxy, box: Sandbox) -> None:
    response = proxy.post({"model": MODEL, **BODY}, headers={"x-litellm-call-id": "mine-1"})
    assert response.headers["x-litellm-call-id"] == "mine-1"
    assert calls(box) == {"vllm": 1}


def test_a_group_with_nobody_is_unavailable_in_our_words(proxy: Proxy, box: Sandbox) -> None:
    response = proxy.post({"model": "nobody", **BODY})
    message = refused(response, 503, "no_deployment_available", retry=True)
    assert "nobody" in message
    assert configs.UNSET not in message
    assert "litellm" not in response.text.lower()
    assert calls(box) == {}


@pytest.mark.parametrize("path", ["/v1/embeddings%0A", "/embeddings%0A", "/v1/embeddings%0a"])
@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"model": MODEL, "input": [[1, 2], [3]]}, "token_input_not_supported", "input"),
        ({"model": MODEL, "input": [[]]}, "invalid_input", "input[0]"),
        (b'{"model":"x","input":"a","input":"b"}', "invalid_json", None),
    ],
)
def test_a_line_break_at_the_end_of_the_path_does_not_pass_the_door_by(
    proxy: Proxy, box: Sandbox, path: str, body: Any, code: str, param: str | None
) -> None:
    refused(proxy.post(body, path=path), 400, code, param)
    assert calls(box) == {}
