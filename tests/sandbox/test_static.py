"""The static upstream answers a good reply with as many vectors as were asked for."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.sandbox.client import get, post, rows

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "router_config.sandbox.static"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    yield str(json.loads(process.stdout.readline())["base"])
    process.stdin.close()
    assert process.wait(10) == 0


@pytest.mark.parametrize("texts", ["one", ["one"], ["a", "b", "c"], ['x","y', "é", "]"]])
def test_as_many_vectors_as_texts(base: str, texts: list[str] | str) -> None:
    reply = post(f"{base}/embeddings", json={"model": "m", "input": texts, "user": "u"})
    assert len(rows(reply)) == (1 if isinstance(texts, str) else len(texts))


def test_spaces_in_the_json_do_not_matter(base: str) -> None:
    body = json.dumps({"input": ["a", "b", "c"], "model": "m"}, separators=(", ", ": "))
    assert len(rows(post(f"{base}/embeddings", content=body))) == 3


def test_the_path_can_say_how_many(base: str) -> None:
    reply = post(base.replace("/v1", "/n/5/v1/embeddings"), json={"input": "a"})
    assert len(rows(reply)) == 5


def test_base64_and_floats_are_the_same_unit_vectors(base: str) -> None:
    body = {"input": ["a", "b"], "model": "m"}
    floats = rows(post(f"{base}/embeddings", json=body))
    packed = rows(post(f"{base}/embeddings", json={**body, "encoding_format": "base64"}))
    assert np.array_equal(floats.astype(np.float32), packed.astype(np.float32))
    assert np.linalg.norm(floats, axis=1) == pytest.approx(1)
    assert not np.array_equal(floats[0], floats[1])


def test_a_get_is_a_free_probe(base: str) -> None:
    assert get(base).status_code == 200
