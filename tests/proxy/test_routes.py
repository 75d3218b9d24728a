"""LiteLLM's other routes spend nothing on our groups: what is refused leaves no trace anywhere."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest

from router_config.sandbox import Sandbox
from tests.proxy.answers import calls
from tests.proxy.harness import MASTER_KEY, PLAIN, Proxy

# Requests that name a model in their body.
NAMED: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "x"}]},
    "/v1/completions": {"prompt": "x"},
    "/v1/responses": {"input": "x"},
    "/v1/rerank": {"query": "x", "documents": ["a"]},
    "/v1/batches": {
        "input_file_id": "file-1",
        "endpoint": "/v1/embeddings",
        "completion_window": "24h",
    },
}
LINE = {"custom_id": "1", "method": "POST", "url": "/v1/embeddings", "body": {"input": "x"}}


def encoded(kind: str, model: str) -> str:
    """Return an id that tells LiteLLM whose *model* made the file or batch."""
    inside = base64.urlsafe_b64encode(f"litellm:{kind}1;model,{model}".encode())
    return kind + inside.decode().rstrip("=")


def ask(proxy: Proxy, method: str, path: str, **more: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {MASTER_KEY}", **more.pop("headers", {})}
    return httpx.request(method, proxy.base + path, headers=headers, timeout=30, **more, **PLAIN)


@pytest.mark.parametrize("model", ["plain", "solo-vllm", "plain--vllm", "text-embedding-3-large"])
@pytest.mark.parametrize("path", NAMED)
def test_only_embeddings_reach_our_groups(
    proxy: Proxy, box: Sandbox, path: str, model: str
) -> None:
    before = proxy.log()
    reply = ask(proxy, "POST", path, json={"model": model, **NAMED[path]})
    assert calls(box) == {}
    if path == "/v1/batches":  # without the package of its database LiteLLM fails here by itself
        assert reply.status_code in (400, 500)
        return
    assert reply.status_code == 400, reply.text
    error = reply.json()["error"]
    assert sorted(error) == ["code", "message", "param", "type"]
    assert "serves embeddings only" in error["message"]
    assert "Traceback" not in proxy.log()[len(before) :]


@pytest.mark.parametrize("model", ["plain", "solo-vllm", "plain--vllm"])
@pytest.mark.parametrize("where", ["form", "header", "query"])
def test_no_file_goes_to_a_deployment_of_ours(
    proxy: Proxy, box: Sandbox, where: str, model: str
) -> None:
    line = json.dumps({**LINE, "body": {"model": model, "input": "x"}}) + "\n"
    reply = ask(
        proxy,
        "POST",
        "/v1/files" + (f"?model={model}" if where == "query" else ""),
        headers={"x-litellm-model": model} if where == "header" else {},
        data={"purpose": "batch", **({"model": model} if where == "form" else {})},
        files={"file": ("x.jsonl", line)},
    )
    assert 400 <= reply.status_code < 500, reply.text
    assert "error" in reply.json()
    assert calls(box) == {}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/files/{file}", None),
        ("GET", "/v1/files/{file}/content", None),
        ("DELETE", "/v1/files/{file}", None),
        ("GET", "/v1/batches/{batch}", None),
        ("POST", "/v1/batches/{batch}/cancel", {}),
        ("POST", "/v1/batches", {**NAMED["/v1/batches"], "input_file_id": "{file}"}),
    ],
)
def test_an_id_that_names_a_deployment_of_ours_leads_nowhere(
    proxy: Proxy, box: Sandbox, method: str, path: str, body: dict[str, Any] | None
) -> None:
    ids = {"file": encoded("file-", "plain"), "batch": encoded("batch_", "plain")}
    if body and "input_file_id" in body:
        body = {**body, "input_file_id": ids["file"]}
    more = {} if body is None else {"json": body}
    reply = ask(proxy, method, path.format(**ids), **more)
    assert reply.status_code in range(400, 500) or (
        path.startswith("/v1/b"),
        reply.status_code,
    ) == (
        True,
        500,  # as above
    )
    assert calls(box) == {}


def test_what_is_not_ours_is_left_alone(proxy: Proxy, box: Sandbox) -> None:
    reply = ask(
        proxy,
        "POST",
        "/v1/files",
        data={"purpose": "batch", "model": "foreign"},
        files={"file": ("x.jsonl", json.dumps(LINE) + "\n")},
    )
    assert calls(box) == {"vllm": 1}, reply.text


@pytest.mark.parametrize("target", ["plain", "solo-vllm"])
def test_no_request_of_another_model_falls_back_to_ours_past_the_ledger(
    proxy: Proxy, box: Sandbox, target: str
) -> None:
    """A client may name fallbacks itself, and that request was never admitted."""
    box.fault("vllm", "status", status=401, times=1)  # LiteLLM's client repeats a 500
    before = len(proxy.log())
    body = {"model": "foreign", "input": "x", "fallbacks": [target]}
    reply = ask(proxy, "POST", "/v1/embeddings", json=body)
    assert reply.status_code >= 400, reply.text
    assert calls(box) == {"vllm": 1}
    # Before LiteLLM picks one, not only when it is about to call.
    assert f"a request that was not admitted, to {target}" in proxy.log()[before:]
    # That it was the refusal which ended it, and not LiteLLM: another model of theirs is reached.
    box.fault("vllm", "status", status=401, times=1)  # LiteLLM's client repeats a 500
    reply = ask(proxy, "POST", "/v1/embeddings", json={**body, "fallbacks": ["foreign-alias"]})
    assert (reply.status_code, calls(box)["vllm"]) == (200, 3), reply.text
