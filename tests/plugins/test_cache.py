"""The cache: bounded in bytes, no text in it, one region and one space never for another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from plugins._cache import Cache, Entry

MB = 1024 * 1024
FORM = (4096, "float")


def row(number: float) -> np.ndarray[Any, Any]:
    return np.full((1, 4096), number, dtype=np.float32)


def keep(
    cache: Cache, text: str, number: float = 1, *, endpoint: str = "a", region: str = "eu"
) -> bytes:
    key = cache.key("space", text)
    cache.keep([key], row(number), endpoint=endpoint, deployment=f"id-{endpoint}", region=region)
    return key


def found(cache: Cache, key: bytes, region: str | None = None) -> Entry:
    entry = cache.find(key, region)
    assert entry is not None
    return entry


def test_what_was_kept_is_found_with_where_it_came_from() -> None:
    cache = Cache(MB)
    entry = found(cache, keep(cache, "text", 0.25))
    assert (entry.endpoint, entry.deployment, entry.region) == ("a", "id-a", "eu")
    assert (cache.rows([entry]) == row(0.25)).all()
    assert (cache.hits, cache.misses) == (1, 0)


def test_a_row_that_is_handed_out_does_not_change_with_the_cache() -> None:
    cache = Cache(MB)
    rows = cache.rows([found(cache, keep(cache, "text", 1))])
    keep(cache, "text", 2)
    assert (rows == row(1)).all()


def test_the_same_text_has_another_name_in_another_space_and_process() -> None:
    cache = Cache(MB)
    assert cache.key("a", "text") == cache.key("a", "text")
    assert cache.key("a", "text") != cache.key("b", "text")
    assert cache.key("a", "btext") != cache.key("ab", "text")
    assert cache.key("a", "text") != Cache(MB).key("a", "text")


def test_no_text_stands_in_a_name() -> None:
    assert b"a secret text" not in Cache(MB).key("space", "a secret text")


def test_a_region_gets_only_what_was_computed_there() -> None:
    cache = Cache(MB)
    key = keep(cache, "text", region="us")
    assert cache.find(key, "eu") is None
    found(cache, key, "us")
    assert cache.find(key, "eu") is None  # nor once it has been asked for
    found(cache, key)


def test_a_quarantined_endpoint_takes_its_vectors_along() -> None:
    cache = Cache(MB)
    bad, good = keep(cache, "one", endpoint="bad"), keep(cache, "two", endpoint="good")
    cache.keep_printed(found(cache, bad), FORM, b"[]")
    assert cache.ban("bad") == 1
    assert cache.find(bad, None) is None
    found(cache, good)
    assert cache.find(keep(cache, "one", endpoint="bad"), None) is None  # a late reply
    cache.allow("bad")
    found(cache, keep(cache, "one", endpoint="bad"))


def test_a_text_that_comes_from_another_endpoint_is_that_ones() -> None:
    cache = Cache(MB)
    key = keep(cache, "text", 1, endpoint="old")
    cache.keep_printed(found(cache, key), FORM, b"[1]")
    keep(cache, "text", 2, endpoint="new")
    entry = found(cache, key)
    assert (entry.endpoint, cache.printed(entry, FORM), len(cache)) == ("new", None, 1)


def test_an_indexing_job_does_not_sweep_out_what_is_asked_for_again() -> None:
    cache = Cache(4 * MB)
    queries = [keep(cache, f"query {i}") for i in range(20)]
    for key in queries:
        found(cache, key)
    for i in range(2000):
        keep(cache, f"chunk {i}")
    assert all(cache.find(key, None) is not None for key in queries)


def test_what_is_no_longer_asked_for_makes_room() -> None:
    cache = Cache(4 * MB)
    old = [keep(cache, f"old {i}") for i in range(50)]
    for key in old:
        found(cache, key)
    for i in range(500):
        found(cache, keep(cache, f"new {i}"))
    assert all(cache.find(key, None) is None for key in old)


def test_printed_vectors_are_kept_by_form_and_the_oldest_go_first() -> None:
    cache = Cache(MB)
    entries = [found(cache, keep(cache, f"text {i}")) for i in range(20)]
    piece = b"x" * 50_000
    for entry in entries:
        cache.keep_printed(entry, FORM, piece)
        cache.keep_printed(entry, (32, "base64"), b"short")
    assert cache.used_bytes <= MB
    assert cache.printed(entries[0], FORM) is None
    assert cache.printed(entries[-1], FORM) == piece
    assert cache.printed(entries[-1], (32, "base64")) == b"short"


def test_a_vector_that_has_left_is_not_printed() -> None:
    cache = Cache(MB)
    entry = found(cache, keep(cache, "text", endpoint="bad"))
    cache.ban("bad")
    cache.keep_printed(entry, FORM, b"[]")
    assert cache.used_bytes == 0


@given(st.integers(1, 200_000))
def test_a_cache_of_any_size_holds_at_least_one_vector(size: int) -> None:
    cache = Cache(size)
    for i in range(20):
        found(cache, keep(cache, f"text {i}"))
    assert len(cache) >= 1


class Machine(RuleBasedStateMachine):
    """Any history: what is found is what was kept last, and the room is never exceeded."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = Cache(MB // 2)
        self.last: dict[int, tuple[float, str]] = {}

    def entry(self, text: int) -> Entry | None:
        return self.cache.find(self.cache.key("space", str(text)), None)

    @rule(
        texts=st.lists(st.integers(0, 40), unique=True, max_size=30),
        endpoint=st.sampled_from("abc"),
    )
    def keep(self, texts: Sequence[int], endpoint: str) -> None:
        rows = np.array([[text + len(self.last)] * 4096 for text in texts], dtype=np.float32)
        keys = [self.cache.key("space", str(text)) for text in texts]
        at = {"endpoint": endpoint, "deployment": endpoint, "region": "eu"}
        self.cache.keep(keys, rows.reshape(len(texts), 4096), **at)
        if endpoint not in self.cache._banned:
            self.last.update(
                {text: (float(one[0]), endpoint) for text, one in zip(texts, rows, strict=True)}
            )

    @rule(text=st.integers(0, 40), size=st.integers(1, 100_000))
    def find(self, text: int, size: int) -> None:
        entry = self.entry(text)
        if entry is not None:
            number, endpoint = self.last[text]
            assert entry.endpoint == endpoint
            assert self.cache.rows([entry])[0, 7] == number
            self.cache.keep_printed(entry, FORM, b"x" * size)

    @rule(endpoint=st.sampled_from("abc"))
    def ban(self, endpoint: str) -> None:
        self.cache.ban(endpoint)
        for text in range(41):
            entry = self.entry(text)
            assert entry is None or entry.endpoint != endpoint

    @rule(endpoint=st.sampled_from("abc"))
    def allow(self, endpoint: str) -> None:
        self.cache.allow(endpoint)

    @invariant()
    def bounded(self) -> None:
        assert self.cache.used_bytes <= MB // 2
        assert len(self.cache) + len(self.cache._free) == len(self.cache._rows)


TestMachine = Machine.TestCase
