"""Bodies over a real socket: no more is read, unpacked or fetched than was asked for."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import Callable

import pytest

from plugins._errors import Fault, ProviderFault
from tests.plugins.peers import Line, Peer, Script, answer, serving
from tests.plugins.wires import Reply, call, closing, replies, send, verdict


def test_a_redirect_is_an_answer_and_nobody_goes_there() -> None:
    async def main() -> tuple[Reply | ProviderFault, Peer]:
        async with serving(replies(answer())) as elsewhere:
            data = answer(b"", {"location": f"{elsewhere.base}/v1/embeddings"}, status=307)
            async with serving(replies(data)) as peer, closing() as wire:
                return await send(wire, peer.base), elsewhere

    got, elsewhere = asyncio.run(main())
    assert isinstance(got, tuple)
    assert got[0] == 307
    assert elsewhere.connections == 0


def test_a_body_of_just_the_limit_is_read() -> None:
    got, _ = call(replies(answer(b"x" * 1000)), max_bytes=1000)
    assert isinstance(got, tuple)
    assert len(got[2]) == 1000


def endless(head: bytes, piece: bytes) -> Script:
    """Return a script that goes on sending *piece* until the client has had enough."""

    async def script(line: Line) -> None:
        await line.request()
        await line.send(head)
        while True:
            await line.send(piece)

    return script


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "script",
    [
        replies(answer(b"x" * 1001)),
        endless(CHUNKED, b"400\r\n" + b"x" * 1024 + b"\r\n"),
        endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 1024),
    ],
    ids=["one byte more", "endless chunks", "endless until closed"],
)
def test_a_body_over_the_limit_is_corrupt(script: Script) -> None:
    got, _ = call(script, max_bytes=1000)
    assert verdict(got) == (Fault.CORRUPT, True)
    assert isinstance(got, ProviderFault)
    assert got.status == 200


@pytest.mark.parametrize(
    ("name", "pack"),
    [("gzip", gzip.compress), ("X-GZIP", gzip.compress), ("deflate", zlib.compress)],
)
def test_a_compressed_body_is_unpacked(name: str, pack: Callable[[bytes], bytes]) -> None:
    body = b'{"data": []}' * 50
    got, _ = call(replies(answer(pack(body), {"content-encoding": name})), max_bytes=len(body))
    assert isinstance(got, tuple)
    assert got[2] == body


def test_a_gzip_bomb_is_unpacked_no_further_than_the_limit() -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    tracemalloc.start()
    try:
        got, _ = call(replies(answer(bomb, {"content-encoding": "gzip"})), max_bytes=1_000_000)
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert verdict(got) == (Fault.CORRUPT, True)
    assert most_bytes < 10_000_000


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (gzip.compress(b"{}")[:-6], "gzip"),
        (b"{}", "gzip"),
        (b"", "gzip"),
        (b"{}", "br"),
        (gzip.compress(gzip.compress(b"{}")), "gzip, gzip"),
    ],
    ids=["cut off", "not packed", "empty", "unknown", "packed twice"],
)
def test_an_encoding_that_does_not_hold_is_corrupt(body: bytes, encoding: str) -> None:
    got, _ = call(replies(answer(body, {"content-encoding": encoding})))
    assert verdict(got) == (Fault.CORRUPT, True)
