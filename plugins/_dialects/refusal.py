"""What a provider's error body says, reduced to what a fault table may look at.

Error shapes differ (providers' pages as of 2026-11): OpenAI's and OpenRouter's `{"error":{…}}`,
Ollama's `{"error":"…"}` (since 0.34 with llama.cpp's whole error as JSON inside the string),
FastAPI's `{"detail":…}` (DeepInfra, Nebius, Infinity), SiliconFlow's `{"code","message","data"}`,
Scaleway's `{"error","status","message"}`, TEI's `{"message","code","type"}`, a bare JSON string,
plain text or an HTML page of some proxy in between.

Only fields that are the provider's own words are read, and only their beginning: FastAPI and
pydantic repeat the caller's input in an error, and a client must not be able to choose the class of
a fault (and so eject a healthy deployment) by what it writes.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

__all__ = ["NAMED_FIELDS", "Refusal", "messages_of", "read_refusal"]

NAMED_FIELDS = frozenset(
    {
        "dimensions",
        "encoding_format",
        "keep_alive",
        "normalize",
        "num_batch",
        "num_ctx",
        "options",
        "provider",
        "truncate",
        "user",
    }
)
"""Request fields that a log line may name; all are ours, none holds a text or a key."""

_MESSAGE_CHARS = 400
_MESSAGES = 20
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,40}")
_HTML = re.compile(rb"\s*<(?:!doctype|html|head|body|\?xml)", re.IGNORECASE)
_ECHO = re.compile(r"\binput_value\b|['\"]input['\"]\s*:|\binput=", re.IGNORECASE)
_MESSAGE_KEYS = ("message", "msg", "reason", "error_type", "type", "code", "title")


@dataclass(frozen=True)
class Refusal:
    """*text* is lower-case prose for matching only and must never be shown.

    *code* is the provider's error code if it is a short identifier, *field* the request field it
    names if that is one of ours, *html* says that the body is a page and not an API's answer, and
    *error* is the error object as parsed (empty if it is none).
    """

    text: str
    code: str | None
    field: str | None
    html: bool
    error: dict[str, Any]


def read_refusal(status: int, body: bytes, *, key: str | None = None) -> Refusal:
    """Return what *body* says. A code that shows a part of *key* is left out."""
    if _HTML.match(body):
        page = body[:4000].decode("utf-8", "replace").lower()
        return Refusal(page, None, None, True, {})
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = body[:_MESSAGE_CHARS].decode("utf-8", "replace")
    value = _unwrap(value)
    error = _error_object(value)
    code = _code(status, value, error, key)
    return Refusal(messages_of(value), code, _field(error, value), False, error)


def messages_of(value: Any) -> str:
    """Return the sentences and codes of a parsed error, lower case, with " | " between them."""
    return " | ".join(itertools.islice(_messages(_unwrap(value)), _MESSAGES)).lower()


def _unwrap(value: Any) -> Any:
    """Parse JSON that stands inside a string, once (Ollama passes llama.cpp's body on so)."""
    holder = value.get("error") if isinstance(value, dict) else value
    if isinstance(holder, str) and holder.lstrip().startswith("{"):
        try:
            return orjson.loads(holder)
        except orjson.JSONDecodeError:
            pass
    return value


def _error_object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {}
    inner = value.get("error")
    return inner if isinstance(inner, dict) else value


def _messages(value: Any, depth: int = 0) -> Iterator[str]:
    """Yield the provider's own sentences and codes, in the order they stand."""
    if isinstance(value, str):
        yield _ECHO.split(value, maxsplit=1)[0][:_MESSAGE_CHARS]
    elif isinstance(value, list) and depth < 4:
        for item in value[:_MESSAGES]:
            yield from _messages(item, depth + 1)
    elif isinstance(value, dict) and depth < 4:
        location = value.get("loc")
        if isinstance(location, list):
            yield ".".join(str(part)[:40] for part in location[:6])
        for name in _MESSAGE_KEYS:
            item = value.get(name)
            if isinstance(item, str | int) and not isinstance(item, bool):
                yield from _messages(str(item), depth + 1)
        for name in ("error", "detail", "errors"):
            yield from _messages(value.get(name), depth + 1)


def _code(status: int, value: Any, error: dict[str, Any], key: str | None) -> str | None:
    candidates = [error.get(name) for name in ("code", "type", "error_type")]
    if isinstance(value, dict):
        candidates += [value.get(name) for name in ("code", "type", "error_type")]
    for candidate in candidates:
        if isinstance(candidate, bool) or not isinstance(candidate, str | int):
            continue
        code = str(candidate)
        if code == str(status) or not _CODE.fullmatch(code):
            continue
        if key is not None and _shares(code, key):
            continue
        return code
    return None


def _shares(code: str, key: str) -> bool:
    """Return whether *code* holds six characters in a row of *key*, as "sk-abc...wxyz" does."""
    return any(key[i : i + 6] in code for i in range(max(1, len(key) - 5)))


def _field(error: dict[str, Any], value: Any) -> str | None:
    """Return the field that OpenAI's `param` or FastAPI's `loc` names, if it is one of ours."""
    names = [error.get("param")]
    detail = value.get("detail") if isinstance(value, dict) else None
    for item in detail if isinstance(detail, list) else []:
        location = item.get("loc") if isinstance(item, dict) else None
        names += location if isinstance(location, list) else []
    return next((name for name in names if isinstance(name, str) and name in NAMED_FIELDS), None)
