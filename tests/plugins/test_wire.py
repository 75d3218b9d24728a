"""One call over a real socket: whatever the peer does, one bounded try and a true verdict."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import httpx
import pytest

from plugins._errors import Fault, ProviderFault
from plugins._wire import Wire
from tests.plugins.peers import Line, Peer, Script, answer, listening, serving
from tests.plugins.wires import KEY, TEXT, Reply, call, closing, replies, send, until, verdict

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
