"""Exact Qwen3-Embedding-8B token counts, as the servers of the model count.

What a server's tokenizer (Hugging Face tokenizers in vLLM, TEI and transformers) does with a text,
and so what is counted here:

1. Added tokens such as `<|endoftext|>` are found in the raw text, wherever they stand, and are one
   token each (tokenizers, `AddedVocabulary::extract_and_normalize`; Qwen's are not `normalized`).
   The 8B embedding model has 22 of them, ids 151643 to 151664, and no row for Qwen3's `<think>` and
   `<tool_response>`: its vocab_size is 151665, and llama.cpp prints "special tokens cache size =
   22" for its GGUF. Those four are plain text.
2. What lies between is normalised to NFC, each part by itself, split by Qwen2's pattern and encoded
   by byte pairs. (llama.cpp and Ollama do not normalise, which matters only to text not in NFC.)
3. One end token is appended (TemplateProcessing in the model's tokenizer.json).

Compared with the `tokenizers` engine itself on 1.5 million random texts and on every character:
equal, but for three letters of Unicode 16 scripts that quicktok composes and the engine does not.

Tokens can be counted only of a text that has a UTF-8 form, which one with a lone surrogate (JSON's
"\\ud800") has not: ValueError.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from plugins._vocabularies import (
    QWEN_ADDED,
    QWEN_FIRST_ADDED,
    Encoder,
    Vocabulary,
    VocabularyMissingError,
    decoder,
    encoder,
)

__all__ = ["VocabularyMissingError", "count", "decode", "load", "surely_counted", "truncate"]

_MAX_TOKEN_BYTES = 128  # that many spaces are one token
_USUAL_CHARS = 8  # texts with more of them per token are rare
_ADDED = re.compile("|".join(map(re.escape, QWEN_ADDED[:22])))
_ADDED_ENDS = ("|>", "<tool_call>", "</tool_call>")  # every added token has one of these in it


def load(vocabulary: Vocabulary = "qwen3") -> None:
    """Load a vocabulary now rather than at first use: 0.3 s and 57 MB.

    Raises: VocabularyMissingError, which says what to install.
    """
    decoder(vocabulary)


def count(
    texts: Sequence[str],
    *,
    limit: int | None = None,
    between: Callable[[], None] = lambda: None,
    using: Encoder | None = None,
) -> list[int]:
    """Return the number of tokens of each text, its end token included.

    With *limit*, a text that is far over it is not counted to its end: its number is then a lower
    bound, over *limit* too. A text of at most `surely_counted` characters is always counted.
    *between* is called before each stretch of work; what it raises ends the call. *using* is for
    tests.

    Usual text takes 4 to 12 ms per MB with quicktok, 65 to 125 ms with tiktoken; the worst repeated
    characters ("/", "-") take 1 s and 2 s. Both let other threads run meanwhile.
    Raises: ValueError for a lone surrogate; the text is not quoted.
    """
    engine = using or encoder()
    return [_count_to(engine, text, limit, between) for text in texts]


def surely_counted(limit: int) -> int:
    """Return up to how many characters a text is counted exactly, whatever its count."""
    return _USUAL_CHARS * limit


def truncate(
    text: str,
    limit: int,
    *,
    between: Callable[[], None] = lambda: None,
    using: Encoder | None = None,
) -> tuple[str, int]:
    """Return the longest prefix of *text* that has at most *limit* tokens, and how many it has.

    The end token is included. With one more character it has more. Cuts between characters (code
    points); what is kept is byte for byte the caller's, not its NFC. *between* is as in `count`.
    Raises: ValueError for a lone surrogate.
    """
    if limit < 1:
        raise ValueError("no prefix has fewer than one token, the end token")
    engine = using or encoder()
    counts = {0: 1}

    def fits(chars: int) -> bool:
        if chars not in counts:
            between()
            counts[chars] = _count(engine, text[:chars])
        return counts[chars] <= limit

    # Texts are usually much shorter, or not much longer, than the limit: do not encode 10 MB.
    upper = 4 * limit
    while upper < len(text) and fits(upper):
        upper *= 2
    if upper >= len(text):
        upper = len(text)
        if fits(upper):
            return text, counts[upper]
    # Tokens tell the place in NFC. Where text is NFC it is the place in text too, and the loops end
    # at once; else it is near. Counts of prefixes do not always grow with them (a letter more may
    # make one token of two), so a place between a prefix that fits and one that does not is sought.
    lower = min(_chars_of_tokens(engine, text[:upper], limit - 1), upper - 1)
    step = 1
    while lower > 0 and not fits(lower):
        upper, lower, step = lower, max(0, lower - step), step * 2
    step = 1
    while lower + step < upper and fits(lower + step):
        lower, step = lower + step, step * 2
    upper = min(upper, lower + step)
    while upper - lower > 1:
        middle = (lower + upper) // 2
        if fits(middle):
            lower = middle
        else:
            upper = middle
    fits(lower)
    return text[:lower], counts[lower]


def decode(ids: Sequence[Sequence[int]], vocabulary: Vocabulary) -> list[str]:
    """Return the text of each sequence of token ids, exactly.

    An end token at the end of Qwen3 ids is left out: the server appends its own, and two of them
    make another vector.
    Raises:
        ValueError: an id is unknown, or the bytes are not UTF-8 (such as half a character).
        VocabularyMissingError: no installed package has the vocabulary.
    """
    engine = decoder(vocabulary)
    texts = []
    for sequence in ids:
        if vocabulary == "qwen3" and sequence and sequence[-1] == QWEN_FIRST_ADDED:
            sequence = sequence[:-1]
        try:
            texts.append(engine.decode(sequence).decode())
        except UnicodeDecodeError:
            raise ValueError("the token ids are not the ids of a text") from None
    return texts


def _count_to(engine: Encoder, text: str, limit: int | None, between: Callable[[], None]) -> int:
    """Return the count of *text*, or a lower bound over *limit* once that is certain."""
    if limit is not None:
        over = _over(text, limit)
        if over is not None:
            return over
        # A cut changes the tokens next to it; this leaves room for very many of those.
        slack = max(1000, limit // 8)
        chars = surely_counted(limit)
        while chars < len(text):
            between()
            least = _count(engine, text[:chars]) - slack
            if least > limit:
                return least
            chars *= 2
    between()
    return _count(engine, text)


def _over(text: str, limit: int | None) -> int | None:
    """Return a lower bound of the count that is over *limit*, if size alone gives one."""
    if limit is None or not text.isascii():  # NFC can make other texts shorter
        return None
    bound = -(-len(text) // _MAX_TOKEN_BYTES) + 1
    return bound if bound > limit else None


def _count(engine: Encoder, text: str) -> int:
    if not any(end in text for end in _ADDED_ENDS):
        return engine.count(text) + 1
    parts = _ADDED.split(text)
    return sum(map(engine.count, parts)) + len(
        parts
    )  # one added token after each part but the last


def _chars_of_tokens(engine: Encoder, text: str, tokens: int) -> int:
    """Return how many characters the first *tokens* tokens of *text* are in NFC."""
    chars = 0
    for part, added in _parts(text):
        ids = engine.encode(part)
        if len(ids) >= tokens:
            return chars + len(engine.decode(ids[:tokens]).decode(errors="ignore"))
        chars += len(part) + len(added)
        tokens -= len(ids) + 1
    return chars


def _parts(text: str) -> Iterator[tuple[str, str]]:
    """Yield each part of *text* between added tokens, with the added token after it."""
    start = 0
    for match in _ADDED.finditer(text):
        yield text[start : match.start()], match[0]
        start = match.end()
    yield text[start:], ""
