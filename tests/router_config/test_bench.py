"""`bench`: a load generator that counts what really came, and a table that says what was seen."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from router_config.cli import bench, bench_rows, bench_watch
from router_config.cli.loadgen import Measured, Requests, drive
from tests.imports import ROOT
from tests.sizes import FULL

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
BODY = b'{"input":["text #####"]}'


def measure(
    script: Callable[[bytes, asyncio.StreamWriter], Awaitable[None]],
    *,
    connections: int = 3,
    seconds: float = 0.2,
    least: int = 1,
    mark: bytes = b"#####",
) -> tuple[Measured, list[bytes]]:
    """Drive a server that answers each request by *script*; return also what was asked."""
    asked: list[bytes] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                assert b"content-length: %d\r\n" % len(BODY) in head
                body = await reader.readexactly(len(BODY))
                asked.append(body)
                await script(body, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def main() -> Measured:
        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        requests = Requests(f"http://127.0.0.1:{port}/v1/embeddings", BODY, {"a": "b"}, mark)
        try:
            return await drive(requests, connections=connections, seconds=seconds, least=least)
        finally:
            server.close()

    return asyncio.run(main()), asked


async def whole(_: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234")
    await asyncio.sleep(0.001)
    writer.write(b"56789")


def test_replies_in_parts_are_counted_whole() -> None:
    got, asked = measure(whole)
    assert (got.failures, got.reply_bytes) == (0, 10)
    assert len(asked) - 3 <= len(got.latencies_s) <= len(asked)
    assert list(got.latencies_s) == sorted(got.latencies_s)


def test_every_request_has_texts_of_its_own() -> None:
    _, asked = measure(whole)
    assert len(set(asked)) == len(asked) > 3


def test_without_a_mark_every_request_is_the_same() -> None:
    _, asked = measure(whole, mark=b"")
    assert set(asked) == {BODY}


def test_a_reply_without_a_length_ends_with_its_last_chunk() -> None:
    async def chunked(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n01234\r\n0\r")
        await asyncio.sleep(0.001)
        writer.write(b"\n\r\n")

    got, asked = measure(chunked)
    assert got.failures == 0
    assert len(got.latencies_s) >= len(asked) - 3


def test_what_is_no_good_reply_is_a_failure_and_the_run_ends() -> None:
    async def refuse(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n")

    async def hang_up(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.close()

    for script in (refuse, hang_up):
        got, _ = measure(script, seconds=30)
        assert got.latencies_s == ()
        assert 20 < got.failures <= 30


def test_a_slow_subject_gets_the_replies_that_it_needs_and_no_more_time() -> None:
    async def slow(body: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.05)
        await whole(body, writer)

    got, _ = measure(slow, connections=1, seconds=0.01, least=2)
    assert len(got.latencies_s) <= 3  # ten times the time, at most

    async def silent(_: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    got, _ = measure(silent, connections=1, seconds=0.01)
    assert got.latencies_s == ()


def test_a_mark_stands_in_every_text_and_keeps_the_length() -> None:
    subject = bench_rows.Subject("new", "ours", "m")
    requests = bench_rows.requests("http://127.0.0.1:1/v1", "key", subject, 3)
    again = bench_rows.requests("http://127.0.0.1:1/v1", "key", subject, 3)
    first, second = requests.next(), again.next()  # what one run asked, the next does not
    assert len(first) == len(second)
    texts = [json.loads(one.partition(b"\r\n\r\n")[2])["input"] for one in (first, second)]
    assert len({*texts[0], *texts[1]}) == 6


def test_growing_memory_is_a_slope_in_megabytes_a_minute() -> None:
    assert bench_watch.slope([(0, 100), (1, 103), (2, 106)]) == pytest.approx(3)
    assert bench_watch.slope([(1, 5)]) == 0


def test_the_table_has_a_ratio_where_plain_litellm_was_measured() -> None:
    row = {
        "n": 1,
        "subject": "a gateway",
        "plain": False,
        "per_second": 80.0,
        "vectors_per_second": 80.0,
        "p50_ms": 1.0,
        "p99_ms": 2.0,
        "cpu_ms": None,
        "rss_mb": None,
        "peak_mb": None,
        "failures": 0,
    }
    plain = {**row, "subject": "plain", "plain": True, "per_second": 2.0}
    _, first, second, third = bench._table([plain, row, {**row, "n": 32}])
    assert first.split()[2:5] == ["2.0", "80", "1.0"]
    assert second.split()[3:6] == ["80.0", "80", "40.0"]
    assert third.split()[3:6] == ["80.0", "80", "-"]


@pytest.mark.skipif(not FULL, reason="starts two proxies: a full run measures them for a moment")
def test_everybody_answers(tmp_path: Path) -> None:
    words = ["bench", "--quick", "--n", "1", "3", "--seconds", "0.2", "--format", "json"]
    command = [sys.executable, "-m", "router_config", *words]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert result.returncode == 0, result.stdout + result.stderr
    rows = json.loads(result.stdout)["rows"]
    assert {row["n"] for row in rows} == {1, 3}
    assert all(row["failures"] == 0 and row["per_second"] > 0 for row in rows)
