"""The clients that people use work unchanged: OpenAI's SDK, LangChain, LlamaIndex, Haystack.

Each talks over real HTTP to the real proxy. Expected vectors come from the stand-in model itself,
cut and normalised in float64.
"""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
from numpy.typing import NDArray

from router_config.sandbox import Sandbox
from router_config.sandbox.standin import vectors
from tests.proxy import configs
from tests.proxy.harness import MASTER_KEY, Proxy

MODEL = configs.solo("vllm")
TEXTS = ["Возврат билета на поезд", "Рецепт борща со сметаной", "ёжик в тумане 🦔"]
QUERY = "Как вернуть деньги за билет?"
TASK = "Given a web search query, retrieve relevant passages that answer the query"


def expected(texts: list[str], dimensions: int = 4096) -> NDArray[np.float64]:
    rows = vectors(texts)[:, :dimensions]
    unit: NDArray[np.float64] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def as_query(text: str, task: str = TASK) -> str:
    """The text that a query becomes, as the model's README has it."""
    return f"Instruct: {task}\nQuery:{text}"


def close(got: Any, want: NDArray[np.float64]) -> bool:
    rows = np.asarray(got, dtype=np.float64)
    return rows.shape == want.shape and bool(np.abs(rows - want).max() <= 1e-6)


class Wired:
    """An OpenAI client whose HTTP requests are counted."""

    def __init__(self, proxy: Proxy, **options: Any) -> None:
        self.requests = 0
        self.client = openai.OpenAI(
            base_url=f"{proxy.base}/v1",
            http_client=openai.DefaultHttpxClient(
                event_hooks={"request": [self._count]}, trust_env=False
            ),
            **{"api_key": MASTER_KEY, **options},
        )

    def _count(self, request: Any) -> None:
        self.requests += 1


@pytest.fixture
def wired(proxy: Proxy) -> Iterator[Wired]:
    one = Wired(proxy)
    with one.client:
        yield one


def calls(box: Sandbox, *providers: str) -> int:
    return sum(len(box.journal(one)) for one in providers)


# -- OpenAI's SDK


def test_sdk_asks_for_base64_by_itself_and_gets_the_floats(wired: Wired, box: Sandbox) -> None:
    asked: list[bytes] = []
    wired.client._client.event_hooks["request"].append(lambda r: asked.append(r.content))
    reply = wired.client.embeddings.create(model=MODEL, input=TEXTS)
    assert b'"encoding_format":"base64"' in asked[0]
    assert close([item.embedding for item in reply.data], expected(TEXTS))
    assert [item.index for item in reply.data] == [0, 1, 2]


def test_sdk_gets_the_same_numbers_as_floats_and_as_base64(wired: Wired, box: Sandbox) -> None:
    quiet = wired.client.embeddings.create(model=MODEL, input=TEXTS)
    floats = wired.client.embeddings.create(model=MODEL, input=TEXTS, encoding_format="float")
    assert np.array_equal(
        np.float32([item.embedding for item in quiet.data]),
        np.float32([item.embedding for item in floats.data]),
    )


def test_sdk_gets_base64_as_text_when_it_asks_for_it(wired: Wired, box: Sandbox) -> None:
    reply = wired.client.embeddings.create(
        model=MODEL, input=QUERY, encoding_format="base64", dimensions=33
    )
    text = reply.data[0].embedding
    assert isinstance(text, str)
    row = np.frombuffer(base64.b64decode(text), dtype="<f4")
    assert close([row], expected([QUERY], 33))


@pytest.mark.parametrize("dimensions", [32, 33, 1024, 4096])
def test_sdk_gets_the_dimensions_it_asks_for(wired: Wired, box: Sandbox, dimensions: int) -> None:
    reply = wired.client.embeddings.create(model=MODEL, input=TEXTS, dimensions=dimensions)
    assert close([item.embedding for item in reply.data], expected(TEXTS, dimensions))


def test_sdk_sees_model_usage_and_our_headers(wired: Wired, box: Sandbox) -> None:
    raw = wired.client.embeddings.with_raw_response.create(model=MODEL, input=TEXTS)
    reply = raw.parse()
    (call,) = box.journal("vllm")
    assert reply.model == MODEL
    assert reply.usage.prompt_tokens == reply.usage.total_tokens == call["tokens"]
    assert raw.headers["x-router-deployment"] == f"{MODEL}--vllm"
    assert raw.headers["x-router-attempts"] == "1"


def test_async_sdk_gets_many_answers_at_once(proxy: Proxy, box: Sandbox) -> None:
    async def ask() -> list[Any]:
        async with openai.AsyncOpenAI(base_url=f"{proxy.base}/v1", api_key=MASTER_KEY) as client:
            return await asyncio.gather(
                *(client.embeddings.create(model=MODEL, input=[text]) for text in TEXTS)
            )

    replies = asyncio.run(ask())
    assert close([reply.data[0].embedding for reply in replies], expected(TEXTS))


def test_model_suffix_makes_a_query_and_the_reply_names_the_model_as_asked(
    wired: Wired, box: Sandbox
) -> None:
    query = wired.client.embeddings.create(model=f"{MODEL}:query", input=QUERY)
    document = wired.client.embeddings.create(model=f"{MODEL}:document", input=QUERY)
    assert close([query.data[0].embedding], expected([as_query(QUERY)]))
    assert close([document.data[0].embedding], expected([QUERY]))
    assert [query.model, document.model] == [f"{MODEL}:query", f"{MODEL}:document"]


def test_extra_body_carries_input_type_and_task(wired: Wired, box: Sandbox) -> None:
    task = "Найди ответ на вопрос пассажира"
    reply = wired.client.embeddings.create(
        model=MODEL, input=QUERY, extra_body={"input_type": "query", "instruct": task}
    )
    assert close([reply.data[0].embedding], expected([as_query(QUERY, task)]))


# -- OpenAI's SDK: errors

REFUSED: list[tuple[dict[str, Any], type[openai.APIStatusError], str]] = [
    ({"dimensions": 31}, openai.BadRequestError, "invalid_dimensions"),
    ({"input": ""}, openai.BadRequestError, "invalid_input"),
    ({"input": ["да"] * 2049}, openai.BadRequestError, "too_many_inputs"),
    ({"input": [[1, 2, 3]]}, openai.BadRequestError, "token_input_not_supported"),
    ({"input": "да " * 40_000}, openai.BadRequestError, "context_length_exceeded"),
    ({"model": "qwen3-embedding-9b"}, openai.NotFoundError, "model_not_found"),
    ({"model": "qwen3/vllm"}, openai.NotFoundError, "model_not_found"),
    ({"input": "д" * 9_000_000}, openai.APIStatusError, "request_too_large"),
]


@pytest.mark.parametrize(("fields", "error", "code"), REFUSED, ids=[case[2] for case in REFUSED])
def test_sdk_raises_its_own_class_with_our_code_and_asks_once(
    wired: Wired,
    box: Sandbox,
    fields: dict[str, Any],
    error: type[openai.APIStatusError],
    code: str,
) -> None:
    with pytest.raises(error) as caught:
        wired.client.embeddings.create(**{"model": MODEL, "input": "да", **fields})
    assert caught.value.code == code
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert wired.requests == 1
    assert calls(box, *configs.PROVIDERS) == 0


def test_wrong_key_is_an_authentication_error_and_is_not_retried(
    proxy: Proxy, box: Sandbox
) -> None:
    wired = Wired(proxy, api_key="sk-wrong")
    with wired.client, pytest.raises(openai.AuthenticationError) as caught:
        wired.client.embeddings.create(model=MODEL, input="да")
    assert caught.value.code == "unauthorized"
    assert wired.requests == 1


def test_key_over_its_rate_is_a_rate_limit_error_that_says_when(proxy: Proxy, box: Sandbox) -> None:
    wired = Wired(proxy, api_key=configs.KEYS["sdk"], max_retries=0)
    with wired.client:
        wired.client.embeddings.create(model=MODEL, input="да")
        with pytest.raises(openai.RateLimitError) as caught:
            wired.client.embeddings.create(model=MODEL, input="да")
    assert caught.value.code == "rate_limited"
    assert caught.value.response.headers["x-should-retry"] == "true"
    assert int(caught.value.response.headers["retry-after"]) >= 1


def test_deadline_is_not_retried_though_sdks_retry_5xx(wired: Wired, box: Sandbox) -> None:
    box.fault("deepinfra", "hang")
    box.fault("nebius", "hang")
    with pytest.raises(openai.InternalServerError) as caught:
        wired.client.embeddings.create(model="hurried", input=QUERY)
    assert caught.value.status_code == 504
    assert caught.value.code == "deadline_exceeded"
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert wired.requests == 1


def test_nobody_left_is_retried_as_told_and_answered(wired: Wired, box: Sandbox) -> None:
    box.fault("vllm", "status", times=1, status=503)
    reply = wired.client.embeddings.create(model=MODEL, input=QUERY)
    assert close([reply.data[0].embedding], expected([QUERY]))
    assert wired.requests == 2
    assert calls(box, "vllm") == 2


def test_sdk_sees_nothing_of_a_failover(wired: Wired, box: Sandbox) -> None:
    box.fault("siliconflow", "unauthorized")
    reply = wired.client.embeddings.create(model=configs.pair("siliconflow"), input=TEXTS)
    assert close([item.embedding for item in reply.data], expected(TEXTS))
    assert wired.requests == 1
    assert calls(box, "siliconflow") == calls(box, configs.HEALTHY) == 1


# -- LangChain


@pytest.fixture
def langchain(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    # Its default path tokenizes with cl100k_base, which tiktoken would download; LiteLLM's wheel
    # holds a copy.
    spec = importlib.util.find_spec("litellm")
    assert spec is not None
    assert spec.origin is not None
    tokenizers = Path(spec.origin).parent / "litellm_core_utils" / "tokenizers"
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tokenizers))
    from langchain_openai import OpenAIEmbeddings

    def make(model: str = MODEL, **options: Any) -> Any:
        return OpenAIEmbeddings(
            model=model, base_url=f"{proxy.base}/v1", api_key=MASTER_KEY, **options
        )

    return make


def test_langchain_embeds_documents_as_text(langchain: Callable[..., Any], box: Sandbox) -> None:
    embeddings = langchain(check_embedding_ctx_length=False, dimensions=1024)
    assert close(embeddings.embed_documents(TEXTS), expected(TEXTS, 1024))
    assert calls(box, "vllm") == 1


def test_langchain_embeds_queries_through_the_model_suffix(
    langchain: Callable[..., Any], box: Sandbox
) -> None:
    embeddings = langchain(f"{MODEL}:query", check_embedding_ctx_length=False)
    assert close([embeddings.embed_query(QUERY)], expected([as_query(QUERY)]))


def test_langchain_embeds_asynchronously(langchain: Callable[..., Any], box: Sandbox) -> None:
    embeddings = langchain(check_embedding_ctx_length=False)
    assert close(asyncio.run(embeddings.aembed_documents(TEXTS)), expected(TEXTS))


def test_langchain_as_it_comes_is_told_which_setting_to_change(
    langchain: Callable[..., Any], box: Sandbox
) -> None:
    with pytest.raises(openai.BadRequestError, match="check_embedding_ctx_length=False") as caught:
        langchain().embed_documents(TEXTS)
    assert caught.value.code == "token_input_not_supported"
    assert calls(box, *configs.PROVIDERS) == 0


def test_langchain_as_it_comes_works_where_the_group_takes_its_tokens(
    langchain: Callable[..., Any], box: Sandbox
) -> None:
    assert close(langchain("cl100k").embed_documents(TEXTS), expected(TEXTS))


# -- LlamaIndex


@pytest.fixture
def llama(proxy: Proxy) -> Callable[..., Any]:
    from llama_index.embeddings.openai import OpenAIEmbedding

    def make(model: str = MODEL, **options: Any) -> Any:
        return OpenAIEmbedding(
            model_name=model, api_base=f"{proxy.base}/v1", api_key=MASTER_KEY, **options
        )

    return make


def test_llamaindex_embeds_texts_in_batches(llama: Callable[..., Any], box: Sandbox) -> None:
    texts = [f"{text} {i}" for i in range(4) for text in TEXTS]
    embedding = llama(dimensions=512, embed_batch_size=5)
    assert close(embedding.get_text_embedding_batch(texts), expected(texts, 512))
    assert calls(box, "vllm") == 3


def test_llamaindex_embeds_queries_through_the_model_suffix(
    llama: Callable[..., Any], box: Sandbox
) -> None:
    vector = llama(f"{MODEL}:query").get_query_embedding(QUERY)
    assert close([vector], expected([as_query(QUERY)]))


def test_llamaindex_embeds_asynchronously(llama: Callable[..., Any], box: Sandbox) -> None:
    vector = asyncio.run(llama().aget_text_embedding(TEXTS[0]))
    assert close([vector], expected(TEXTS[:1]))


# -- Haystack


@pytest.fixture
def haystack(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What both embedders are made with; before its import, since telemetry starts there."""
    monkeypatch.setitem(os.environ, "HAYSTACK_TELEMETRY_ENABLED", "False")
    from haystack.utils import Secret

    return {"api_key": Secret.from_token(MASTER_KEY), "api_base_url": f"{proxy.base}/v1"}


def test_haystack_embeds_a_query_through_the_model_suffix(
    haystack: dict[str, Any], box: Sandbox
) -> None:
    from haystack.components.embedders import OpenAITextEmbedder

    embedder = OpenAITextEmbedder(model=f"{MODEL}:query", dimensions=1024, **haystack)
    result = embedder.run(QUERY)
    assert close([result["embedding"]], expected([as_query(QUERY)], 1024))
    assert result["meta"]["usage"]["prompt_tokens"] > 0


def test_haystack_embeds_documents(haystack: dict[str, Any], box: Sandbox) -> None:
    from haystack import Document
    from haystack.components.embedders import OpenAIDocumentEmbedder

    embedder = OpenAIDocumentEmbedder(
        model=MODEL, batch_size=2, progress_bar=False, raise_on_failure=True, **haystack
    )
    documents = embedder.run([Document(content=text) for text in TEXTS])["documents"]
    assert close([document.embedding for document in documents], expected(TEXTS))
    assert calls(box, "vllm") == 2
