"""The router's own pages, as an ASGI application: metrics for Prometheus, and a page to look at.

`gateway` puts them in front of LiteLLM's routes. They read what is known and change nothing; no
provider is ever called for them.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
from collections.abc import Iterable, Mapping

from plugins import _litellm, _runtime
from plugins._asgi import Receive, Scope, Send, text_headers
from plugins._routes import PAGE
from plugins._status_style import POLICY
from plugins._status_words import choose
from router_config import EnvRef, Metrics

__all__ = ["PAGES", "app"]

_METRICS = "/router/metrics"
_PLAIN = {"content-security-policy": "default-src 'none'; frame-ancestors 'none'"}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request for one of `PAGES`."""
    if scope["method"] not in ("GET", "HEAD"):
        return await _send(scope, send, 405, b"", {"allow": "GET, HEAD"})
    headers = text_headers(scope)
    if scope[PAGE].endswith("metrics"):
        return await _metrics(scope, send, headers)
    await _status(scope, send, headers)


async def _status(scope: Scope, send: Send, headers: Mapping[str, str]) -> None:
    if not _may(headers, [_litellm.master_key() or ""]):
        ask = {**_ask("status"), **_PLAIN}
        return await _send(scope, send, 401, b"The master key is the password.\n", ask)
    if scope[PAGE] == "/router":
        return await _send(scope, send, 308, b"", {**_PLAIN, "location": "router/"})
    words = choose(
        scope.get("query_string", b"").decode("latin-1"), headers.get("accept-language", "")
    )
    body = await _runtime.current().telling.page(words)
    shown = {
        "content-type": "text/html; charset=utf-8",
        "content-language": words.language,
        "vary": "accept-language, authorization",
        "content-security-policy": POLICY,
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "x-frame-options": "DENY",
    }
    await _send(scope, send, 200, body.encode(), shown)


async def _metrics(scope: Scope, send: Send, headers: Mapping[str, str]) -> None:
    runtime = _runtime.current()
    settings = runtime.config.metrics
    if not settings.open and not _may(headers, _tokens(settings)):
        return await _send(
            scope, send, 401, b"A token or the master key is needed.\n", _ask("metrics")
        )
    body, kind = await runtime.telling.metrics(headers.get("accept", ""))
    await _send(scope, send, 200, body, {"content-type": kind})


def _tokens(settings: Metrics) -> Iterable[str]:
    token = settings.token
    if isinstance(token, EnvRef):
        yield os.environ.get(token.name, "").strip()
    elif token is not None:
        yield token.reveal()
    yield _litellm.master_key() or ""


def _may(headers: Mapping[str, str], secrets: Iterable[str]) -> bool:
    """Tell whether the request carries one of *secrets*, as a bearer or as a basic password."""
    kind, _, given = headers.get("authorization", "").partition(" ")
    if kind.lower() == "basic":
        try:
            given = base64.b64decode(given, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return False
    elif kind.lower() != "bearer":
        return False
    # All are compared, each in the same time whatever it shares with what was given.
    wanted = [one.encode() for one in secrets if one]
    return any([hmac.compare_digest(given.strip().encode(), one) for one in wanted])  # noqa: C419


def _ask(realm: str) -> dict[str, str]:
    return {"www-authenticate": f'Basic realm="qwen3-router {realm}", charset="UTF-8"'}


async def _send(
    scope: Scope, send: Send, status: int, body: bytes, headers: Mapping[str, str]
) -> None:
    all_ = {
        "content-type": "text/plain; charset=utf-8",
        "content-length": str(len(body)),
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        **headers,
    }
    raw = [(name.encode(), value.encode("latin-1")) for name, value in all_.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    shown = b"" if scope["method"] == "HEAD" else body
    await send({"type": "http.response.body", "body": shown})


def _has_metrics() -> bool:
    return _runtime.current().config.metrics.enabled


def _has_plain_metrics() -> bool:
    return _has_metrics() and not _litellm.has_route("/metrics")


def _has_status() -> bool:
    return _runtime.current().config.status_page


PAGES = {
    "/router": _has_status,
    "/router/": _has_status,
    _METRICS: _has_metrics,
    "/metrics": _has_plain_metrics,
}
