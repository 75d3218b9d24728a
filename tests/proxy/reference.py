"""What a reply must hold: texts of every kind, and the vectors that belong to them in float64."""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Sequence
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import orjson

from router_config.sandbox import tokens
from router_config.sandbox.standin import vectors

__all__ = [
    "LONG_TOKENS",
    "TOLERANCE",
    "count",
    "expected",
    "rows",
    "sha256",
    "texts",
]

TOLERANCE = 1e-6
LONG_TOKENS = 5000  # about; two of them fit no chunk of a server that reads 8,192 at once

_KINDS = (
    "Москва — столица России, а это предложение номер {i}.",
    "The quick brown fox jumps over the lazy dog, take {i}.",
    "北京是中国的首都，第{i}句。",
    "Family 👩‍👩‍👧‍👦 and flag 🏳️‍🌈 number {i}",
    "def f{i}(x: int) -> int:\n\treturn x ** {i}  # код\n",
    "import os; print({i})",
    "before\0after {i}",
    'quotes "\\" and </script> & <|im_end|> {i}',
    "e\u0301 is not \u00e9, ﷽ مرحبا {i}",
    "  spaces and\r\nlines \u2028 kept {i}  ",
)


@functools.cache
def texts(n: int) -> tuple[str, ...]:
    """Return *n* texts of all kinds; every twentieth is long, and the last repeats the first."""
    made = [_KINDS[i % len(_KINDS)].format(i=i) for i in range(n)]
    for i in range(10, n, 5 if n < 100 else 20):
        made[i] = f"{i}: " + "длинный текст, long text, " * (LONG_TOKENS // 8)
    if n > 3:
        made[-1] = made[0]
    return tuple(made)


def distinct(given: Sequence[str]) -> list[str]:
    """Return what is sent and paid for *given*: equal texts once, where the first stands."""
    return list(dict.fromkeys(given))


@functools.cache
def count(text: str) -> int:
    """Return the tokens of *text* with its end token, as a server of the model counts them."""
    return tokens.count(text)


def sha256(text: str) -> str:
    """Return the name that a journal has for *text*."""
    return hashlib.sha256(text.encode()).hexdigest()


@functools.lru_cache(maxsize=8)
def _native(given: tuple[str, ...]) -> npt.NDArray[np.float64]:
    return vectors(given, mode="hash")


def expected(given: Sequence[str], dimensions: int = 4096) -> npt.NDArray[np.float64]:
    """Return the stand-in's vectors, cut and normalised in float64."""
    part = _native(tuple(given))[:, :dimensions]
    unit: npt.NDArray[np.float64] = part / np.linalg.norm(part, axis=1, keepdims=True)
    return unit


def rows(reply: httpx.Response) -> npt.NDArray[np.float32]:
    """Return the vectors of a good reply; fails the test if its frame is not OpenAI's."""
    assert reply.status_code == 200, reply.text[:500]
    body = orjson.loads(reply.content)
    assert body["object"] == "list"
    assert [one["index"] for one in body["data"]] == list(range(len(body["data"])))
    assert {one["object"] for one in body["data"]} == {"embedding"}
    return np.stack([_row(one["embedding"]) for one in body["data"]])


def _row(value: Any) -> npt.NDArray[np.float32]:
    if isinstance(value, str):
        return np.frombuffer(base64.b64decode(value, validate=True), dtype="<f4")
    return np.array(value, dtype=np.float64).astype(np.float32)
