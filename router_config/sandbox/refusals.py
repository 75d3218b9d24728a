"""What a provider says when a fault makes it refuse: its own shapes, or somebody's in between."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson

from .emulators.base import Emulator, Refusal, Reply
from .faults import Fault

__all__ = ["refuse"]

_WHY: Mapping[str, Refusal] = {
    "unauthorized": Refusal.WRONG_KEY,
    "forbidden": Refusal.FORBIDDEN,
    "payment": Refusal.PAYMENT,
    "payment_in_400": Refusal.PAYMENT,
    "payment_in_403": Refusal.PAYMENT,
    "bad_field": Refusal.FIELD,
    "model_missing": Refusal.MODEL,
}
_PROXY_PAGE = (
    "<html>\r\n<head><title>{status} {phrase}</title></head>\r\n<body>\r\n"
    "<center><h1>{status} {phrase}</h1></center>\r\n<hr><center>nginx</center>\r\n"
    "</body>\r\n</html>\r\n"
)


def refuse(emulator: Emulator, fault: Fault, path: str, elsewhere: str) -> Reply:
    """Return the reply of a fault of stage "refusal" to a request for *path*."""
    kind = fault.kind
    if kind in ("status", "flap"):
        return _status(emulator, fault, path)
    if kind == "rate_limited":
        return emulator.rate_limited(fault["status"], float(fault["retry_after_s"]), fault["form"])
    if kind == "redirect":
        location = f"{elsewhere}/v1/embeddings"
        return Reply(fault["status"], b"", {"location": location})
    if kind == "error_in_200":
        error = {"code": fault["code"], "message": "Provider returned error"}
        return Reply(200, orjson.dumps({"error": error}))
    detail = fault["field"] if kind == "bad_field" else (emulator.models or ("",))[0]
    return emulator.refusal(_WHY[kind], detail, status=fault["status"], path=path)


def _status(emulator: Emulator, fault: Fault, path: str) -> Reply:
    status: int = fault["status"]
    body: Any = fault["body"]
    headers = {str(name).lower(): str(value) for name, value in fault["headers"].items()}
    if body == "html":
        try:
            phrase = HTTPStatus(status).phrase
        except ValueError:
            phrase = "Unknown"
        page = _PROXY_PAGE.format(status=status, phrase=phrase)
        return Reply(status, page.encode(), headers, "text/html")
    if body == "empty":
        return Reply(status, b"", headers)
    if body == "own":
        why = Refusal.OVERLOAD if status in (429, 503, 529) else Refusal.SERVER
        reply = emulator.refusal(why, status=status, path=path)
        reply.headers |= headers
        return reply
    if body == "json":
        body = {"error": {"message": "something went wrong", "type": "error", "code": status}}
    return Reply(status, orjson.dumps(body), headers)
