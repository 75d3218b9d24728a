"""Keys of the file: who gets in, where to, how often; and what everybody else is told."""

from __future__ import annotations

import hashlib
from typing import Any

import httpx
import pytest

from router_config.sandbox import Sandbox
from tests.proxy import configs
from tests.proxy.answers import calls, refused
from tests.proxy.configs import KEYS
from tests.proxy.harness import MASTER_KEY, PLAIN, Proxy

MODEL = configs.solo("vllm")  # one of the two groups of the key `search`
ROUTES = (
    "/v1/embeddings",
    "/embeddings",
    f"/engines/{MODEL}/embeddings",
    f"/openai/deployments/{MODEL}/embeddings",
)
WRONG: dict[str, str | None] = {
    "missing": None,
    "wrong": "sk-wrong",
    "expired": KEYS["old"],
    "hash": hashlib.sha256(KEYS["search"].encode()).hexdigest(),
    "start": KEYS["search"][:-1],
    "more": KEYS["search"] + "1",
    "case": KEYS["search"].upper(),
    "alias": "search",
    "long": "sk-" + "x" * 8000,
}


def ask(proxy: Proxy, key: str | None, model: str = MODEL, **more: Any) -> httpx.Response:
    return proxy.post({"model": model, "input": "text", "dimensions": 32}, key=key, **more)


# -- in and out


@pytest.mark.parametrize("key", ["search", "search-next", "eu-only"])
@pytest.mark.usefixtures("box")
def test_a_key_of_the_file_gets_in(proxy: Proxy, key: str) -> None:
    model = "regions" if key == "eu-only" else MODEL
    assert ask(proxy, KEYS[key], model).status_code == 200


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.usefixtures("box")
def test_a_key_of_the_file_gets_in_at_every_door(proxy: Proxy, route: str) -> None:
    assert ask(proxy, KEYS["search"], path=route).status_code == 200
    assert ask(proxy, MASTER_KEY, path=route).status_code == 200


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("key", WRONG.values(), ids=WRONG)
def test_any_other_key_is_unauthorized(
    proxy: Proxy, box: Sandbox, key: str | None, route: str
) -> None:
    message = refused(ask(proxy, key, path=route), 401, "unauthorized")
    assert key is None or len(key) < 8 or key not in message
    assert calls(box) == {}


@pytest.mark.parametrize(
    "value", ["", "Bearer", "Basic c2stOg==", "sk", "Bearer \xff\xfe", "Bearer sk a"]
)
def test_an_odd_authorization_header_is_unauthorized(
    proxy: Proxy, box: Sandbox, value: str
) -> None:
    headers = {"authorization": value.encode("latin-1")}
    body = {"model": MODEL, "input": "text"}
    response = httpx.post(proxy.base + ROUTES[0], json=body, headers=headers, timeout=60, **PLAIN)
    refused(response, 401, "unauthorized")
    assert calls(box) == {}


@pytest.mark.parametrize(
    "body",
    [
        {"model": MODEL, "input": []},
        {"model": MODEL, "input": "x", "dimensions": 1},
        {"model": "unknown", "input": "x"},
        {"model": f"{MODEL}--vllm", "input": "x"},
        {"model": MODEL, "input": "word " * 40_000},
        {},
    ],
)
def test_who_has_no_key_learns_nothing_about_the_request(
    proxy: Proxy, box: Sandbox, body: dict[str, Any]
) -> None:
    refused(proxy.post(body, key=None), 401, "unauthorized")
    assert calls(box) == {}


@pytest.mark.parametrize(
    "name",
    ["x-litellm-api-key", "api-key", "x-api-key", "x-goog-api-key", "ocp-apim-subscription-key"],
)
def test_a_key_counts_in_every_header_that_litellm_reads(
    proxy: Proxy, box: Sandbox, name: str
) -> None:
    assert ask(proxy, None, headers={name: KEYS["search"]}).status_code == 200
    refused(ask(proxy, None, headers={name: "sk-wrong"}), 401, "unauthorized")
    other_group = ask(proxy, None, "solo-tei", headers={name: KEYS["search"]})
    refused(other_group, 404, "model_not_found", "model")
    assert calls(box) == {"vllm": 1}


# -- where to


def test_a_key_asks_for_its_groups_only(proxy: Proxy, box: Sandbox) -> None:
    for model in ("solo-tei", f"{configs.solo('tei')}:query", "regions", "unknown", "plain"):
        refused(ask(proxy, KEYS["search"], model), 404, "model_not_found", "model")
    assert calls(box) == {}


def test_a_group_that_is_not_ones_own_looks_like_one_that_is_not_there(
    proxy: Proxy, box: Sandbox
) -> None:
    messages = [
        refused(ask(proxy, KEYS["search"], model), 404, "model_not_found", "model")
        for model in ("solo-tei", "solo-not")
    ]
    assert messages[0].replace("tei", "not") == messages[1]
    assert calls(box) == {}


@pytest.mark.parametrize("key", ["search", "eu-only"])
def test_a_key_with_groups_or_a_region_does_not_reach_litellms_own_models(
    proxy: Proxy, box: Sandbox, key: str
) -> None:
    response = ask(proxy, KEYS[key], "foreign")
    assert response.status_code == 404
    assert "does not exist or you do not have access" in response.json()["error"]["message"]
    assert calls(box) == {}


def test_a_key_with_a_region_is_served_there_only(proxy: Proxy, box: Sandbox) -> None:
    assert ask(proxy, KEYS["eu-only"], "regions").status_code == 200
    assert calls(box) == {"nebius": 1}
    box.fault("nebius", "status", status=503)
    refused(ask(proxy, KEYS["eu-only"], "regions"), 503, "no_deployment_available", retry=True)
    assert calls(box) == {"nebius": 2}


def test_a_group_with_nobody_in_the_region_of_the_key_is_not_there_for_it(
    proxy: Proxy, box: Sandbox
) -> None:
    response = ask(proxy, KEYS["eu-only"], MODEL)
    assert "region eu" in refused(response, 404, "model_not_found", "model")
    assert calls(box) == {}


def test_the_list_of_models_shows_a_key_its_groups(proxy: Proxy) -> None:
    def models(key: str) -> list[str]:
        return sorted(one["id"] for one in proxy.get("/v1/models", key=key).json()["data"])

    assert models(KEYS["search"]) == sorted([MODEL, configs.solo("openai")])
    assert set(models(MASTER_KEY)) > {MODEL, "foreign", "plain", "nobody"}
    assert models(KEYS["eu-only"]) == models(MASTER_KEY)


@pytest.mark.parametrize("path", ["/v1/models", "/models", f"/v1/models/{MODEL}"])
def test_a_key_may_look_at_models(proxy: Proxy, path: str) -> None:
    assert proxy.get(path, key=KEYS["search"]).status_code == 200


# -- how often


def test_the_fourth_request_of_a_minute_is_one_too_many(proxy: Proxy, box: Sandbox) -> None:
    answers = [ask(proxy, KEYS["few"]) for _ in range(5)]
    assert [one.status_code for one in answers] == [200, 200, 200, 429, 429]
    for one in answers[3:]:
        refused(one, 429, "rate_limited", retry=True)
        assert 1 <= int(one.headers["retry-after"]) <= 60
    assert calls(box) == {"vllm": 3}
    assert proxy.get("/v1/models", key=KEYS["few"]).status_code == 200  # looking is not counted


# -- everything else of LiteLLM needs the master key

ADMIN = [
    ("GET", "/health"),
    ("GET", "/health/services?service=slack"),
    ("GET", "/health/history"),
    ("GET", "/v1/model/info"),
    ("GET", "/model/info"),
    ("GET", "/v2/model/info"),
    ("GET", "/model_group/info"),
    ("GET", "/model/metrics"),
    ("POST", "/model/new"),
    ("POST", "/model/update"),
    ("POST", "/model/delete"),
    ("POST", "/key/generate"),
    ("POST", "/key/update"),
    ("POST", "/key/delete"),
    ("POST", "/key/regenerate"),
    ("GET", "/key/info"),
    ("GET", "/key/list"),
    ("POST", "/key/health"),
    ("POST", "/user/new"),
    ("GET", "/user/info"),
    ("POST", "/team/new"),
    ("GET", "/team/list"),
    ("GET", "/spend/logs"),
    ("GET", "/global/spend/logs"),
    ("GET", "/global/activity"),
    ("POST", "/global/spend/reset"),
    ("POST", "/config/update"),
    ("GET", "/get/config/callbacks"),
    ("GET", "/config/yaml"),
    ("GET", "/router/settings"),
    ("GET", "/router/fields"),
    ("GET", "/cache/ping"),
    ("POST", "/cache/flushall"),
    ("GET", "/settings"),
    ("GET", "/credentials"),
    ("POST", "/credentials"),
    ("GET", "/active/callbacks"),
    ("POST", "/utils/token_counter"),
    ("POST", "/utils/transform_request"),
    ("GET", "/budget/list"),
    ("POST", "/budget/new"),
    ("GET", "/guardrails/list"),
    ("GET", "/v1/mcp/server"),
    ("POST", "/queue/chat/completions"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/completions"),
    ("POST", "/v1/responses"),
    ("POST", "/v1/messages"),
    ("POST", "/v1/rerank"),
    ("POST", "/v1/moderations"),
    ("POST", "/v1/audio/speech"),
    ("POST", "/v1/images/generations"),
    ("GET", "/v1/files"),
    ("POST", "/v1/batches"),
    ("GET", "/v1/batches"),
    ("POST", "/openai/v1/embeddings"),
    ("POST", "/cohere/v1/embed"),
    ("POST", "/vertex_ai/x"),
    # Below the paths that a key may read, LiteLLM has chat routes of Google's form.
    ("POST", "/models/solo-vllm:generateContent"),
    ("POST", "/models/plain:generateContent"),
    ("POST", "/models/foreign:streamGenerateContent"),
    ("POST", "/models/foreign:countTokens"),
    ("POST", "/v1/models/foreign"),
]


def call(proxy: Proxy, method: str, path: str, key: str | None) -> httpx.Response:
    headers = {"authorization": f"Bearer {key}"} if key is not None else {}
    body = {"model": MODEL, "input": "x", "messages": [{"role": "user", "content": "x"}]}
    content = {"json": body} if method == "POST" else {}
    return httpx.request(method, proxy.base + path, headers=headers, timeout=60, **content, **PLAIN)


@pytest.mark.parametrize(("method", "path"), ADMIN)
def test_a_key_of_the_file_opens_nothing_else(
    proxy: Proxy, box: Sandbox, method: str, path: str
) -> None:
    response = call(proxy, method, path, KEYS["search"])
    assert response.status_code in (401, 403, 404, 405), response.text
    assert MODEL not in response.text
    assert calls(box) == {}


@pytest.mark.parametrize("key", [None, "sk-wrong", KEYS["old"]], ids=["missing", "wrong", "old"])
@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/models"), *ADMIN])
def test_without_a_good_key_there_is_a_clean_401(
    proxy: Proxy, box: Sandbox, method: str, path: str, key: str | None
) -> None:
    response = call(proxy, method, path, key)
    assert response.status_code in (401, 404, 405), response.text
    if response.status_code == 401:
        assert response.json()["error"]["type"] == "authentication_error"
        assert response.headers["x-should-retry"] == "false"
    assert calls(box) == {}


@pytest.mark.parametrize("path", ["/health", "/v1/model/info", "/key/list", "/router/settings"])
def test_the_master_key_is_the_admins(proxy: Proxy, path: str) -> None:
    assert call(proxy, "GET", path, MASTER_KEY).status_code not in (401, 403)


def test_no_key_stands_in_the_log(proxy: Proxy) -> None:
    log = proxy.log()
    assert "POST /v1/embeddings" in log
    assert [key for key in [*KEYS.values(), MASTER_KEY] if key in log] == []
