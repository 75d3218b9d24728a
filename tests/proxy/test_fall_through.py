"""What is not ours passes: LiteLLM with the router answers it as LiteLLM without does.

The same requests go to the shared proxy and to a plain LiteLLM that has only the foreign
deployments, and status, body and headers are compared.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.sync.client import connect

from router_config.sandbox import Sandbox
from tests.proxy import configs
from tests.proxy.answers import calls
from tests.proxy.harness import MASTER_KEY, PLAIN, Proxy, running

BEARER = {"authorization": f"Bearer {MASTER_KEY}"}
TALK = {"model": "talk", "messages": [{"role": "user", "content": "hello"}]}


def embeddings(**fields: Any) -> dict[str, Any]:
    return {"path": "/v1/embeddings", "json": {"model": "foreign", "input": "x", **fields}}


# Method and what httpx is given; the key of the admin unless it says otherwise.
REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    # LiteLLM's own embeddings
    "floats": ("POST", embeddings(encoding_format="float")),
    "base64": ("POST", embeddings(encoding_format="base64")),
    "no encoding": ("POST", embeddings()),
    "a list": ("POST", embeddings(input=["x", "y", "x"], encoding_format="float")),
    "dimensions": ("POST", embeddings(dimensions=64)),
    "a user": ("POST", embeddings(user="somebody", encoding_format="float")),
    "fields of LiteLLM's": ("POST", embeddings(metadata={"a": 1}, tags=["b"], num_retries=1)),
    "a field of nobody's": ("POST", embeddings(no_such_field=[1], encoding_format="float")),
    "stream": ("POST", embeddings(stream=True, encoding_format="float")),
    "nothing to embed": ("POST", embeddings(input=[])),
    "token ids": ("POST", embeddings(input=[[15339, 1917]], encoding_format="float")),
    "a header of ours": (
        "POST",
        {**embeddings(encoding_format="float"), "headers": {"x-router-path": "litellm"}},
    ),
    "an alias": ("POST", embeddings(model="foreign-alias", encoding_format="float")),
    "no slash v1": ("POST", {**embeddings(encoding_format="float"), "path": "/embeddings"}),
    "engines": (
        "POST",
        {**embeddings(encoding_format="float"), "path": "/engines/foreign/embeddings"},
    ),
    "a page": (
        "POST",
        {**embeddings(encoding_format="float"), "headers": {"origin": "https://page.example"}},
    ),
    # methods and paths beside it
    "GET": ("GET", {"path": "/v1/embeddings"}),
    "PUT": ("PUT", {"path": "/v1/embeddings", "json": {}}),
    "HEAD": ("HEAD", {"path": "/v1/embeddings"}),
    "preflight": (
        "OPTIONS",
        {
            "path": "/v1/embeddings",
            "headers": {
                "origin": "https://page.example",
                "access-control-request-method": "POST",
                "access-control-request-headers": "authorization",
            },
        },
    ),
    "a slash at the end": ("POST", {**embeddings(), "path": "/v1/embeddings/"}),
    "two slashes": ("POST", {**embeddings(), "path": "//v1/embeddings"}),
    "no such path": ("GET", {"path": "/v1/no-such-path"}),
    # other routes
    "liveness": ("GET", {"path": "/health/liveliness"}),
    "a chat": ("POST", {"path": "/v1/chat/completions", "json": TALK}),
    "a stream": ("POST", {"path": "/v1/chat/completions", "json": {**TALK, "stream": True}}),
    "a chat with nobody": (
        "POST",
        {"path": "/v1/chat/completions", "json": {**TALK, "model": "no-such-model"}},
    ),
    "completions": ("POST", {"path": "/v1/completions", "json": {"model": "talk", "prompt": "x"}}),
    "a chat without JSON": ("POST", {"path": "/v1/chat/completions", "content": b"{"}),
    "the model": ("GET", {"path": "/v1/models/foreign"}),
    "a key without a database": ("POST", {"path": "/key/generate", "json": {}}),
    "the callbacks' page": ("GET", {"path": "/sso/key/generate"}),
}
# Ids and times, which differ between any two requests.
CHANGES = re.compile(
    r"chatcmpl-[-\w]+|cmpl-[-\w]+|resp_[-\w]+|(?<=\"created\":)\s*\d+|(?<=\"id\":)\s*\"[-\w]{20,}\""
)
NOT_COMPARED = {
    "date",
    "server",  # the server's own, which LiteLLM's command switches off
    "x-litellm-call-id",
    "x-litellm-response-duration-ms",
    "x-litellm-overhead-duration-ms",
    "x-litellm-callback-duration-ms",
    "x-litellm-timing-llm-api-ms",
    "x-litellm-timing-pre-processing-ms",
    "x-litellm-timing-post-processing-ms",
    "x-litellm-timing-message-copy-ms",
}


@pytest.fixture(scope="module")
def bare(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """LiteLLM without anything of ours."""
    folder: Path = tmp_path_factory.mktemp("bare")
    found = yaml.safe_load(configs.write(sandbox, folder / "shared.yaml").read_text())
    found["model_list"] = [
        one for one in found["model_list"] if one["model_name"] in ("foreign", "talk")
    ]
    for section in ("litellm_settings", "embedding_router"):
        del found[section]
    del found["general_settings"]["custom_auth"]
    found["router_settings"]["model_group_alias"] = {"foreign-alias": "foreign"}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(found, sort_keys=False))
    with running(path, folder / "log", environ=configs.environ(sandbox), form="litellm") as process:
        yield process


def ask(proxy: Proxy, method: str, given: dict[str, Any]) -> httpx.Response:
    sent = dict(given)
    path = sent.pop("path")
    headers = {**BEARER, **sent.pop("headers", {})}
    # Not one of httpx's own: it would take "//v1" for a host.
    url = httpx.URL(proxy.base).copy_with(raw_path=path.encode())
    return httpx.request(method, url, headers=headers, timeout=60, **sent, **PLAIN)


def seen(response: httpx.Response) -> tuple[int, str, dict[str, str]]:
    at = f":{response.url.port}"
    headers = {
        name: value.replace(at, "")
        for name, value in response.headers.items()
        if name not in NOT_COMPARED
    }
    return response.status_code, CHANGES.sub("…", response.text), headers


@pytest.mark.parametrize("name", REQUESTS)
def test_what_is_not_ours_is_answered_as_litellm_does(
    proxy: Proxy, bare: Proxy, box: Sandbox, name: str
) -> None:
    method, given = REQUESTS[name]
    with_ours, asked = seen(ask(proxy, method, given)), calls(box)
    box.reset()
    without = seen(ask(bare, method, given))
    assert with_ours[:2] == without[:2]
    assert set(with_ours[2].items()) ^ set(without[2].items()) == set()
    assert asked == calls(box)


@pytest.mark.parametrize("path", ["/v1/realtime?model=talk", "/no/such/socket"])
def test_a_web_socket_reaches_litellm(proxy: Proxy, bare: Proxy, path: str) -> None:
    def told(one: Proxy) -> object:
        url = one.base.replace("http", "ws", 1) + path
        try:
            with connect(url, additional_headers=BEARER, open_timeout=20, proxy=None) as socket:
                message = json.loads(socket.recv(timeout=20))
                return message.get("type"), message.get("error", {}).get("type")
        except InvalidStatus as refusal:
            return refusal.response.status_code
        except WebSocketException as end:
            return type(end).__name__

    assert told(proxy) == told(bare)
