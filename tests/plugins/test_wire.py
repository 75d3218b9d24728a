"""One call over a real socket: whatever the peer does, one bounded try and a true verdict."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
import time
import traceback
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from plugins._dialects import Target, WireRequest
from plugins._errors import Fault, ProviderFault
from plugins._pool import Endpoint
from plugins._wire import Wire
from tests.plugins.peers import Line, Peer, Script, answer, listening, serving

KEY = "sk-the-key-that-nobody-may-see"
TEXT = "the text that nobody may see"
PATIENCE_S = 5.0  # for calls that must end by themselves, long before
SLACK_S = 2.0  # a busy machine is late, but never by a read timeout that starts anew

Reply = tuple[int, dict[str, str], bytes]


def endpoint(base: str = "http://provider.example", *, concurrency: int = 8) -> Endpoint:
    target = Target("openai", f"{base}/v1", "wire-model", KEY)
    return Endpoint("endpoint-key", "openai", "openai", target, concurrency)


def request(base: str) -> WireRequest:
    headers = {
        "authorization": f"Bearer {KEY}",
        "content-type": "application/json",
        "accept-encoding": "identity",
    }
    return WireRequest(f"{base}/v1/embeddings", headers, f'{{"input": "{TEXT}"}}'.encode())


async def send(
    wire: Wire,
    base: str,
    *,
    timeout_s: float = PATIENCE_S,
    max_bytes: int = 100_000,
    concurrency: int = 8,
) -> Reply | ProviderFault:
    """Return what one call gives, and check what holds for every call."""
    started = time.monotonic()
    try:
        return await wire.send(
            endpoint(base, concurrency=concurrency),
            request(base),
            timeout_s=timeout_s,
            max_bytes=max_bytes,
        )
    except ProviderFault as fault:
        assert_keeps_secrets(fault)
        return fault
    finally:
        assert time.monotonic() - started < timeout_s + SLACK_S


def assert_keeps_secrets(fault: ProviderFault) -> None:
    shown = "".join([str(fault), repr(fault), fault.detail, *traceback.format_exception(fault)])
    assert KEY not in shown
    assert TEXT not in shown
    assert fault.__cause__ is None
    # What broke the call holds the request; nobody who prints the fault may come upon it.
    assert fault.__context__ is None or fault.__suppress_context__


def call(
    script: Script, *, timeout_s: float = PATIENCE_S, max_bytes: int = 100_000
) -> tuple[Reply | ProviderFault, Peer]:
    """Make one call to a peer that follows *script*."""

    async def main() -> tuple[Reply | ProviderFault, Peer]:
        async with serving(script) as peer, closing() as wire:
            return await send(wire, peer.base, timeout_s=timeout_s, max_bytes=max_bytes), peer

    return asyncio.run(main())


@contextlib.asynccontextmanager
async def closing() -> AsyncIterator[Wire]:
    wire = Wire()
    try:
        yield wire
    finally:
        await wire.aclose()


def replies(*datas: bytes) -> Script:
    """Return a script that answers each request of a connection with the next of *datas*."""

    async def script(line: Line) -> None:
        for data in datas:
            await line.request()
            await line.send(data)
        await line.gone()

    return script


def verdict(got: Reply | ProviderFault) -> tuple[Fault, bool]:
    assert isinstance(got, ProviderFault), f"a reply with status {got[0]}"
    return got.fault, got.sent


# -- a good call


def test_a_reply_comes_back_as_status_lower_case_headers_and_body() -> None:
    got, peer = call(replies(answer(b'{"a": 1}', {"X-Request-Cost": "7"}, status=418)))
    assert isinstance(got, tuple)
    status, headers, body = got
    assert (status, body, headers["x-request-cost"]) == (418, b'{"a": 1}', "7")
    (sent,) = peer.requests
    assert sent.startswith(b"POST /v1/embeddings HTTP/1.1\r\n")
    assert f"authorization: Bearer {KEY}\r\n".lower() in sent.decode().lower()
    assert sent.endswith(f'{{"input": "{TEXT}"}}'.encode())


def test_a_chunked_reply_is_read_whole() -> None:
    body = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n3\r\n   \r\n0\r\n\r\n"
    got, _ = call(replies(body))
    assert isinstance(got, tuple)
    assert got[2] == b"{}   "


def test_a_connection_is_used_again() -> None:
    async def main() -> Peer:
        async with serving(replies(*[answer()] * 3)) as peer, closing() as wire:
            for _ in range(3):
                assert isinstance(await send(wire, peer.base), tuple)
            return peer

    peer = asyncio.run(main())
    assert (len(peer.requests), peer.connections) == (3, 1)


def test_closing_the_wire_closes_its_connections() -> None:
    async def main() -> int:
        async with serving(replies(answer(), answer())) as peer:
            async with closing() as wire:
                await send(wire, peer.base)
                assert peer.open == 1
            await until(lambda: peer.open == 0)
            return peer.open

    assert asyncio.run(main()) == 0


def test_a_cookie_is_not_sent_back() -> None:
    async def main() -> list[bytes]:
        data = answer(headers={"set-cookie": "account=1234; Path=/"})
        async with serving(replies(data, data)) as peer, closing() as wire:
            await send(wire, peer.base)
            await send(wire, peer.base)
            return peer.requests

    first, second = asyncio.run(main())
    assert b"cookie" not in first.lower()
    assert b"cookie" not in second.lower()


@pytest.fixture
def _no_proxy_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.usefixtures("_no_proxy_yet")
@pytest.mark.parametrize("variable", [None, "http_proxy", "ALL_PROXY"])
def test_a_netrc_file_does_not_replace_our_key(
    variable: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))

    async def main() -> list[bytes]:
        async with serving(replies(answer())) as peer, closing() as wire:
            if variable is not None:
                monkeypatch.setenv(variable, peer.base)
            assert isinstance(await send(wire, peer.base), tuple)
            return peer.requests

    (sent,) = asyncio.run(main())
    assert sent.lower().count(b"authorization:") == 1
    assert f"Bearer {KEY}".encode() in sent


@pytest.mark.usefixtures("_no_proxy_yet")
@pytest.mark.parametrize("scheme", ["http://", ""], ids=["full", "without a scheme"])
def test_a_proxy_of_the_environment_is_used(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> Peer:
        async with serving(replies(answer())) as peer, closing() as wire:
            monkeypatch.setenv("http_proxy", f"{scheme}127.0.0.1:{peer.port}")
            assert isinstance(await send(wire, "http://provider.example"), tuple)
            return peer

    peer = asyncio.run(main())
    assert peer.requests[0].startswith(b"POST http://provider.example/v1/embeddings HTTP/1.1\r\n")


@pytest.mark.usefixtures("_no_proxy_yet")
def test_no_proxy_exempts_a_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://nobody.invalid:3128")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    got, peer = call(replies(answer()))
    assert isinstance(got, tuple)
    assert len(peer.requests) == 1


@pytest.mark.usefixtures("_no_proxy_yet")
def test_a_proxy_that_says_no_was_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> tuple[Reply | ProviderFault, Peer]:
        refusal = answer(b"who are you?", status=407)
        async with serving(replies(refusal)) as peer, closing() as wire:
            monkeypatch.setenv("https_proxy", peer.base)
            return await send(wire, "https://provider.example"), peer

    got, peer = asyncio.run(main())
    assert verdict(got) == (Fault.CONNECT, False)
    assert peer.requests[0].startswith(b"CONNECT provider.example:443 ")
    assert KEY.encode() not in peer.requests[0]


@pytest.mark.usefixtures("_no_proxy_yet")
@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1080", "http://[::1"])
def test_a_proxy_that_cannot_be_used_was_not_sent(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    got, peer = call(replies(answer()))
    assert verdict(got) == (Fault.CONNECT, False)
    assert peer.connections == 0


# -- nothing was sent


def test_a_refused_connection_was_not_sent() -> None:
    async def main() -> Reply | ProviderFault:
        with listening() as made:
            port = made.getsockname()[1]
        async with closing() as wire:  # the port is closed now
            return await send(wire, f"http://127.0.0.1:{port}")

    assert verdict(asyncio.run(main())) == (Fault.CONNECT, False)


def test_a_name_that_does_not_exist_was_not_sent() -> None:
    async def main() -> Reply | ProviderFault:
        async with closing() as wire:
            return await send(wire, "http://nobody.invalid", timeout_s=30)

    assert verdict(asyncio.run(main())) == (Fault.CONNECT, False)


def test_a_connection_that_is_not_made_in_time_was_not_sent() -> None:
    async def main() -> Reply | ProviderFault:
        with listening(backlog=0) as made, contextlib.ExitStack() as stack:
            where = made.getsockname()
            for _ in range(4):  # the queue is full now: the kernel drops who knocks
                waiting = stack.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(where)
            async with closing() as wire:
                return await send(wire, f"http://127.0.0.1:{where[1]}", timeout_s=30)

    assert verdict(asyncio.run(main())) == (Fault.CONNECT, False)


def test_tls_to_a_port_that_speaks_none_was_not_sent() -> None:
    async def script(line: Line) -> None:
        await line.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        await line.gone()

    async def main() -> tuple[Reply | ProviderFault, Peer]:
        async with serving(script) as peer, closing() as wire:
            return await send(wire, peer.base.replace("http:", "https:")), peer

    got, peer = asyncio.run(main())
    assert verdict(got) == (Fault.CONNECT, False)
    assert peer.connections == 1


@pytest.mark.parametrize(
    "base",
    ["http://", "ftp://127.0.0.1", "http://[::1", "127.0.0.1:80", f"http://{'long' * 20}.example"],
)
def test_an_address_that_is_none_was_not_sent(base: str) -> None:
    async def main() -> Reply | ProviderFault:
        async with closing() as wire:
            return await send(wire, base)

    assert verdict(asyncio.run(main())) == (Fault.CONNECT, False)


def test_waiting_for_a_free_connection_counts_as_time_but_not_as_sent() -> None:
    async def silent(line: Line) -> None:
        await line.request()
        await line.gone()

    async def main() -> tuple[list[tuple[Fault, bool]], Peer]:
        async with serving(silent) as peer, closing() as wire:
            first = asyncio.create_task(send(wire, peer.base, timeout_s=1.0, concurrency=1))
            await until(lambda: len(peer.requests) == 1)
            second = await send(wire, peer.base, timeout_s=0.2, concurrency=1)
            return [verdict(await first), verdict(second)], peer

    verdicts, peer = asyncio.run(main())
    assert verdicts == [(Fault.TIMEOUT, True), (Fault.TIMEOUT, False)]
    assert len(peer.requests) == 1


# -- no answer in time


def test_a_peer_that_never_answers_is_left_in_time() -> None:
    async def main() -> Reply | ProviderFault:
        with listening() as made:  # the kernel accepts and nobody reads
            async with closing() as wire:
                return await send(wire, f"http://127.0.0.1:{made.getsockname()[1]}", timeout_s=0.3)

    assert verdict(asyncio.run(main())) == (Fault.TIMEOUT, True)


@pytest.mark.parametrize("after", [0, 40], ids=["headers too", "body"])
def test_a_byte_at_a_time_does_not_stretch_the_time_limit(after: int) -> None:
    whole = answer(b" " * 1000)

    async def script(line: Line) -> None:
        await line.request()
        await line.send(whole[:after])
        for at in range(after, len(whole)):
            await line.send(whole[at : at + 1])
            await asyncio.sleep(0.1)

    got, _ = call(script, timeout_s=0.5)
    assert verdict(got) == (Fault.TIMEOUT, True)


def test_a_call_that_was_left_is_hung_up() -> None:
    async def silent(line: Line) -> None:
        await line.request()
        await line.gone()

    async def main() -> Peer:
        async with serving(silent) as peer, closing() as wire:
            await send(wire, peer.base, timeout_s=0.2)
            task = asyncio.create_task(send(wire, peer.base))
            await until(lambda: len(peer.requests) == 2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(lambda: peer.open == 0)
            return peer

    assert asyncio.run(main()).open == 0


# -- broken off


async def reset_after_headers(line: Line) -> None:
    await line.request()
    await line.send(answer(b"x" * 100)[:40])
    await asyncio.sleep(0.05)
    line.reset()


async def reset_before_reply(line: Line) -> None:
    await line.request()
    line.reset()


async def drop_before_reply(line: Line) -> None:
    await line.request()
    line.finish()


async def drop_mid_body(line: Line) -> None:
    await line.request()
    await line.send(answer(b"x" * 100)[:-50])
    line.finish()


async def drop_mid_chunk(line: Line) -> None:
    await line.request()
    await line.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\n{}")
    line.finish()


async def not_http(line: Line) -> None:
    await line.request()
    await line.send(b"\x15\x03\x01\x00\x02\x02\x46")  # a TLS alert
    line.finish()


async def endless_header(line: Line) -> None:
    await line.request()
    await line.send(b"HTTP/1.1 200 OK\r\nx-long: " + b"x" * 1_000_000 + b"\r\n\r\n")
    await line.gone()


@pytest.mark.parametrize(
    "script",
    [
        reset_after_headers,
        reset_before_reply,
        drop_before_reply,
        drop_mid_body,
        drop_mid_chunk,
        not_http,
        endless_header,
    ],
    ids=lambda script: script.__name__,
)
def test_a_broken_reply_counts_as_sent_and_is_not_asked_again(script: Script) -> None:
    got, peer = call(script)
    assert verdict(got) == (Fault.RESET, True)
    assert (len(peer.requests), peer.connections) == (1, 1)


def test_a_connection_that_the_peer_closed_while_idle_is_replaced() -> None:
    async def script(line: Line) -> None:
        await line.request()
        await line.send(answer())
        line.finish()

    async def main() -> Peer:
        async with serving(script) as peer, closing() as wire:
            for _ in range(3):
                assert isinstance(await send(wire, peer.base), tuple)
                await until(lambda: peer.open == 0)
                await asyncio.sleep(0.05)  # the end of the connection has come here too
            return peer

    peer = asyncio.run(main())
    assert (len(peer.requests), peer.connections) == (3, 3)


def test_a_connection_that_breaks_as_it_is_used_again_is_not_retried_in_secret() -> None:
    async def script(line: Line) -> None:
        await line.request()
        await line.send(answer())
        await line.request()
        line.finish()

    async def main() -> tuple[Reply | ProviderFault, Peer]:
        async with serving(script) as peer, closing() as wire:
            assert isinstance(await send(wire, peer.base), tuple)
            return await send(wire, peer.base), peer

    got, peer = asyncio.run(main())
    assert verdict(got) == (Fault.RESET, True)
    assert len(peer.requests) == 2


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (httpx.ConnectError, (Fault.CONNECT, False)),
        (httpx.ConnectTimeout, (Fault.CONNECT, False)),
        (httpx.UnsupportedProtocol, (Fault.CONNECT, False)),
        (httpx.WriteError, (Fault.RESET, True)),
        (httpx.ReadError, (Fault.RESET, True)),
        (httpx.RemoteProtocolError, (Fault.RESET, True)),
    ],
)
def test_errors_of_httpx_itself_are_told_apart(
    error: type[httpx.TransportError], expected: tuple[Fault, bool]
) -> None:
    def fail(_: httpx.Request) -> httpx.Response:
        raise error(f"{KEY} {TEXT}")

    wire = Wire(transport=lambda _: httpx.MockTransport(fail))
    assert verdict(asyncio.run(send(wire, "http://provider.example"))) == expected


# -- more than was asked for


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


async def until(true: Callable[[], bool], within_s: float = 5.0) -> None:
    ends = time.monotonic() + within_s
    while not true() and time.monotonic() < ends:  # noqa: ASYNC110 - the peer has no event for it
        await asyncio.sleep(0.01)
