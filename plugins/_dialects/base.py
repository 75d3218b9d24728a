"""What a dialect is: a pure translation between texts and one provider's HTTP messages.

Nothing here opens a connection, reads a clock or keeps state. What holds a key never shows it.
"""

from __future__ import annotations

import functools
import importlib.metadata
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol
from urllib.parse import urlsplit, urlunsplit

import numpy as np
import numpy.typing as npt

from plugins._errors import Fault, ProviderFault
from plugins._vectors import NATIVE

__all__ = [
    "Dialect",
    "Target",
    "WireReply",
    "WireRequest",
    "headers_for",
    "join_url",
]

_REPLY_BYTES_PER_NUMBER = 32  # a float64 in full digits is 24 characters, then ", " or a new line
_REPLY_BYTES_AROUND = 64 * 1024
_HEADER_SAFE = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True)
class Target:
    """The endpoint of one call.

    *base64* and *normalised* come from the catalogue or the deployment; *usage_counts* is "tokens",
    "characters" or "none"; *options* has the keys of `options.OPTIONS` for the dialect.
    """

    provider: str
    api_base: str
    wire_model: str
    api_key: str | None = field(repr=False)
    base64: bool = False
    normalised: bool = True
    usage_counts: str = "tokens"
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class WireRequest:
    """One call. *headers* has lower-case names and may hold the key, *body* holds the texts."""

    url: str
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    method: str = "POST"


@dataclass(frozen=True)
class WireReply:
    """What a provider answered.

    *vectors* is float32, shape (n, 4096), rows in the order of the texts; the numbers themselves
    are not checked yet. *prompt_tokens* is what the provider says, however wrong, None if it says
    nothing; *cost_usd* is None if it says nothing usable. *written* may have each row's JSON array.
    """

    vectors: npt.NDArray[np.float32] = field(repr=False)
    prompt_tokens: int | None = None
    cost_usd: Decimal | None = None
    written: Sequence[bytes] = field(default=(), repr=False)


class Dialect(Protocol):
    """How one provider is spoken to."""

    @property
    def name(self) -> str:
        """The name used in the catalogue."""

    def request(
        self, target: Target, texts: Sequence[str], token_counts: Sequence[int]
    ) -> WireRequest:
        """Return the one POST that embeds *texts*.

        *token_counts* are exact, end token included. The texts must be encodable as UTF-8.
        Raises: ProviderFault(AUTH, sent=False) if the key cannot stand in a header.
        """

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
        """Return the *n* vectors of a reply.

        *headers* has lower-case names; *now_s* (seconds since 1970) is needed only to read a
        `Retry-After` date. Raises: ProviderFault for everything that is not n vectors of 4096.
        """

    def max_reply_bytes(self, n: int) -> int:
        """Return a limit for the decompressed body: what *n* vectors can need, with slack."""


def max_reply_bytes(n: int) -> int:
    """Return the limit that fits every dialect.

    Base64 would need a quarter, but a server that ignores `encoding_format` answers floats, and
    that reply is good.
    """
    return _REPLY_BYTES_AROUND + n * NATIVE * _REPLY_BYTES_PER_NUMBER


def headers_for(target: Target) -> dict[str, str]:
    """Return the request headers for *target*.

    `accept-encoding: identity` since vectors do not compress and the size limit is then exact.
    """
    return dict(_headers_with(target.api_key))


@functools.lru_cache(maxsize=1024)  # as many as there are keys; a call makes them again and again
def _headers_with(api_key: str | None) -> dict[str, str]:
    headers = {
        "accept": "application/json",
        "accept-encoding": "identity",
        "content-type": "application/json",
        "user-agent": f"qwen3-embedding-router/{_version()}",
    }
    if api_key is not None:
        key = api_key.strip()  # secret files often end in a new line
        if not _HEADER_SAFE.fullmatch(key):
            # An HTTP client would raise here too, with the value in its message.
            raise ProviderFault(
                Fault.AUTH,
                "the key is empty or has characters that a header cannot carry",
                sent=False,
            )
        headers["authorization"] = f"Bearer {key}"
    return headers


@functools.lru_cache(maxsize=1024)
def join_url(
    base: str, path: str, *, drop: tuple[str, ...] = (), version: str | None = None
) -> str:
    """Return *base* with *path* (which starts with "/") appended once.

    A trailing slash, a path prefix and a query of *base* are kept right. The endings *drop* are
    removed from *base* first. With *version* ("/v1") a base that ends in no version gets it.
    """
    parts = urlsplit(base.strip())
    prefix = parts.path.rstrip("/")
    if prefix.endswith(path):
        prefix = prefix[: -len(path)].rstrip("/")
    for ending in drop:
        prefix = prefix.removesuffix(ending).rstrip("/")
    if version is not None and not re.search(r"/v\d+$", prefix):
        prefix += version
    return urlunsplit((parts.scheme, parts.netloc, prefix + path, parts.query, ""))


@functools.cache
def _version() -> str:
    try:
        return importlib.metadata.version("qwen3-embedding-router")
    except importlib.metadata.PackageNotFoundError:
        return "0"  # run from a checkout that is not installed
