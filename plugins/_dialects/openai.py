"""The OpenAI-shaped dialect: `POST {base}/embeddings`, which most providers speak.

A provider's module subclasses `OpenAI` and says only what differs. `dimensions` is never sent:
every provider's default is the native 4096, closed lists of values exist (SiliconFlow), some
servers refuse the field (vLLM without a flag, mittwald), and cutting is our own work.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from plugins._dialects import base, envelope, faults
from plugins._dialects.base import Target, WireReply, WireRequest
from plugins._dialects.refusal import Refusal, read_refusal
from plugins._errors import Fault, ProviderFault
from plugins._floats import Document, parse

__all__ = ["EncodingField", "OpenAI"]


class EncodingField(enum.Enum):
    """Whether a provider takes the request field `encoding_format`."""

    ACCEPTED = "always sent, as base64 or float"
    ON_REQUEST = "not documented: sent only as base64, when the deployment says base64"
    REFUSED = "never sent"


class OpenAI:
    """Any OpenAI-compatible server; the base of the others."""

    name = "openai"
    encoding_field = EncodingField.ACCEPTED
    version: str | None = None  # "/v1": appended to a base that does not end in a version
    vectors_key = "data"
    reports_cost = False
    table: tuple[faults.Rule, ...] = ()

    def __init__(self, name: str | None = None) -> None:
        """Another *name* is for providers that differ in nothing but their address."""
        if name is not None:
            self.name = name

    def request(
        self, target: Target, texts: Sequence[str], token_counts: Sequence[int]
    ) -> WireRequest:
        """Return the POST for *texts*; see `base.Dialect`."""
        body: dict[str, Any] = {"model": target.wire_model, "input": list(texts)}
        if self.encoding_field is EncodingField.ACCEPTED:
            body["encoding_format"] = "base64" if target.base64 else "float"
        elif self.encoding_field is EncodingField.ON_REQUEST and target.base64:
            body["encoding_format"] = "base64"
        body.update(self.extra_fields(target))
        url = base.join_url(target.api_base, "/embeddings", version=self.version)
        return WireRequest(url, base.headers_for(target), orjson.dumps(body))

    def extra_fields(self, target: Target) -> dict[str, Any]:
        """Return what this provider takes besides OpenAI's fields."""
        return {}

    def reply(
        self,
        status: int,
        headers: Mapping[str, str],
        body: bytes,
        n: int,
        target: Target,
        *,
        now_s: float | None = None,
    ) -> WireReply:
        """Return the vectors of a reply; see `base.Dialect`."""
        if status != 200:
            refusal = read_refusal(status, body, key=target.api_key)
            raise self.fault(status, headers, refusal, now_s=now_s)
        try:
            document = parse(body)
            tree = document.tree
            if not isinstance(tree, dict):
                raise ProviderFault(Fault.CORRUPT, "the reply is not a JSON object")
            meant = envelope.refused_status(tree, self.vectors_key)
            if meant is not None:
                refusal = read_refusal(meant, body, key=target.api_key)
                raise self.fault(meant, headers, refusal, now_s=now_s, real_status=status)
            return self.read(document, tree, n, target)
        except ProviderFault as fault:
            fault.status = status
            raise

    def read(
        self, document: Document, tree: Mapping[str, Any], n: int, target: Target
    ) -> WireReply:
        """Return the vectors of a 200 that is no refusal."""
        data = envelope.vectors_of(tree.get(self.vectors_key), n)
        embeddings = envelope.in_input_order(data)
        vectors = document.matrix(embeddings)
        usage = tree.get("usage")
        if not isinstance(usage, dict):
            usage = {}
        tokens = envelope.token_count(usage.get("prompt_tokens"), usage.get("total_tokens"))
        return WireReply(
            vectors,
            tokens if target.usage_counts == "tokens" else None,
            envelope.cost_usd(usage.get("cost")) if self.reports_cost else None,
            document.written(embeddings),
        )

    def fault(
        self,
        status: int,
        headers: Mapping[str, str],
        refusal: Refusal,
        *,
        now_s: float | None,
        real_status: int | None = None,
    ) -> ProviderFault:
        """Return the fault of a refusal. *real_status* is the HTTP status if that was another."""
        return faults.classify(
            status, headers, refusal, self.table, now_s=now_s, real_status=real_status
        )

    def max_reply_bytes(self, n: int) -> int:
        """Return the limit for the decompressed body of *n* vectors."""
        return base.max_reply_bytes(n)
