"""What a client may see: one check for every refusal, one count of what reached a provider."""

from __future__ import annotations

import httpx

from router_config.sandbox import Sandbox

__all__ = ["calls", "refused", "sent_texts"]

_TYPES = {
    401: "authentication_error",
    429: "rate_limit_error",
    503: "server_error",
    504: "server_error",
}


def refused(
    response: httpx.Response,
    status: int,
    code: str,
    param: str | None = None,
    *,
    retry: bool = False,
) -> str:
    """Check that *response* is the documented refusal in OpenAI's shape; return its message."""
    body = response.json()
    assert list(body) == ["error"], body
    error = body["error"]
    assert (response.status_code, error["code"], error["param"]) == (status, code, param), error
    assert sorted(error) == ["code", "message", "param", "type"]
    assert error["type"] == _TYPES.get(status, "invalid_request_error")
    headers = response.headers
    assert headers["x-should-retry"] == ("true" if retry else "false")
    assert ("retry-after" in headers) is retry
    assert headers["x-router-request-id"].startswith("req_")
    assert headers["content-type"] == "application/json"
    return str(error["message"])


def calls(box: Sandbox) -> dict[str, int]:
    """Return how many requests of any kind reached each provider, without those with none."""
    found = {name: state["calls"] for name, state in box.state()["providers"].items()}
    return {name: count for name, count in found.items() if count}


def sent_texts(box: Sandbox, provider: str) -> list[str]:
    """Return the SHA-256 of every text that reached *provider*, call after call."""
    return [digest for entry in box.journal(provider) for digest in entry["sha256"]]
