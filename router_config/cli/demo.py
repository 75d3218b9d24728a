"""`qwen3-router demo`: the real proxy over emulated providers, with a failover to watch.

Needs no key: provider emulators with a small stand-in model answer instead of the providers. The
proxy, its config and every line of the request path are the real ones; only base URLs and keys of
the shipped config are redirected.
"""

from __future__ import annotations

import argparse
import os
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from router_config.cli.child import free_port, serving, wait_until_ready

__all__ = ["HELP", "add_arguments", "run"]

HELP = "try the router without any key, on emulated providers"

_MODEL = "qwen3-embedding-8b"
_QUERY = "Как вернуть деньги за билет на поезд?"
_DOCUMENTS = (
    "Возврат билета на поезд: заявление в кассе или в личном кабинете, деньги придут на карту.",
    "Рецепт борща: свёклу натрите на тёрке, обжарьте с морковью и добавьте в бульон.",
    "Правила провоза собак и кошек в вагонах дальнего следования.",
    "How to reset the password of your e-mail account in three steps.",
    "Метод главных компонент уменьшает размерность данных и сохраняет дисперсию.",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `demo`."""
    parser.add_argument("--once", action="store_true", help="exit after the requests shown")
    parser.add_argument("--port", type=int, default=4000, help="port of the proxy (default: 4000)")


def run(args: argparse.Namespace) -> int:
    """Run the demo; 0 if every request was answered as it should be."""
    try:
        from router_config.sandbox import Sandbox
    except ImportError as error:
        print(
            f"qwen3-router demo: {error.name} is not installed; install the demo with: "
            'pip install "qwen3-embedding-router[demo]"',
            file=sys.stderr,
        )
        return 1
    port = free_port(args.port)
    with tempfile.TemporaryDirectory(prefix="qwen3-router-") as folder, Sandbox(mode="e5") as box:
        from router_config import SHIPPED_CONFIG

        config = Path(folder) / "config.yaml"
        box.redirect(SHIPPED_CONFIG, config)
        key = "sk-demo-" + secrets.token_hex(8)
        log = Path(folder) / "proxy.log"
        print("Stand-in providers are up: their vectors come from a small multilingual model, not")
        print("from Qwen3-Embedding-8B. The proxy and its config are the real ones.")
        with serving(config, port, key, {**os.environ, **box.env()}, log) as process:
            if not wait_until_ready(process, port, log):
                return 1
            ok = _show(box, port, key)
            if args.once or not ok:
                return 0 if ok else 1
            return _stay(process)


def _show(box: Any, port: int, key: str) -> bool:
    """Make the requests and print what they show; False if one of them did not go as it should."""
    import httpx

    with httpx.Client(
        base_url=f"http://127.0.0.1:{port}/v1",
        headers={"authorization": f"Bearer {key}"},
        timeout=60,
    ) as client:
        first = ""
        for dimensions in (4096, 1024):
            ranked, first = _rank(client, dimensions)
            print(f"\n«{_QUERY}» at {dimensions} dimensions, answered by {first}:")
            for score, document in ranked:
                print(f"  {score:.3f}  {document[:76]}")
            if ranked[0][1] != _DOCUMENTS[0]:
                print("The right document is not first.", file=sys.stderr)
                return False
        provider = first.split("-")[0]
        print(f"\nNow {provider} goes down …")
        box.down(provider)
        try:
            answer = _embed(client, [_QUERY], 1024, query=True)
        finally:
            box.up(provider)
        second = answer.headers["x-router-deployment"]
        print(
            f"… and the next request is answered by {second} "
            f"after {answer.headers['x-router-attempts']} attempts: the client saw a plain 200."
        )
    _snippets(port, key)
    return second != first


def _rank(client: Any, dimensions: int) -> tuple[list[tuple[float, str]], str]:
    query = _embed(client, [_QUERY], dimensions, query=True)
    documents = _embed(client, list(_DOCUMENTS), dimensions, query=False)
    vector = query.json()["data"][0]["embedding"]
    scores = [
        sum(a * b for a, b in zip(vector, item["embedding"], strict=True))
        for item in documents.json()["data"]
    ]
    return sorted(zip(scores, _DOCUMENTS, strict=True), reverse=True), documents.headers[
        "x-router-deployment"
    ]


def _embed(client: Any, texts: list[str], dimensions: int, *, query: bool) -> Any:
    answer = client.post(
        "/embeddings",
        json={
            "model": _MODEL,
            "input": texts,
            "dimensions": dimensions,
            "input_type": "query" if query else "document",
        },
    )
    answer.raise_for_status()
    return answer


def _snippets(port: int, key: str) -> None:
    print(
        f"""
Try it yourself:

  curl http://127.0.0.1:{port}/v1/embeddings -H "Authorization: Bearer {key}" \\
    -H "Content-Type: application/json" \\
    -d '{{"model": "{_MODEL}", "input": "Привет, мир", "dimensions": 1024}}'

  from openai import OpenAI
  client = OpenAI(base_url="http://127.0.0.1:{port}/v1", api_key="{key}")
  client.embeddings.create(model="{_MODEL}", input="Привет, мир", dimensions=1024)
"""
    )


def _stay(process: subprocess.Popen[bytes]) -> int:
    print("The demo stays up; stop it with Ctrl-C.", flush=True)
    try:
        code = process.wait()
    except KeyboardInterrupt:
        return 0
    print(f"The proxy ended with code {code}.", file=sys.stderr)
    return 1
