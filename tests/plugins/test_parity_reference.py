"""Recorded references: written, read back, refused with what to do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson
import pytest

from plugins._parity_reference import Reference, UnreadableError, from_note, read, to_note, write
from plugins._parity_texts import CALLS, PROBES
from router_config.sandbox import vectors

ROWS = {name: vectors([probe.text])[0].astype(np.float32) for name, probe in PROBES.items()}
REFERENCE = Reference(ROWS, 3, "2026-11-24T12:00:00Z", "deepinfra")


def least_cosine(one: Reference, other: Reference) -> float:
    return min(float(one.rows[name] @ other.rows[name]) for name in PROBES)


def test_a_file_keeps_the_vectors_and_their_origin(tmp_path: Path) -> None:
    path = tmp_path / "parity.json"
    path.write_bytes(write(REFERENCE))
    found = read(path)
    assert (found.revision, found.recorded, found.source) == (
        3,
        "2026-11-24T12:00:00Z",
        "deepinfra",
    )
    assert list(found.rows) == list(PROBES)
    assert least_cosine(found, REFERENCE) > 1 - 1e-6
    assert len(path.read_bytes()) < 130_000


def test_a_note_keeps_the_vectors_nearly() -> None:
    note = to_note(REFERENCE)
    found = from_note(note)
    assert found is not None
    assert (found.revision, found.source) == (3, "deepinfra")
    assert least_cosine(found, REFERENCE) > 1 - 1e-4
    assert len(note) < 60_000


@pytest.mark.parametrize(
    "note",
    [b"", b"{}", b"[]\n", b"{}\nxx", b'{"names": ["import"], "revision": 1}\n' + b"\0" * 4096],
)
def test_a_note_of_another_kind_is_nothing(note: bytes) -> None:
    assert from_note(note) is None


def _changed(**members: object) -> bytes:
    return orjson.dumps({**orjson.loads(write(REFERENCE)), **members})


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot be read"),
        (b"{", "not JSON"),
        (b"[]", "not a reference of parity"),
        (_changed(format="something else"), "not a reference of parity"),
        (_changed(texts_sha256="0" * 64), "other texts"),
        (_changed(dimensions=1024), "other texts"),
        (_changed(revision=0), "revision or vectors are missing"),
        (_changed(vectors={}), "a vector is missing or damaged"),
        (_changed(vectors=dict.fromkeys(PROBES, "AAAA")), "a vector is missing or damaged"),
    ],
)
def test_another_file_is_refused_with_what_to_do(
    tmp_path: Path, content: bytes | None, why: str
) -> None:
    path = tmp_path / "parity.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnreadableError, match=why) as caught:
        read(path)
    assert "parity record" in str(caught.value)


def test_every_probe_is_sent_and_one_of_them_twice() -> None:
    sent = [name for names in CALLS.values() for name in names]
    assert sorted(sent) == sorted([*PROBES, "russian"])
