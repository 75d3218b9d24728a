"""The gate at the front door, over real sockets: crowds and slow bodies are refused, not kept."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import resource
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn

from plugins._asgi import Receive, Scope, Send
from plugins._door import Door
from plugins._runtime import Runtime
from router_config import load
from tests.sizes import size

# As many as a shell usually lets a process open, both ends being in this one.
CROWD = size(300, 2_000)
# Shorter than a slow body may take, so that nobody inside makes room.
PATIENCE_S = 8
INSIDE = 40
CONFIG = """
model_list:
  - model_name: foreign
    litellm_params: {model: openai/text-embedding-3-small, api_key: os.environ/NEVER}
    model_info: {id: foreign, mode: embedding}
  - model_name: g
    litellm_params: {model: qwen3/openai, api_base: http://127.0.0.1:9/v1}
    model_info: {id: one, mode: embedding, input_cost_per_token: 0.0}
litellm_settings:
  callbacks: [plugins.gateway.handler, plugins.budget.handler, plugins.matryoshka.handler]
  custom_provider_map: [{provider: qwen3, custom_handler: plugins.provider.handler}]
router_settings: {num_retries: 0, disable_cooldowns: true}
general_settings: {master_key: os.environ/LITELLM_MASTER_KEY, custom_auth: plugins.keys.handler}
embedding_router:
  parity: off
  gateway: {max_inflight: 20, max_queued: 20, max_queued_mb: 16}
"""


async def behind(scope: Scope, receive: Receive, send: Send) -> None:
    """Stand where LiteLLM stands: answer whatever passes the door."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"alive"})


@pytest.fixture
def base(tmp_path: Path) -> Iterator[str]:
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG)
    environ = {"QWEN3_ROUTER_STATE": str(tmp_path), "OPENAI_API_KEY": "none"}
    ready = threading.Event()
    address: list[int] = []

    async def main() -> None:
        runtime = Runtime(load(config), environ)
        door = Door(behind, lambda: runtime, lambda model: model == "foreign")
        options = uvicorn.Config(door, port=0, log_level="error", lifespan="off", backlog=4096)
        server = uvicorn.Server(options)
        serving = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        address.append(server.servers[0].sockets[0].getsockname()[1])
        ready.set()
        while not ended.is_set():  # noqa: ASYNC110 - set by another thread
            await asyncio.sleep(0.02)
        server.should_exit = server.force_exit = True
        await serving
        assert (runtime.gate.inside, runtime.gate.body_bytes) == (0, 0)
        await runtime.aclose()

    ended = threading.Event()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(60)
    try:
        yield f"http://127.0.0.1:{address[0]}"
    finally:
        ended.set()
        thread.join(60)
    assert failures == []


def post(base: str) -> httpx.Response:
    with httpx.Client(trust_env=False, timeout=30) as client:
        return client.post(f"{base}/v1/embeddings", json={"model": "foreign", "input": "x"})


def test_a_crowd_of_slow_bodies_is_refused_and_keeps_nobody_else_out(base: str) -> None:
    port = int(base.rpartition(":")[2])
    head = (
        b"POST /v1/embeddings HTTP/1.1\r\nhost: here\r\ncontent-type: application/json\r\n"
        b"content-length: 1000000\r\n\r\n" + b"{" * 1000
    )
    assert post(base).text == "alive"
    gc.collect()

    refusals = 0
    all_refused = asyncio.Event()

    async def one() -> tuple[bytes, asyncio.StreamWriter]:
        nonlocal refusals
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head)
        got = b""
        try:
            with contextlib.suppress(ConnectionError):
                while chunk := await reader.read(65_536):
                    got += chunk
        except asyncio.CancelledError:
            writer.close()
            raise
        refusals += 1
        if refusals == CROWD - INSIDE:
            all_refused.set()
        return got, writer

    async def main() -> None:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        crowd = [asyncio.create_task(one()) for _ in range(CROWD)]
        slowest = 0.0
        ends = time.monotonic() + PATIENCE_S
        while not all_refused.is_set() and time.monotonic() < ends:
            begun = time.monotonic()
            alive = await asyncio.to_thread(
                httpx.get, f"{base}/health/liveliness", trust_env=False, timeout=30
            )
            slowest = max(slowest, time.monotonic() - begun)
            assert alive.text == "alive"
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.1)  # whoever is inside stays there
        refused = [task.result()[0] for task in crowd if task.done()]
        assert len(refused) == CROWD - INSIDE
        for got in refused:
            assert got.startswith(b"HTTP/1.1 503 ")
            assert b"\r\nretry-after: 1\r\n" in got
            assert b"\r\nconnection: close\r\n" in got
            assert b'"code":"no_deployment_available"' in got
        assert slowest < 5  # no promise: load and server share this process
        if sys.platform == "linux":
            grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
            assert grown_mb < 30 + CROWD / 20
        for task in crowd:
            task.cancel()
        for end in await asyncio.gather(*crowd, return_exceptions=True):
            if not isinstance(end, BaseException):
                end[1].close()
        await asyncio.sleep(0.2)

    asyncio.run(main())
    ends = time.monotonic() + 10
    while (reply := post(base)).status_code != 200 and time.monotonic() < ends:
        time.sleep(0.1)
    assert reply.text == "alive"


def test_a_body_for_which_there_is_no_room_is_not_read(base: str) -> None:
    port = int(base.rpartition(":")[2])
    head = b"POST /v1/embeddings HTTP/1.1\r\nhost: here\r\ncontent-length: %d\r\n\r\n"

    async def main() -> None:
        first_reader, first = await asyncio.open_connection("127.0.0.1", port)
        first.write(head % 16_000_000 + b"{" * 9_000_000)
        await first.drain()
        await asyncio.sleep(0.3)
        reader, second = await asyncio.open_connection("127.0.0.1", port)
        second.write(head % 9_000_000)
        async with asyncio.timeout(60):
            got = await reader.read()
        assert got.startswith(b"HTTP/1.1 503 ")
        assert b'"code":"no_deployment_available"' in got
        first.close()
        second.close()
        del first_reader

    asyncio.run(main())
