"""Taming a text changes neither its meaning nor its NFC, only the time that normalising takes."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins._nfc import _marks, nfc, tame

EVERY = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
MARKS = [char for char in EVERY if unicodedata.combining(char)]
COMPOUND_MARKS = [
    char
    for char in EVERY
    if unicodedata.decomposition(char)
    and all(map(unicodedata.combining, unicodedata.normalize("NFD", char)))
]
FAR = [chr(code) for code in (*range(0x1D150, 0x1D1A0), *range(0x11080, 0x110C0))]
RUNS = st.lists(
    st.sampled_from(MARKS) | st.sampled_from(COMPOUND_MARKS) | st.sampled_from(FAR),
    min_size=64,
    max_size=300,
).map("".join)
LONG = "é" * 600


@given(st.lists(st.sampled_from([LONG, "x", "e", "\u0f40"]) | RUNS, max_size=4).map("".join))
def test_nfc_is_the_nfc_of_the_standard_library(text: str) -> None:
    assert nfc(LONG + text) == unicodedata.normalize("NFC", LONG + text)


@given(RUNS)
def test_a_tamed_text_is_canonically_equivalent(run: str) -> None:
    text = LONG + run + "e"
    assert unicodedata.normalize("NFD", tame(text)) == unicodedata.normalize("NFD", text)


@pytest.mark.parametrize(
    "text", ["", "a" * 5000, "Привет, мир! " * 500, "e\u0301" * 5000, "字" * 600]
)
def test_usual_text_stays_as_it_is(text: str) -> None:
    assert tame(text) is text or tame(text) == text


@pytest.mark.parametrize(
    "run", ["\u0300\u0316", "\u0f73", "\u0345\u0301\u0316\u0f73", "\U0001e4ec\U0001e4ee"]
)
def test_a_long_run_of_marks_is_normalised_in_no_time(run: str) -> None:
    # By insertion this would take an hour.
    text = "q" + run * (500_000 // len(run))
    got = nfc(text)
    assert len(got) >= len(text)
    assert nfc(got) == got


def test_every_mark_of_this_python_is_known_with_its_class() -> None:
    known = _marks()
    assert [char for char in MARKS if not known.run.fullmatch(char * 64)] == []
    assert [char for char in MARKS if known.classes[ord(char)] != unicodedata.combining(char)] == []


def test_no_other_character_is_made_of_marks_only() -> None:
    assert {*COMPOUND_MARKS} - {*MARKS} <= {"\u0f73", "\u0f75", "\u0f81"}
