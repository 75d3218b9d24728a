"""The request log of the real proxy: a line per request and attempt, and no text in any."""

from __future__ import annotations

import time
from typing import Any

import httpx
import orjson
import pytest

from plugins._request_log import ATTEMPT_FIELDS, REQUEST_FIELDS
from router_config.sandbox import Sandbox
from tests.proxy import configs
from tests.proxy.harness import Proxy

TEXT = "Никто не должен прочесть это в журнале"


def lines_of(proxy: Proxy, reply: httpx.Response) -> list[dict[str, Any]]:
    """Return the lines of one request, its own the last; they are written a moment later."""
    path = proxy.folder / configs.REQUEST_LOG
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        rows = path.read_bytes().splitlines() if path.exists() else []
        lines = [orjson.loads(row) for row in rows]
        found = [one for one in lines if one.get("request") == reply.headers["x-router-request-id"]]
        if found and found[-1]["event"] == "request":
            return found
        time.sleep(0.05)
    raise AssertionError("the request is not in the log")


def test_failover_is_told_attempt_by_attempt(proxy: Proxy, box: Sandbox) -> None:
    box.fault("deepinfra", "status", status=500)
    reply = proxy.post(
        {"model": configs.pair("deepinfra"), "input": [TEXT, TEXT + "!"], "dimensions": 64}
    )
    first, second, request = lines_of(proxy, reply)
    assert list(first) == list(ATTEMPT_FIELDS)
    assert list(request) == list(REQUEST_FIELDS)
    assert (first["outcome"], first["provider"], first["sent"]) == ("server", "deepinfra", True)
    assert (second["outcome"], second["status"], second["inputs"]) == ("ok", 200, 2)
    assert request["tried"] == [f"{configs.pair('deepinfra')}--deepinfra"]
    assert request["served_by"] == [reply.headers["x-router-deployment"]]
    assert (request["outcome"], request["status"], request["code"]) == ("ok", 200, None)
    assert (request["attempts"], request["inputs"], request["dimensions"]) == (2, 2, 64)
    assert request["billed_tokens"] == reply.json()["usage"]["total_tokens"]
    assert 0 < request["upstream_ms"] < request["ms"]
    assert request["upstream_ms"] + request["own_ms"] == pytest.approx(request["ms"], abs=0.02)


def test_refused_request_names_its_code_and_nobody_it_does_not_know(
    proxy: Proxy, box: Sandbox
) -> None:
    reply = proxy.post({"model": "no-such-model-" + "x" * 20, "input": TEXT})
    (line,) = lines_of(proxy, reply)
    assert (line["outcome"], line["status"], line["code"]) == ("refused", 404, "model_not_found")
    assert (line["group"], line["attempts"]) == ("", 0)


def test_wrong_key_is_told_without_the_key(proxy: Proxy, box: Sandbox) -> None:
    reply = proxy.post({"model": configs.solo("vllm"), "input": TEXT}, key="sk-wrong-key-of-this")
    (line,) = lines_of(proxy, reply)
    assert (line["status"], line["code"], line["key"]) == (401, "unauthorized", None)


def test_key_of_the_file_is_named_with_its_team(proxy: Proxy, box: Sandbox) -> None:
    reply = proxy.post({"model": configs.solo("vllm"), "input": TEXT}, key=configs.KEYS["search"])
    *_, request = lines_of(proxy, reply)
    assert (request["key"], request["team"]) == ("search", "search")


def test_failed_request_says_with_what_it_ended(proxy: Proxy, box: Sandbox) -> None:
    box.fault("nebius", "status", status=500)
    reply = proxy.post({"model": configs.solo("nebius"), "input": TEXT})
    attempt, request = lines_of(proxy, reply)
    assert attempt["outcome"] == "server"
    assert (request["outcome"], request["status"]) == ("failed", 503)
    assert request["code"] == "no_deployment_available"


def test_deployment_of_litellms_own_has_its_attempts_told_too(proxy: Proxy, box: Sandbox) -> None:
    reply = proxy.post({"model": "plain", "input": TEXT})
    attempt, request = lines_of(proxy, reply)
    assert (attempt["deployment"], attempt["outcome"]) == ("plain--vllm", "ok")
    assert 0 < request["upstream_ms"] < request["ms"]


def test_no_text_and_no_key_stands_in_the_log(proxy: Proxy, box: Sandbox) -> None:
    lines_of(proxy, proxy.post({"model": configs.solo("vllm"), "input": TEXT}))
    written = (proxy.folder / configs.REQUEST_LOG).read_text()
    secrets = [*box.keys.values(), *configs.KEYS.values(), configs.PLAIN_KEY, TEXT[:10], "sk-"]
    assert [one for one in secrets if one in written] == []
