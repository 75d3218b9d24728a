"""A client chooses texts, dimensions and encoding. Nothing else of what it sends steers the router.

LiteLLM obeys some forty body fields and a dozen headers: keys, bases, retries, fallbacks, timeouts,
mocks. Each is sent here once; what reached the providers, and what the client got, must be what a
plain request gets.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import httpx
import pytest

from router_config.sandbox import Sandbox
from tests.proxy import configs
from tests.proxy.answers import calls, refused
from tests.proxy.harness import MASTER_KEY, Proxy

GROUP = configs.pair("deepinfra")  # deepinfra first, another deployment behind it
BODY: dict[str, Any] = {"model": GROUP, "input": ["steady", "as she goes"], "dimensions": 64}

FIELDS: list[dict[str, Any]] = [
    {"api_key": "sk-of-the-client"},
    {"api_base": "http://127.0.0.1:9/v1"},
    {"base_url": "http://127.0.0.1:9/v1"},
    {"api_version": "2024-02-01", "api_type": "azure", "organization": "org-x"},
    {"custom_llm_provider": "openai"},
    {"num_retries": 5},
    {"max_retries": 5},
    {"router_settings_override": {"num_retries": 5, "fallbacks": [{GROUP: ["solo-tei"]}]}},
    {"fallbacks": ["solo-tei"]},
    {"fallbacks": [{"model": "solo-tei--tei"}]},
    {"context_window_fallbacks": [{GROUP: ["solo-tei"]}]},
    {"disable_fallbacks": True},
    {"fallback_depth": -10, "max_fallbacks": 50},
    {"timeout": 0.000001},
    {"request_timeout": 0.000001},
    {"stream_timeout": 0.000001},
    {"timeout": "abc"},
    {"specific_deployment": True},
    {"_excluded_deployment_ids": [f"{GROUP}--deepinfra"]},
    {"_target_order": 2},
    {"order": 9, "weight": 0, "rpm": 0, "tpm": 0},
    {"drop_params": True, "allowed_openai_params": ["dimensions"]},
    {"additional_drop_params": ["dimensions", "input"]},
    {"model_info": {"id": f"{GROUP}--openai", "max_inputs": 1}},
    {"metadata": {"model_info": {"id": f"{GROUP}--openai"}, "deployment": "x"}},
    {"metadata": {"qwen3_router_request": "req_0", "qwen3_router_key": "search"}},
    {"metadata": "text"},
    {"litellm_metadata": {"model_group": "solo-tei"}},
    {"litellm_params": {"model": "qwen3/tei"}},
    {"litellm_call_id": "fixed", "litellm_trace_id": "fixed", "litellm_session_id": "fixed"},
    {"litellm_logging_obj": {}, "proxy_server_request": {"headers": {}}, "secret_fields": {}},
    {"litellm_credential_name": "other", "user_config": {"model_list": []}},
    {"model_list": [{"model_name": GROUP, "litellm_params": {"model": "qwen3/tei"}}]},
    {"mock_response": "hello"},
    {"mock_testing_fallbacks": True},
    {"mock_testing_rate_limit_error": True, "mock_timeout": True},
    {"callbacks": ["langfuse"], "success_callback": ["x"], "no-log": True},
    {"guardrails": ["x"], "tags": ["paid"], "prompt_id": "x"},
    {"cache": {"no-cache": False, "ttl": 9999}, "caching": True, "ttl": 9999},
    {"input_cost_per_token": 1000, "output_cost_per_token": 1000},
    {"cooldown_time": 9999, "allowed_fails": 0},
    {"extra_body": {"model": "x"}, "extra_headers": {"authorization": "x"}, "headers": {"a": "b"}},
    {"provider": {"order": ["x"]}, "my_extra": 1, "q3_dimensions": 1, "options": {"num_ctx": 8}},
    {"aws_region_name": "x", "vertex_project": "x", "azure_ad_token": "x", "api_secret": "x"},
    {"stream": True, "n": 5, "stop": "x", "temperature": 2, "tools": []},
    {"prompt": "x", "messages": [{"role": "user", "content": "x"}], "query": "x"},
    {"user_api_key_dict": {"user_role": "proxy_admin"}, "user_api_key": "x", "team_id": "x"},
    {"": "x", "\u0000": "x", "__proto__": {}, "__class__": "x", "self": 1, "cls": 2, "kwargs": {}},
]
HEADERS: list[dict[str, str]] = [
    {"x-litellm-num-retries": "5"},
    {"x-litellm-timeout": "0.000001"},
    {"x-litellm-timeout": "abc", "x-litellm-num-retries": "abc"},
    {"x-litellm-stream-timeout": "0.000001"},
    {"x-litellm-tags": "paid,free"},
    {"x-litellm-model-group": "solo-tei", "x-litellm-model-id": f"{GROUP}--openai"},
    {"x-litellm-enable-message-redaction": "true", "x-litellm-disable-callbacks": "langfuse"},
    {"x-litellm-call-id": "fixed"},
    {"x-litellm-trace-id": "fixed", "x-litellm-session-id": "fixed"},
    {"x-litellm-spend-logs-metadata": '{"model_info": {"id": "x"}}'},
    {"x-litellm-customer-id": "someone", "x-litellm-end-user-id": "someone"},
    {"x-router-request-id": "req_000000000000000000000000"},
    {"x-router-deployment": f"{GROUP}--openai", "x-router-attempts": "9", "x-router-path": "x"},
    {"api-base": "http://127.0.0.1:9", "openai-organization": "org-x", "openai-project": "p"},
    {"x-forwarded-host": "evil", "x-forwarded-prefix": "/x", "x-original-url": "/health"},
    {"content-type": "text/plain"},
    {"content-type": "multipart/form-data; boundary=x"},
    {"accept": "text/html", "accept-encoding": "identity", "prefer": "wait=1"},
    {"cache-control": "only-if-cached", "if-none-match": "*", "range": "bytes=0-1"},
]
QUERIES = ["?model=solo-tei", "?num_retries=5&timeout=0", "?api-version=2024-02-01", "?x=%00"]


class Expected:
    """What a plain request brings: the client's bytes, and the provider's view."""

    def __init__(self, proxy: Proxy, box: Sandbox) -> None:
        response = proxy.post(BODY)
        assert response.status_code == 200
        self.content = response.content
        self.wire = self._view(box)

    @staticmethod
    def _view(box: Sandbox) -> list[tuple[Any, ...]]:
        names = ("method", "path", "sha256", "fields", "key", "account")
        return [tuple(entry[name] for name in names) for entry in box.journal("deepinfra")]

    def holds(self, response: httpx.Response, box: Sandbox) -> None:
        """Check that *response* and the providers' journals are those of a plain request."""
        assert response.status_code == 200, response.text[:300]
        assert response.content == self.content
        assert calls(box) == {"deepinfra": 1}
        assert self._view(box) == self.wire
        assert response.headers["x-router-deployment"] == f"{GROUP}--deepinfra"
        assert response.headers["x-router-attempts"] == "1"
        assert response.headers.get_list("x-router-request-id") != ["req_000000000000000000000000"]


@pytest.fixture
def expected(proxy: Proxy, box: Sandbox) -> Expected:
    found = Expected(proxy, box)
    assert found.wire[0][4] == "valid"  # the deployment's own key
    box.reset()
    return found


def label(value: Any) -> str:
    return "-".join(value)[:60] if isinstance(value, dict) else str(value)


@pytest.mark.parametrize("fields", FIELDS, ids=label)
def test_a_body_field_steers_nothing(
    proxy: Proxy, box: Sandbox, expected: Expected, fields: dict[str, Any]
) -> None:
    expected.holds(proxy.post({**BODY, **fields}), box)


@pytest.mark.parametrize("headers", HEADERS, ids=label)
def test_a_header_steers_nothing(
    proxy: Proxy, box: Sandbox, expected: Expected, headers: dict[str, str]
) -> None:
    expected.holds(proxy.post(BODY, headers=headers), box)


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_string_steers_nothing(
    proxy: Proxy, box: Sandbox, expected: Expected, query: str
) -> None:
    expected.holds(proxy.post(BODY, path=f"/v1/embeddings{query}"), box)


def test_all_of_them_at_once_steer_nothing(proxy: Proxy, box: Sandbox, expected: Expected) -> None:
    fields = {name: value for one in FIELDS for name, value in one.items()}
    headers = {name: value for one in HEADERS for name, value in one.items()}
    path = "/v1/embeddings?model=solo-tei"
    expected.holds(proxy.post({**BODY, **fields}, headers=headers, path=path), box)


# -- what only shows when deployments fail

RETRIES: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({}, {}),
    ({"num_retries": 9, "max_retries": 9}, {}),
    ({}, {"x-litellm-num-retries": "9"}),
    ({"router_settings_override": {"num_retries": 9}}, {}),
    ({"fallbacks": ["solo-tei", "capped"], "max_fallbacks": 9}, {}),
    ({"fallbacks": [{"model": "solo-tei--tei"}], "specific_deployment": True}, {}),
    ({"disable_fallbacks": True, "_excluded_deployment_ids": [], "_target_order": 1}, {}),
    ({"attempts": 9, "deadline_s": 900}, {"x-router-attempts": "9"}),
]


@pytest.mark.parametrize(("fields", "headers"), RETRIES, ids=label)
def test_nobody_raises_or_lowers_the_number_of_attempts(
    proxy: Proxy, box: Sandbox, fields: dict[str, Any], headers: dict[str, str]
) -> None:
    for provider in configs.MIX_PROVIDERS:
        box.fault(provider, "status", status=503)
    response = proxy.post({**BODY, "model": "capped", **fields}, headers=headers)
    refused(response, 503, "no_deployment_available", retry=True)
    assert calls(box) == dict.fromkeys(configs.MIX_PROVIDERS[:3], 1)
    assert response.headers["x-router-attempts"] == "3"


@pytest.mark.parametrize(
    ("fields", "headers"),
    [({"timeout": 600, "request_timeout": 600}, {}), ({}, {"x-litellm-timeout": "600"})],
    ids=["body", "header"],
)
def test_nobody_raises_the_deadline(
    proxy: Proxy, box: Sandbox, fields: dict[str, Any], headers: dict[str, str]
) -> None:
    for provider in ("deepinfra", "nebius"):
        box.fault(provider, "hang")
    began = time.monotonic()
    response = proxy.post({**BODY, "model": "hurried", **fields}, headers=headers)
    refused(response, 504, "deadline_exceeded")
    assert time.monotonic() - began < 20  # the group's is 2 s; plain LiteLLM's is 6,000 s


@pytest.mark.parametrize(
    ("fields", "headers"),
    [({"timeout": 0.05, "request_timeout": 0.05}, {}), ({}, {"x-litellm-timeout": "0.05"})],
    ids=["body", "header"],
)
def test_nobody_lowers_the_timeout(
    proxy: Proxy, box: Sandbox, fields: dict[str, Any], headers: dict[str, str]
) -> None:
    box.fault("deepinfra", "slow", delay_s=0.5)
    response = proxy.post({**BODY, **fields}, headers=headers)
    assert response.status_code == 200
    assert calls(box) == {"deepinfra": 1}


# -- names that are not for clients


@pytest.mark.parametrize(
    "model",
    [
        f"{GROUP}--deepinfra",
        f"{GROUP}--deepinfra:query",
        "plain--vllm",
        "qwen3/deepinfra",
        "qwen3/deepinfra:query",
        "qwen3/",
        "openai/Qwen/Qwen3-Embedding-8B",
        "Qwen/Qwen3-Embedding-8B",
    ],
)
@pytest.mark.parametrize("form", ["body", "engines", "deployments"])
def test_a_deployment_cannot_be_addressed(
    proxy: Proxy, box: Sandbox, model: str, form: str
) -> None:
    path = {"body": "/v1/embeddings", "engines": f"/engines/{model}/embeddings"}.get(
        form, f"/openai/deployments/{model}/embeddings"
    )
    response = proxy.post({**BODY, "model": model}, path=path)
    refused(response, 404, "model_not_found", "model")
    assert calls(box) == {}


def test_the_model_in_the_path_beats_the_one_in_the_body(
    proxy: Proxy, box: Sandbox, expected: Expected
) -> None:
    path = f"/engines/{GROUP}/embeddings"
    response = proxy.post({**BODY, "model": "solo-tei"}, path=path)
    expected.holds(response, box)


# -- request ids


def test_requests_that_share_a_call_id_keep_their_own_answers(proxy: Proxy, box: Sandbox) -> None:
    box.fault("deepinfra", "slow", delay_s=0.3)
    texts = [f"text number {i}" for i in range(6)]
    found: dict[str, bytes] = {}

    def ask(text: str) -> None:
        body = {**BODY, "input": text}
        headers = {"x-litellm-call-id": "fixed", "x-router-request-id": "req_fixed"}
        found[text] = proxy.post(body, headers=headers).content

    threads = [threading.Thread(target=ask, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    box.clear()
    assert found == {text: proxy.post({**BODY, "input": text}).content for text in texts}


def test_every_request_gets_an_id_of_its_own(proxy: Proxy, box: Sandbox) -> None:
    headers = {"x-router-request-id": "req_fixed", "x-litellm-call-id": "fixed"}
    ids = [
        proxy.post(body, headers=headers, key=key).headers.get_list("x-router-request-id")
        for body in (BODY, BODY, {"model": "unknown"}, b"{")
        for key in (MASTER_KEY, "sk-wrong")
    ]
    assert all(len(one) == 1 for one in ids)
    assert len({one[0] for one in ids} - {"req_fixed"}) == len(ids)
    assert calls(box) == {"deepinfra": 2}
