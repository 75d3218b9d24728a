"""Load over keep-alive connections: the same request again and again, every reply timed.

Raw asyncio, because the load generator shares two cores with what it measures: an HTTP client
library would be a large part of the numbers.
"""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

__all__ = ["Measured", "drive"]

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Measured:
    """What a run gave: *seconds* of wall time and the latencies of its good replies, sorted."""

    seconds: float
    latencies_s: tuple[float, ...]
    failures: int
    reply_bytes: int

    @property
    def per_second(self) -> float:
        """Good replies per second."""
        return len(self.latencies_s) / self.seconds if self.seconds else 0.0

    def percentile_ms(self, share: float) -> float:
        """The latency below which *share* (0 to 1) of the good replies stayed, in milliseconds."""
        if not self.latencies_s:
            return float("nan")
        place = min(int(share * len(self.latencies_s)), len(self.latencies_s) - 1)
        return self.latencies_s[place] * 1000


async def drive(
    url: str, body: bytes, headers: dict[str, str], *, connections: int, seconds: float, least: int
) -> Measured:
    """POST *body* to *url* over *connections* for *seconds*, and until *least* replies are in.

    The least number keeps a slow subject from being judged by one or two replies; at most ten
    times *seconds* are spent on it.
    """
    parts = urlsplit(url)
    request = _request(parts.path, parts.netloc, body, headers)
    begun = time.perf_counter()
    run = _Run(begun + seconds, begun + 10 * seconds, least)
    await asyncio.gather(
        *(
            _connection(run, parts.hostname or "", parts.port or 80, request)
            for _ in range(connections)
        )
    )
    return Measured(
        time.perf_counter() - begun, tuple(sorted(run.latencies_s)), run.failures, run.reply_bytes
    )


def _request(path: str, host: str, body: bytes, headers: dict[str, str]) -> bytes:
    lines = [f"POST {path} HTTP/1.1", f"host: {host}", "content-type: application/json"]
    lines += [f"content-length: {len(body)}", *(f"{k}: {v}" for k, v in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


class _Run:
    def __init__(self, until: float, at_most: float, least: int) -> None:
        self._until, self._at_most, self._least = until, at_most, least
        self.latencies_s: list[float] = []
        self.failures = 0
        self.reply_bytes = 0

    def goes_on(self) -> bool:
        now = time.perf_counter()
        if now >= self._at_most or self.failures > 20:
            return False
        return now < self._until or len(self.latencies_s) < self._least


async def _connection(run: _Run, host: str, port: int, request: bytes) -> None:
    reader = writer = None
    try:
        while run.goes_on():
            if writer is None or reader is None:
                reader, writer = await asyncio.open_connection(host, port, limit=2**22)
            begun = time.perf_counter()
            writer.write(request)
            try:
                status, size = await _reply(reader)
            except (OSError, asyncio.IncompleteReadError, ValueError):
                run.failures += 1
                writer.close()
                writer = None
                continue
            if status == 200:
                run.latencies_s.append(time.perf_counter() - begun)
                run.reply_bytes = size
            else:
                run.failures += 1
    finally:
        if writer is not None:
            writer.close()


async def _reply(reader: asyncio.StreamReader) -> tuple[int, int]:
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head[9:12])
    length = _LENGTH.search(head)
    if length is not None:
        size = int(length[1])
        await reader.readexactly(size)
        return status, size
    size = 0
    while True:  # chunked
        chunk = int((await reader.readline()).strip() or b"0", 16)
        await reader.readexactly(chunk + 2)
        if not chunk:
            return status, size
        size += chunk
