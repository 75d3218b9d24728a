"""A plain client of the emulators: what each provider's documentation says to send."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from router_config.sandbox import Sandbox

MODELS = {
    "scaleway": "qwen3-embedding-8b",
    "siliconflow": "Qwen/Qwen3-Embedding-8B",
    "siliconflow-cn": "Qwen/Qwen3-Embedding-8B",
    "deepinfra": "Qwen/Qwen3-Embedding-8B",
    "fireworks": "fireworks/qwen3-embedding-8b",
    "openrouter": "qwen/qwen3-embedding-8b",
    "nebius": "Qwen/Qwen3-Embedding-8B",
    "novita": "qwen/qwen3-embedding-8b",
    "ollama": "qwen3-embedding:8b",
    "vllm": "Qwen/Qwen3-Embedding-8B",
    "tei": "Qwen/Qwen3-Embedding-8B",
    "infinity": "Qwen/Qwen3-Embedding-8B",
    "llamacpp": "Qwen3-Embedding-8B",
    "openai": "qwen3-embedding-8b",
}
HOSTED = (*tuple(MODELS)[:8], "openai")
# Providers that answer base64 when asked for it.
BASE64 = (
    "siliconflow-cn",
    "deepinfra",
    "openrouter",
    "nebius",
    "novita",
    "vllm",
    "tei",
    "infinity",
    "llamacpp",
    "openai",
)


def post(url: str | httpx.URL, **what: Any) -> httpx.Response:
    """POST on a connection of its own."""
    return _send("POST", url, **what)


def get(url: str | httpx.URL, **what: Any) -> httpx.Response:
    """GET on a connection of its own."""
    return _send("GET", url, **what)


def _send(method: str, url: str | httpx.URL, **what: Any) -> httpx.Response:
    # Without certificates: reading them takes longer than the whole request.
    with httpx.Client(verify=False, trust_env=False, timeout=20) as client:
        return client.request(method, url, **what)


def ask(
    box: Sandbox,
    provider: str,
    texts: Any,
    /,
    *,
    key: str | None = "",
    path: str | None = None,
    timeout_s: float = 20.0,
    **fields: Any,
) -> httpx.Response:
    """Send *texts*; *key* "" is the right one, None none. *path* replaces the documented one."""
    where = path or ("/api/embed" if provider == "ollama" else "/embeddings")
    key = box.keys.get(provider) if key == "" else key
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    body = {"model": MODELS.get(provider), "input": texts, **fields}
    body = {name: value for name, value in body.items() if value is not None}
    return post(box.bases[provider] + where, json=body, headers=headers, timeout=timeout_s)


def rows(response: httpx.Response) -> NDArray[np.float64]:
    """Return the vectors of a good reply, in the order of the list."""
    assert response.status_code == 200, response.text[:300]
    found = response.json()
    values = found.get("embeddings")
    if values is None:
        values = [item["embedding"] for item in found["data"]]
    return np.array([_numbers(value) for value in values])


def unit(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    divided: NDArray[np.float64] = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    return divided


def prompt_tokens(response: httpx.Response) -> int:
    found = response.json()
    if "prompt_eval_count" in found:
        return int(found["prompt_eval_count"])
    return int(found["usage"]["prompt_tokens"])


def _numbers(value: str | Sequence[float]) -> NDArray[np.float64]:
    if isinstance(value, str):
        return np.frombuffer(base64.b64decode(value), "<f4").astype(np.float64)
    return np.array(value, dtype=np.float64)
