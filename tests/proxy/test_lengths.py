"""How long an input may be: counted exactly, before anything is sent.

The emulators count with a tokenizer set-up of their own, so both sides of every limit are asked of
two counters that know nothing of each other.
"""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from router_config.sandbox import Sandbox, tokens
from tests.proxy import configs
from tests.proxy.answers import calls, refused, sent_texts
from tests.proxy.harness import Proxy
from tests.proxy.reference import sha256

MODEL = configs.solo("vllm")
WORD = " hello"  # one token, wherever it stands after itself


def text_of(count: int) -> str:
    """Return a text that has *count* tokens, its end token included."""
    return WORD * (count - 1)


def ask(proxy: Proxy, texts: str | list[str], model: str = MODEL, **fields: Any) -> Any:
    return proxy.post({"model": model, "input": texts, "dimensions": 32, **fields})


def prefixes(text: str) -> set[str]:
    """Return the SHA-256 of every prefix of *text*, cut between characters."""
    running, found = hashlib.sha256(), set()
    for character in text:
        running.update(character.encode())
        found.add(running.copy().hexdigest())
    return found


def test_the_text_of_this_module_has_the_tokens_that_it_is_said_to_have() -> None:
    assert [tokens.count(text_of(n)) for n in (2, 100, 32_768)] == [2, 100, 32_768]


def test_exactly_32768_tokens_pass(proxy: Proxy, box: Sandbox) -> None:
    response = ask(proxy, text_of(32_768))
    assert response.status_code == 200
    assert response.json()["usage"] == {"prompt_tokens": 32_768, "total_tokens": 32_768}
    assert [entry["tokens"] for entry in box.journal("vllm")] == [32_768]


def test_one_token_more_is_refused_with_the_count(proxy: Proxy, box: Sandbox) -> None:
    message = refused(ask(proxy, text_of(32_769)), 400, "context_length_exceeded", "input")
    assert "32769 tokens" in message
    assert "32768" in message
    assert calls(box) == {}


def test_the_too_long_input_is_named_by_index_and_count(proxy: Proxy, box: Sandbox) -> None:
    texts = ["short", text_of(32_768), "short", text_of(40_000), text_of(50_000)]
    message = refused(ask(proxy, texts), 400, "context_length_exceeded", "input[3]")
    assert "`input[3]` has 40000 tokens" in message
    assert calls(box) == {}


def test_the_instruction_of_a_query_counts_too(proxy: Proxy, box: Sandbox) -> None:
    refused(
        ask(proxy, text_of(32_768), input_type="query"), 400, "context_length_exceeded", "input"
    )
    assert calls(box) == {}


@pytest.mark.parametrize("provider", ["vllm", "scaleway", "ollama", "deepinfra"])
def test_truncate_cuts_at_32000_tokens_whatever_the_provider(
    proxy: Proxy, box: Sandbox, provider: str
) -> None:
    response = ask(proxy, [text_of(40_000), "short"], configs.solo(provider), truncate="END")
    assert response.status_code == 200
    assert sent_texts(box, provider) == [sha256(text_of(32_000)), sha256("short")]


def test_truncate_leaves_what_fits_alone(proxy: Proxy, box: Sandbox) -> None:
    assert ask(proxy, text_of(32_000), truncate="END").status_code == 200
    assert sent_texts(box, "vllm") == [sha256(text_of(32_000))]


def test_truncate_cuts_between_characters(proxy: Proxy, box: Sandbox) -> None:
    text = "👩‍👩‍👧‍👦漢字é" * 9000
    assert ask(proxy, text, truncate="END").status_code == 200
    (entry,) = box.journal("vllm")
    assert 31_990 < entry["tokens"] <= 32_000
    assert entry["sha256"][0] in prefixes(text)


def test_truncate_keeps_the_instruction_of_a_query(proxy: Proxy, box: Sandbox) -> None:
    assert ask(proxy, text_of(40_000), truncate="END", instruct="Find").status_code == 200
    (entry,) = box.journal("vllm")
    assert entry["tokens"] == 32_000
    kept = {sha256(f"Instruct: Find\nQuery:{text_of(n)}") for n in range(31_980, 32_001)}
    assert entry["sha256"][0] in kept


def test_none_is_the_default_of_truncate(proxy: Proxy) -> None:
    refused(ask(proxy, text_of(40_000), truncate="NONE"), 400, "context_length_exceeded", "input")


# -- a deployment with a smaller limit


def test_a_deployment_with_a_smaller_limit_gets_what_fits(proxy: Proxy, box: Sandbox) -> None:
    assert ask(proxy, text_of(32_000), "small-first").status_code == 200
    assert calls(box) == {"scaleway": 1}


def test_a_deployment_with_a_smaller_limit_is_skipped_for_more(proxy: Proxy, box: Sandbox) -> None:
    response = ask(proxy, ["short", text_of(32_001)], "small-first")
    assert response.status_code == 200
    assert response.headers["x-router-deployment"] == "small-first--vllm"
    assert calls(box) == {"vllm": 1}


def test_the_limit_of_the_group_is_that_of_its_largest_deployment(
    proxy: Proxy, box: Sandbox
) -> None:
    message = refused(
        ask(proxy, text_of(32_001), configs.solo("scaleway")),
        400,
        "context_length_exceeded",
        "input",
    )
    assert "at most 32000" in message
    assert calls(box) == {}


# -- token arrays, decoded

TEXTS = [
    "hello world",
    "Привет, мир! Ёж 🦔",
    "你好，世界",
    "def f(x):\n    return x\n",
    "a  b\t\u200bc",
]


def _ids(vocabulary: str, text: str) -> list[int]:
    quicktok = pytest.importorskip("quicktok")
    found: list[int] = quicktok.get_encoding(vocabulary).encode(text)
    return found


@pytest.mark.parametrize(
    ("group", "vocabulary"), [("cl100k", "cl100k_base"), ("qwen3-ids", "qwen3")]
)
def test_token_arrays_are_decoded_exactly_where_the_group_allows_them(
    proxy: Proxy, box: Sandbox, group: str, vocabulary: str
) -> None:
    response = ask(proxy, [_ids(vocabulary, text) for text in TEXTS], group)
    assert response.status_code == 200
    assert sent_texts(box, "vllm") == [sha256(text) for text in TEXTS]


def test_a_flat_token_array_is_one_input(proxy: Proxy, box: Sandbox) -> None:
    # The ids are those of OpenAI's documentation, so that both directions are not one library's.
    response = ask(proxy, [15339, 1917], "cl100k")
    assert response.status_code == 200
    assert sent_texts(box, "vllm") == [sha256("hello world")]


def test_decoded_texts_get_the_same_vectors_as_the_texts(proxy: Proxy, box: Sandbox) -> None:
    ids = ask(proxy, [_ids("cl100k_base", text) for text in TEXTS], "cl100k").json()
    assert ids["data"] == ask(proxy, TEXTS, "cl100k").json()["data"]
    assert calls(box) == {"vllm": 2}


def test_half_a_character_is_refused(proxy: Proxy, box: Sandbox) -> None:
    ids = _ids("cl100k_base", "漢🦔")
    refused(ask(proxy, [[9906], ids[:-1]], "cl100k"), 400, "invalid_input", "input")
    assert calls(box) == {}


def test_a_group_that_takes_token_arrays_takes_texts_too(proxy: Proxy, box: Sandbox) -> None:
    assert ask(proxy, TEXTS, "qwen3-ids").status_code == 200
    assert sent_texts(box, "vllm") == [sha256(text) for text in TEXTS]
