"""What all providers have in common: one request in, a bill and a reply or a refusal out.

A provider is a class with facts as attributes and, where it departs from OpenAI's shape, methods
of its own. Facts and their sources are those of the catalogue and its pages; the words inside
error messages are illustrations, as documented messages mostly are.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from email.utils import formatdate
from enum import StrEnum
from typing import Any, ClassVar, NamedTuple

import orjson

from .. import tokens
from ..http1 import Request
from ..texts import Form, Written

__all__ = [
    "Answer",
    "Asked",
    "Complaint",
    "Emulator",
    "Refusal",
    "Refused",
    "Reply",
    "Statuses",
    "Switches",
    "Wording",
    "go_duration",
]


class Refusal(StrEnum):
    """Why a provider says no."""

    NO_KEY = "no_key"
    WRONG_KEY = "wrong_key"
    FORBIDDEN = "forbidden"
    PAYMENT = "payment"
    MODEL = "model"
    ROUTE = "route"
    JSON = "json"
    FIELD = "field"
    DIMENSIONS = "dimensions"
    INPUT = "input"
    EMPTY = "empty"
    BATCH = "batch"
    TOO_LONG = "too_long"
    RATE = "rate"
    OVERLOAD = "overload"
    SERVER = "server"


Statuses = Mapping[Refusal, int]
Wording = Mapping[Refusal, str]
Switches = Mapping[str, Any]


class Refused(Exception):
    """The provider refuses the request; *detail* fits into its message."""

    def __init__(self, why: Refusal, detail: str = "") -> None:
        super().__init__(f"{why}: {detail}")
        self.why = why
        self.detail = detail


class Complaint(NamedTuple):
    """A refusal on its way into the provider's error shape."""

    why: Refusal
    status: int
    message: str
    path: str


@dataclass(slots=True)
class Asked:
    """An embedding request as the provider understood it."""

    texts: list[str]
    form: Form
    body: Mapping[str, Any]
    cut_at: int | None = None  # tokens kept of each text, end token included; None: whole
    shape: str = "openai"  # which of the provider's reply shapes


@dataclass(slots=True)
class Answer:
    """What goes into a reply, and where faults can reach it."""

    asked: Asked
    pieces: list[bytes]
    indexes: list[int | None]
    tokens: int
    usage: dict[str, Any] | None
    cost_usd: Decimal


@dataclass(slots=True)
class Reply:
    """Status, body and headers of a reply."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"


_WORDING: Wording = {
    Refusal.NO_KEY: "No API key was given",
    Refusal.WRONG_KEY: "Incorrect API key provided",
    Refusal.FORBIDDEN: "You have no permission to use this model",
    Refusal.PAYMENT: "Insufficient balance, please add credit",
    Refusal.MODEL: "The model `{detail}` does not exist",
    Refusal.ROUTE: "Not found: {detail}",
    Refusal.JSON: "The body of the request is not valid JSON",
    Refusal.FIELD: "Unrecognized request argument supplied: {detail}",
    Refusal.DIMENSIONS: "dimensions {detail} is not supported for this model",
    Refusal.INPUT: "invalid input type: {detail}",
    Refusal.EMPTY: "input must not be empty",
    Refusal.BATCH: "too many inputs in one request: {detail}",
    Refusal.TOO_LONG: "maximum context length exceeded: {detail}",
    Refusal.RATE: "Rate limit reached",
    Refusal.OVERLOAD: "The server is busy, try again later",
    Refusal.SERVER: "Internal error",
}
_STATUSES: Statuses = {
    **dict.fromkeys(Refusal, 400),
    Refusal.NO_KEY: 401,
    Refusal.WRONG_KEY: 401,
    Refusal.FORBIDDEN: 403,
    Refusal.PAYMENT: 402,
    Refusal.MODEL: 404,
    Refusal.ROUTE: 404,
    Refusal.RATE: 429,
    Refusal.OVERLOAD: 503,
    Refusal.SERVER: 500,
}


class Emulator:
    """One provider. Attributes are its documented facts; None means no limit is known."""

    name: ClassVar[str]
    prefix: ClassVar[str] = "/v1"  # what a configured api_base ends with
    paths: ClassVar[tuple[str, ...]] = ("/v1/embeddings",)
    key_env: ClassVar[str | None] = None  # None: an own server, open unless told otherwise
    models: ClassVar[tuple[str, ...]] = ("Qwen/Qwen3-Embedding-8B",)
    model_default: ClassVar[str | None] = None  # used where a request may leave `model` out
    price: ClassVar[str] = "0.01"  # USD per million tokens
    fields: ClassVar[tuple[str, ...] | None] = None  # closed list of body fields; None: open
    refused_fields: ClassVar[tuple[str, ...]] = ()
    max_inputs: ClassVar[int | None] = None
    max_tokens: ClassVar[int | None] = 32_768  # of one input, end token included
    max_concurrent: ClassVar[int | None] = None
    overflow: ClassVar[Refusal] = Refusal.RATE  # its word when more calls are under way
    token_arrays: ClassVar[bool] = False
    empty_strings: ClassVar[bool] = True
    encodings: ClassVar[tuple[str, ...]] = ("float", "base64")  # (): the field is ignored
    written: ClassVar[Written] = "float32"
    indexed: ClassVar[bool] = True
    index_last: ClassVar[bool] = False
    statuses: ClassVar[Statuses] = {}
    wording: ClassVar[Wording] = {}
    # Switches that a server of this kind has, with their documented defaults.
    switches: ClassVar[Switches] = {}

    def __init__(self) -> None:
        self.set = dict(self.switches)

    # -- requests

    def read(self, path: str, body: Mapping[str, Any]) -> Asked:
        """Return what *body*, sent to *path*, asks for. Raises Refused."""
        del path
        self.check_fields(body)
        self.check_model(body.get("model"))
        texts = self.texts(body.get("input"))
        return Asked(texts, self.form(body), body)

    def route(self, path: str) -> str:
        """Return *path* as it stands in `paths`, where a provider knows it by other names too."""
        return path

    def check_fields(self, body: Mapping[str, Any]) -> None:
        """Refuse fields that the provider's schema does not know."""
        for name in body:
            if name in self.refused_fields or (self.fields is not None and name not in self.fields):
                raise Refused(Refusal.FIELD, name)

    def check_model(self, model: object) -> None:
        """Refuse a model that the provider does not serve."""
        if model is None and self.model_default is not None:
            return
        if not isinstance(model, str) or model not in self.models:
            raise Refused(Refusal.MODEL, str(model))

    def texts(self, given: object) -> list[str]:
        """Return the input as a list of texts."""
        if isinstance(given, str):
            given = [given]
        if not isinstance(given, list):
            raise Refused(Refusal.INPUT, type(given).__name__)
        if not given:
            raise Refused(Refusal.EMPTY)
        if all(type(item) is int for item in given):
            given = [given]
        if self.max_inputs is not None and len(given) > self.max_inputs:
            raise Refused(Refusal.BATCH, f"{len(given)} > {self.max_inputs}")
        texts = [self._text(item) for item in given]
        if not self.empty_strings and not all(texts):
            raise Refused(Refusal.EMPTY)
        return texts

    def _text(self, item: object) -> str:
        if isinstance(item, str):
            return item
        if self.token_arrays and isinstance(item, list) and all(type(i) is int for i in item):
            try:
                return tokens.decode(item)
            except ValueError as error:
                raise Refused(Refusal.INPUT, str(error)) from None
        raise Refused(Refusal.INPUT, type(item).__name__)

    def form(self, body: Mapping[str, Any]) -> Form:
        """Return how the vectors are to be made and written."""
        return Form(self.encoding(body), self.length(body.get("dimensions")))

    def encoding(self, body: Mapping[str, Any]) -> Written:
        """Return how numbers are written for the request's `encoding_format`."""
        asked = body.get("encoding_format")
        if not self.encodings or asked is None:
            return self.written
        if asked not in self.encodings:
            raise Refused(Refusal.FIELD, f"encoding_format {asked!r}")
        return "base64" if asked == "base64" else self.written

    def length(self, dimensions: object) -> int:
        """Return the length of the vectors for the request's `dimensions`."""
        if dimensions is None:
            return 4096
        if type(dimensions) is not int or not 1 <= dimensions <= 4096:
            raise Refused(Refusal.DIMENSIONS, str(dimensions))
        return dimensions

    def fit(self, asked: Asked, counts: Sequence[int]) -> None:
        """Refuse inputs with too many tokens, or set where the server cuts them."""
        if self.max_tokens is not None and counts and max(counts) > self.max_tokens:
            raise Refused(Refusal.TOO_LONG, f"{max(counts)} tokens, limit {self.max_tokens}")

    # -- replies

    def usage(self, asked: Asked, count: int, cost_usd: Decimal) -> dict[str, Any] | None:
        """Return the `usage` object, or None where the provider sends none."""
        del asked, cost_usd
        return {"prompt_tokens": count, "total_tokens": count}

    def render(self, answer: Answer) -> bytes:
        """Return the body of a good reply."""
        top: dict[str, Any] = {"model": answer.asked.body.get("model") or self.model_default}
        if answer.usage is not None:
            top["usage"] = answer.usage
        return self.openai(answer, {"object": "list"}, top)

    def openai(self, answer: Answer, first: Mapping[str, Any], last: Mapping[str, Any]) -> bytes:
        """Return OpenAI's list shape with these members before and after `data`."""
        items = []
        for piece, index in zip(answer.pieces, answer.indexes, strict=True):
            number = b"" if index is None else b'"index":%d' % index
            parts = [b'"embedding":' + piece, number]
            if not self.index_last:
                parts.reverse()
            items.append(b'{"object":"embedding",' + b",".join(filter(None, parts)) + b"}")
        before = orjson.dumps(first)[1:-1]
        after = orjson.dumps(last)[1:-1]
        data = b'"data":[' + b",".join(items) + b"]"
        return b"{" + b",".join(filter(None, [before, data, after])) + b"}"

    def headers(self, left: Mapping[str, int]) -> dict[str, str]:
        """Return the headers of every reply; *left*: requests and tokens of this minute."""
        del left
        return {}

    def probe(self, request: Request) -> Reply | None:
        """Answer a free path of the provider, or None if it has no such path."""
        models_path = self.paths[0].replace("embeddings", "models")
        if request.method == "GET" and request.path == models_path:
            models = [{"id": model, "object": "model"} for model in self.models]
            return Reply(200, orjson.dumps({"object": "list", "data": models}))
        return None

    def probe_is_open(self, request: Request) -> bool:
        """Return True if *request* needs no key even where keys are needed."""
        return request.method == "GET" and request.path.endswith("/health")

    # -- refusals

    def refusal(
        self, why: Refusal, detail: str = "", *, status: int | None = None, path: str = ""
    ) -> Reply:
        """Return the provider's own words for *why*, with another *status* if one is given."""
        status = status or self.statuses.get(why, _STATUSES[why])
        message = (self.wording.get(why) or _WORDING[why]).format(detail=detail)
        shaped = self.error(Complaint(why, status, message, path))
        if isinstance(shaped, str):
            return Reply(status, shaped.encode(), content_type="text/plain")
        return Reply(status, orjson.dumps(shaped))

    def error(self, no: Complaint) -> Any:
        """Return the error body: something JSON can hold, or a str for plain text."""
        kind = "invalid_request_error"
        return {"error": {"message": no.message, "type": kind, "param": None, "code": no.why}}

    def rate_limited(self, status: int, wait_s: float, form: str | None) -> Reply:
        """Return a refusal that says when to come back, in one of the forms seen.

        *form*: "seconds", "date" or "duration" in Retry-After, "reset" in x-ratelimit-reset-*,
        "metadata" in the body (OpenRouter's), "none".
        """
        reply = self.refusal(Refusal.RATE, status=status)
        if form in (None, "seconds"):
            reply.headers["retry-after"] = f"{wait_s:g}"
        elif form == "date":
            reply.headers["retry-after"] = _http_date(wait_s)
        elif form == "duration":
            reply.headers["retry-after"] = go_duration(wait_s)
        elif form == "reset":
            reply.headers["x-ratelimit-remaining-requests"] = "0"
            reply.headers["x-ratelimit-reset-requests"] = go_duration(wait_s)
        elif form == "metadata":
            metadata = {"provider_name": "upstream", "retry_after_seconds": wait_s}
            error = {"code": status, "message": "Provider returned error", "metadata": metadata}
            reply.body = orjson.dumps({"error": error})
        elif form != "none":
            raise ValueError(f"rate_limited: unknown form {form!r}")
        return reply


def go_duration(seconds: float) -> str:
    """Return *seconds* as the duration strings of Go servers: 250ms, 17s, 1m30s."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}m{rest:g}s" if minutes else f"{rest:g}s"


def _http_date(wait_s: float) -> str:
    return formatdate(math.ceil(time.time() + wait_s), usegmt=True)
