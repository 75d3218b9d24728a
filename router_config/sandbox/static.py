"""A raw upstream for benchmarks: the same ready reply to every POST, as fast as one process can.

`python -m router_config.sandbox.static --encoding base64` prints one JSON line with its `base` and
lives as long as its parent. The number of vectors is `--n`, or what the path says
(`{base}/n/32` as a base URL), or else the number of texts in the request, counted by its quotes.
Nothing is checked and nothing is kept: for behaviour there are the emulators.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import os
import re
import sys
from collections.abc import Sequence
from typing import cast

from .http1 import head
from .lifetime import Lifetime
from .standin import vectors
from .texts import Written, write

__all__ = ["main", "reply"]

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_PATH = re.compile(rb"^POST /n/(\d+)/")
_TOKENS = 20  # of the texts that `bench` sends


@functools.cache
def reply(count: int, written: Written) -> bytes:
    """Return a whole HTTP reply with *count* different unit vectors of 4096 numbers."""
    pieces = [write(row, written) for row in vectors([f"vector {i}" for i in range(count)])]
    items = [
        b'{"object":"embedding","index":%d,"embedding":%b}' % (index, piece)
        for index, piece in enumerate(pieces)
    ]
    tokens = _TOKENS * count
    tail = {
        "model": "qwen3-embedding-8b",
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
    body = b'{"object":"list","data":[' + b",".join(items) + b"]," + json.dumps(tail).encode()[1:]
    headers = {"content-type": "application/json", "content-length": str(len(body))}
    return head(200, headers) + body


class _Connection(asyncio.Protocol):
    def __init__(self, count: int, encoding: str) -> None:
        self._count = count
        self._encoding = encoding
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not checked: uvloop's transports are no subclass of asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        while buffer:
            end = buffer.find(b"\r\n\r\n") + 4
            if end < 4:
                break
            found = _LENGTH.search(buffer, 0, end)
            stop = end + (int(found[1]) if found else 0)
            if len(buffer) < stop:
                break
            if self._transport is not None:
                self._transport.write(self._answer(buffer[:end], buffer[end:stop]))
            buffer = buffer[stop:]
        self._buffer = buffer

    def _answer(self, top: bytes, body: bytes) -> bytes:
        if not top.startswith(b"POST"):
            return head(200, {"content-length": "0"})
        path = _PATH.match(top)
        count = self._count or int(path[1] if path else _inputs(body))
        encoding = self._encoding
        if encoding == "auto":
            # Only after the texts, which are most of the body.
            rest = body[body.rfind(b"]") :] + body[:64]
            encoding = "base64" if b'"base64"' in rest else "float"
        return reply(count, "base64" if encoding == "base64" else "float32")


def _inputs(body: bytes) -> int:
    start, end = body.find(b'"input"'), body.rfind(b"]")
    if start < 0 or end < start:
        return 1
    return 1 + body.count(b'","', start + 8, end) + body.count(b'", "', start + 8, end)


def main(argv: Sequence[str] | None = None) -> int:
    """Run until told to end."""
    parser = argparse.ArgumentParser(
        prog="python -m router_config.sandbox.static",
        description="Answer every POST with the same embeddings, for benchmarks.",
    )
    parser.add_argument("--n", type=int, default=0, help="vectors in a reply; 0: as in the request")
    parser.add_argument("--encoding", choices=("float", "base64", "auto"), default="auto")
    parser.add_argument("--port", type=int, default=0)
    asked = parser.parse_args(argv)
    try:
        import uvloop
    except ImportError:
        asyncio.run(_run(asked.n, asked.encoding, asked.port))
    else:
        uvloop.run(_run(asked.n, asked.encoding, asked.port))
    return 0


async def _run(count: int, encoding: str, port: int) -> None:
    lifetime = Lifetime()
    server = await asyncio.get_running_loop().create_server(
        lambda: _Connection(count, encoding), "127.0.0.1", port, backlog=1024
    )
    # The replies that a benchmark asks for, so that its first request is not a slow one.
    for written in ("float32", "base64"):
        for usual in {count or 1, count or 32}:
            reply(usual, "base64" if written == "base64" else "float32")
    bound = server.sockets[0].getsockname()[1]
    ready = {"base": f"http://127.0.0.1:{bound}/v1", "pid": os.getpid()}
    sys.stdout.write(json.dumps(ready) + "\n")
    sys.stdout.flush()
    await lifetime.ended()


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)
